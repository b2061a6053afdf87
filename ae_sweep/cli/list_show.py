"""Owns ``ae-sweep list`` and ``ae-sweep show``: what is stored."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption, SweepArgument
from ae_sweep.config import MODEL_SETTINGS, written_parameters
from ae_sweep.locations import open_at
from ae_sweep.records import RATE_BITS, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.config import Parameter
    from ae_sweep.records import SweepRecord, TrialRecord


@handled
def list_sweeps(store: StoreOption = None, json_output: JsonOption = False) -> None:
    """List the stored sweeps, the newest first.

    Example: ae-sweep list
    """
    from ae_sweep import tracking

    records = tracking.open_for_reading(open_at(store, announce=say)).sweeps()
    if json_output:
        print_json([dataclasses.asdict(record) for record in records])
        return
    print_table(
        ["Sweep", "Started", "State", "Data set", "Model", "Dims", "Finished", "Pruned", "Failed"],
        [_sweep_cells(record) for record in records],
    )


@handled
def show(
    sweep: SweepArgument = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show the settings and all trials of a stored sweep.

    Example: ae-sweep show
    """
    from ae_sweep import tracking

    runs = tracking.open_for_reading(open_at(store, announce=say))
    record, trials = runs.sweep_with_trials(sweep)
    if json_output:
        print_json(dataclasses.asdict(record) | {"trials": [_document(t) for t in trials]})
        return
    say(f"{record.name}: {record.outcome}, started {_date(record)}")
    say("  ".join(f"{key}={value}" for key, value in record.config.items() if key != "name"))
    searched = written_parameters(trial.point.hyperparameters for trial in trials)
    rated = any(trial.rate for trial in trials)
    penalised = any(trial.val_penalty for trial in trials)
    measured = [
        "Val MSE", *(["Val objective"] if penalised else []), "Test MSE", "PSNR (dB)",
        *(["Bits"] if rated else []), "Seconds",
    ]  # fmt: skip
    print_table(
        ["Trial", "State", *(each.label for each in searched), "Seed", *measured],
        [_trial_cells(trial, searched, rated=rated, penalised=penalised) for trial in trials],
    )


def _sweep_cells(record: SweepRecord) -> list[str]:
    counts = [
        str(record.counts.get(outcome, 0))
        for outcome in (Outcome.FINISHED, Outcome.PRUNED, Outcome.FAILED)
    ]
    settings = [record.config.get("dataset", "-"), _model(record), record.config.get("dims", "-")]
    return [record.name, _date(record), str(record.outcome), *settings, *counts]


def _model(record: SweepRecord) -> str:
    """Name a sweep's model, with what only some models have."""
    settings = [f"{key}={record.config[key]}" for key in MODEL_SETTINGS if key in record.config]
    return " ".join([record.config.get("model", "-"), *settings])


def _trial_cells(
    trial: TrialRecord, searched: Sequence[Parameter], *, rated: bool, penalised: bool
) -> list[str]:
    point = trial.point
    return [
        trial.name,
        str(trial.outcome),
        *(format(getattr(point.hyperparameters, each.name), each.cell) for each in searched),
        str(point.seed),
        _number(trial.val_mse, ".5f"),
        *([_number(trial.val_objective, ".5f")] if penalised else []),
        _number(trial.test_mse, ".5f"),
        _number(trial.test_psnr, ".2f"),
        *([_number(trial.rate.get(RATE_BITS), ".1f")] if rated else []),
        _number(trial.train_seconds, ".1f"),
    ]


def _document(trial: TrialRecord) -> dict[str, object]:
    return dataclasses.asdict(trial) | {"point": trial.point.as_flat_dict()}


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _date(record: SweepRecord) -> str:
    started = dt.datetime.fromtimestamp(record.started_ms / 1000).astimezone()
    return started.strftime("%Y-%m-%d %H:%M")
