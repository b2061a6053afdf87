"""The frontier as metrics of a sweep's run, with latent_dim as their step."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from ae_sweep.records import RATE_BITS, RATE_MSE
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlflow import MlflowClient

    from ae_sweep.analysis import FrontierPoint

Curve = dict[int, float]
"""Value by latent_dim."""

NOT_IN_A_METRIC = re.compile(r"[^A-Za-z0-9_.\- ]")
"""What MLflow refuses in the name of a metric on one system or another, and its separator."""
MAX_SETTING_CHARACTERS = 200
MAX_STEP = 2**63 - 1


def curve_metrics(points: Iterable[FrontierPoint]) -> dict[str, Curve]:
    """Return the curves of a frontier by the name of their metric.

    Those are ``frontier/test_mse`` and ``frontier/test_psnr`` (dB; left out for a perfect
    reconstruction), and of a code with a rate ``frontier/rate_bits`` and ``frontier/rate_mse`` as
    well. A model with a setting has several points at one latent_dim, so each value of it has
    metrics of its own, such as ``frontier/test_mse/beta 0.1``, and the UI a chart for each.
    """
    curves: dict[str, Curve] = {}
    for point in points:
        if point.latent_dim > MAX_STEP:
            continue
        values = {"test_mse": point.test_mse, "test_psnr": point.test_psnr}
        if point.has_rate:
            values |= {"rate_bits": point.rate[RATE_BITS], "rate_mse": point.rate[RATE_MSE]}
        for measure, value in values.items():
            if value is not None and math.isfinite(value):
                name = f"{names.CURVE_METRICS}{measure}{_setting(point.model)}"
                curves.setdefault(name, {})[point.latent_dim] = value
    return curves


def write_curves(
    client: MlflowClient,
    run_id: str,
    curves: Mapping[str, Curve],
    *,
    timestamp_ms: int,
    prefix: str = names.CURVE_METRICS,
) -> None:
    """Make these the curves of a run whose names begin with a prefix, in place of earlier ones.

    MLflow keeps every value that was ever logged at a step, and its chart draws them all: the
    curve of a resumed sweep would be a staircase. No call of MLflow takes a value back, so a curve
    that has changed is deleted from the database, if MLflow works on one. A tracking server keeps
    the earlier values, and the later ones count as the latest.
    """
    stored = {
        key: _history(client, run_id, key)
        for key in client.get_run(run_id).data.metrics
        if key.startswith(prefix)
    }
    outdated = [key for key, history in stored.items() if _differs(history, curves.get(key, {}))]
    if outdated and _delete(client, run_id, outdated):
        stored = {key: history for key, history in stored.items() if key not in outdated}
    metrics = [
        Metric(key, value, timestamp_ms, step)
        for key, curve in curves.items()
        for step, value in sorted(curve.items())
        if value not in stored.get(key, {}).get(step, [])[-1:]
    ]
    if metrics:
        client.log_batch(run_id, metrics=metrics)


def _setting(model: str) -> str:
    """Return a model's setting as the end of a metric's name; nothing if it has none."""
    text = NOT_IN_A_METRIC.sub("_", model.partition(" ")[2].replace("=", " "))
    text = text[:MAX_SETTING_CHARACTERS].strip(" .")
    return f"/{text}" if text else ""


def _history(client: MlflowClient, run_id: str, key: str) -> dict[int, list[float]]:
    """Return the values logged at each step, the latest last."""
    entries = sorted(client.get_metric_history(run_id, key), key=lambda entry: entry.timestamp)
    history: dict[int, list[float]] = {}
    for entry in entries:
        history.setdefault(entry.step, []).append(entry.value)
    return history


def _differs(history: Mapping[int, Sequence[float]], curve: Curve) -> bool:
    """Return whether the history holds anything that is not a point of the curve."""
    return any(list(values) != [curve.get(step)] for step, values in history.items())


def _delete(client: MlflowClient, run_id: str, keys: Sequence[str]) -> bool:
    """Delete all values of metrics of a run; return False where the database is out of reach."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store  # noqa: SLF001 - the one it has open already
    if not isinstance(store, SqlAlchemyStore):
        return False
    with store.ManagedSessionMaker() as session:
        for table in (SqlMetric, SqlLatestMetric):
            session.query(table).filter(table.run_uuid == run_id, table.key.in_(keys)).delete()
    return True
