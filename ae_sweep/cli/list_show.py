"""``ae-sweep list`` and ``ae-sweep show``: what is stored."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption, SweepArgument
from ae_sweep.locations import open_at

if TYPE_CHECKING:
    from ae_sweep.records import TrialRecord


@handled
def list_sweeps(store: StoreOption = None, json_output: JsonOption = False) -> None:
    """List the stored sweeps, the newest first.

    Example: ae-sweep list
    """
    from ae_sweep import tables, tracking

    records = tracking.open_for_reading(open_at(store, announce=say)).sweeps()
    if json_output:
        print_json([dataclasses.asdict(record) for record in records])
        return
    print_table(tables.sweeps(records))


@handled
def show(
    sweep: SweepArgument = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show the settings and all trials of a stored sweep.

    Example: ae-sweep show
    """
    from ae_sweep import tables, tracking

    runs = tracking.open_for_reading(open_at(store, announce=say))
    record, trials = runs.sweep_with_trials(sweep)
    if json_output:
        print_json(dataclasses.asdict(record) | {"trials": [_document(t) for t in trials]})
        return
    say(f"{record.name}: {record.outcome}, started {tables.started(record)}")
    say("  ".join(f"{key}={value}" for key, value in record.config.items() if key != "name"))
    print_table(tables.trials(trials).without("role"))


def _document(trial: TrialRecord) -> dict[str, object]:
    return dataclasses.asdict(trial) | {"point": trial.point.as_flat_dict()}
