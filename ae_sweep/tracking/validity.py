"""Whether a finished trial still counts as a result: runs can be edited and models deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.config import digest
from ae_sweep.records import Outcome
from ae_sweep.tracking import names, reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mlflow.entities import Run

    from ae_sweep.records import TrialRecord

RESULTS = ("val_mse", "test_mse", "test_psnr")
"""Metrics that decide on a trial's place in a curve, beside those of its rate."""


def measured_digest(metrics: Mapping[str, float]) -> str:
    """Return a digest of what a finished trial measured, by its last metrics."""
    return digest(
        {
            key: f"{value:.9g}"  # a database may round what it keeps
            for key, value in metrics.items()
            if key in RESULTS or key.startswith(names.RATE_METRICS)
        }
    )


def edits(run: Run, record: TrialRecord) -> str:
    """Return what of a finished trial was edited since it ended; empty if nothing is known to be.

    A trial of an earlier version says less of itself.
    """
    if record.outcome is not Outcome.FINISHED:
        return ""
    tags = run.data.tags
    if tags.get(names.POINT, record.point.key) != record.point.key:
        return "settings"
    measured = measured_digest(run.data.metrics)
    return "" if tags.get(names.MEASURED, measured) == measured else "numbers"


def objection(run: Run, record: TrialRecord | None, models: Collection[str]) -> str:
    """Return why a finished trial does not count as a result; empty if it does.

    Parameters
    ----------
    record
        Of the run; None if its parameters do not say what it trained.
    models
        Those of the sweep that are there, by MLflow's ids.
    """
    if reader.trial_outcome(run) is not Outcome.FINISHED:
        return ""
    logged = [] if run.outputs is None else run.outputs.model_outputs
    if logged and not any(output.model_id in models for output in logged):
        return "its model was deleted"
    edited = "" if record is None else edits(run, record)
    return f"its {edited} were edited in MLflow" if edited else ""
