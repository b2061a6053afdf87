"""``ae-sweep list`` and ``ae-sweep show``: what is stored."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption, SweepArgument
from ae_sweep.errors import AeSweepError
from ae_sweep.locations import open_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.locations import Store
    from ae_sweep.records import SweepRecord, TrialRecord


@handled
def list_sweeps(store: StoreOption = None, json_output: JsonOption = False) -> None:
    """List the stored sweeps, the newest first.

    Example: ae-sweep list
    """
    from ae_sweep import tables, tracking

    place = open_at(store, announce=say)
    records = tracking.open_for_reading(place).sweeps()
    waiting = _say_waiting(place)
    if json_output:
        print_json([_record(record, waiting) for record in records])
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
    from ae_sweep.runner.dim_answer import stored_answer

    place = open_at(store, announce=say)
    record, trials = tracking.open_for_reading(place).sweep_with_trials(sweep, announce=say)
    waiting = _say_waiting(place, record.name)
    found = None
    with contextlib.suppress(AeSweepError):  # the trials are shown, whatever was edited in them
        found = stored_answer(record, trials)
    if json_output:
        answer = {} if found is None else {"answer": found.document()}
        print_json(_record(record, waiting) | answer | {"trials": [_document(t) for t in trials]})
        return
    say(f"{record.name}: {record.outcome}, started {tables.started(record)}")
    say("  ".join(f"{key}={value}" for key, value in record.config.items() if key != "name"))
    if found is not None:
        say(f"answer: {found.sentence}")
    print_table(tables.trials(trials).without("role"))


def _say_waiting(store: Store, sweep: str | None = None) -> dict[str, int]:
    """Print a line for each sweep with trials to be published; return their numbers by sweep."""
    from ae_sweep.runner.waiting import waiting_sweeps

    found = waiting_sweeps(store, sweep)
    for each in found:
        say(each.text)
    return {each.sweep: each.trials for each in found}


def _record(record: SweepRecord, waiting: Mapping[str, int]) -> dict[str, object]:
    return dataclasses.asdict(record) | {"waiting_trials": waiting.get(record.name, 0)}


def _document(trial: TrialRecord) -> dict[str, object]:
    return dataclasses.asdict(trial) | {"point": trial.point.as_flat_dict()}
