"""Addresses of runs and of the table of runs in MLflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from ae_sweep.records import SweepRecord
    from ae_sweep.tracking.views import View

MODE = {"workflowType": "machine_learning"}
"""Without it, MLflow 3.17 opens its mode for language models and lists a sweep as an evaluation."""


def run_url(base: str, *, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page.

    Parameters
    ----------
    base
        Where the UI answers, such as ``http://127.0.0.1:5000``.
    """
    return _page(base, experiment_id, f"runs/{quote(run_id, safe='')}", MODE)


def sweep_url(base: str, record: SweepRecord) -> str:
    """Return the address of the page of a sweep's run in the UI at ``base``."""
    return run_url(base, experiment_id=record.experiment_id, run_id=record.run_id)


def view_url(base: str, *, experiment_id: str, view: View) -> str:
    """Return the address that opens the table of runs, or its charts, with a stored view."""
    parameters = MODE | {"viewStateShareKey": view.key}
    if view.charts:
        parameters["compareRunsMode"] = "CHART"
    return _page(base, experiment_id, "runs", parameters)


def _page(base: str, experiment_id: str, path: str, parameters: dict[str, str]) -> str:
    # The parameters belong to the fragment: MLflow's router reads them there and nowhere else.
    experiment = quote(experiment_id, safe="")
    return f"{base.rstrip('/')}/#/experiments/{experiment}/{path}?{urlencode(parameters)}"
