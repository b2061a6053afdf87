"""Tables of what is stored: sweeps, trials, the points of a frontier and their codes."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis
from ae_sweep.config import AUTO, MODEL_SETTINGS, PARAMETERS, dataset_title, written_parameters
from ae_sweep.records import Outcome
from ae_sweep.tables.table import Column, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.analysis import Frontier, FrontierPoint
    from ae_sweep.data import LocatedFile
    from ae_sweep.records import SweepRecord, TrialRecord
    from ae_sweep.tables.table import Row

CONDITION = Column(key="condition", title="Condition", kind=str)
POINT_COLUMNS: Mapping[str, dict[str, Any]] = {
    "Latent dim": {"kind": int},
    "Compression": {"form": "{:.4g}×", "unit": "pixels per latent"},
    "Bits": {"form": "{:.1f}", "unit": "per image"},
    "MSE at bits": {"form": "{:.5f}"},
    "Test MSE": {"form": "{:.5f}"},
    "PSNR (dB)": {"form": "{:.2f}", "missing": "perfect"},
    **{
        parameter.best_label: {"kind": parameter.kind, "form": f"{{:{parameter.cell}}}"}
        for parameter in PARAMETERS.values()
    },
}
"""By their titles, the columns of a frontier's table in MLflow; others are a model's settings."""
MORE_POINT_COLUMNS = (
    Column(key="test_mse_std", title="± sd", form="{:.5f}"),
    Column(key="seeds", title="Seeds", kind=int),
    Column(key="db_per_doubling", title="dB per doubling", form="{:+.2f}"),
    Column(key="trials", title="Trials", kind=Share),
)


def frontier_table(frontier: Frontier) -> Table:
    """Return the points of a frontier, one per row, with the columns of its table in MLflow.

    The keys of the columns are their titles.
    """
    return Table(
        caption="The best of each condition by validation, measured on the test images",
        columns=tuple(_point_column(title, frontier) for title in analysis.table_rows(frontier)[0]),
        rows=_point_rows(frontier),
        run_ids=tuple(point.run_id for point in frontier.points),
    )


def _point_column(title: str, frontier: Frontier) -> Column:
    column = Column(key=title, title=title, **POINT_COLUMNS.get(title, {"form": "{:g}"}))
    return replace(column, unit=column.unit.replace("pixels", frontier.number_word))


def points(frontier: Frontier) -> Table:
    """Return the points of a frontier, one per row, with all that is known of them.

    ``condition`` stands for latent dim and settings; ``test_mse_std``, ``seeds``,
    ``db_per_doubling`` and ``trials`` follow the other columns of `frontier_table`.
    """
    table = frontier_table(frontier)
    described = [
        column
        for column in table.columns
        if column.key in POINT_COLUMNS and column.key != "Latent dim"
    ]
    return replace(table, columns=(CONDITION, *described, *MORE_POINT_COLUMNS))


def _point_rows(frontier: Frontier) -> tuple[Row, ...]:
    return tuple(
        {
            "condition": str(point.condition),
            **{title: _measured(value) for title, value in values.items()},
            "test_mse_std": point.test_mse_std,
            "seeds": point.seeds,
            "db_per_doubling": point.db_per_doubling,
            "trials": Share(point.trials_finished, point.trials_total),
        }
        for point, values in zip(frontier.points, analysis.table_rows(frontier), strict=True)
    )


def codes(points: Sequence[FrontierPoint]) -> Table | None:
    """Return all that was measured of the codes, one point per row; None if nothing was."""
    keys = list(dict.fromkeys(key for point in points for key in point.rate))
    if not keys:
        return None
    return Table(
        caption="The code, measured on the test images",
        columns=(
            CONDITION,
            *(Column(key=key, title=key.replace("_", " "), form="{:.5g}") for key in keys),
        ),
        rows=tuple({"condition": str(point.condition), **point.rate} for point in points),
        run_ids=tuple(point.run_id for point in points),
    )


def trials(records: Sequence[TrialRecord]) -> Table:
    """Return trials in their order, one per row.

    The columns have the keys of `Sweep.trials_table`. ``val_objective`` is there if any trial has
    an objective that is not its MSE, ``rate_bits`` if any has a rate, a hyperparameter if any has
    it at another value than its default.
    """
    searched = written_parameters(trial.point.hyperparameters for trial in records)
    penalised = any(trial.val_penalty for trial in records)
    rated = any(trial.rate for trial in records)
    columns = [
        Column(key="name", title="Trial", kind=str),
        Column(key="outcome", title="State", kind=str),
        Column(key="role", title="Role", kind=str),
        *(
            Column(key=each.name, title=each.label, kind=each.kind, form=f"{{:{each.cell}}}")
            for each in searched
        ),
        Column(key="seed", title="Seed", kind=int),
        Column(key="val_mse", title="Val MSE", form="{:.5f}"),
        *([Column(key="val_objective", title="Val objective", form="{:.5f}")] * penalised),
        Column(key="test_mse", title="Test MSE", form="{:.5f}"),
        Column(key="test_psnr", title="PSNR (dB)", form="{:.2f}"),
        *([Column(key="rate_bits", title="Bits", form="{:.1f}", unit="per image")] * rated),
        Column(key="train_seconds", title="Seconds", form="{:.1f}"),
    ]
    return Table(
        caption=f"All {len(records)} trials",
        columns=tuple(columns),
        rows=tuple(analysis.trial_rows(records)),
        run_ids=tuple(trial.run_id for trial in records),
    )


def sweeps(records: Sequence[SweepRecord]) -> Table:
    """Return sweeps in their order, one per row."""
    texts = {
        "name": "Sweep", "started": "Started", "outcome": "State", "dataset": "Data set",
        "model": "Model", "dims": "Dims",
    }  # fmt: skip
    counts = (Outcome.FINISHED, Outcome.PRUNED, Outcome.FAILED)
    return Table(
        caption="Stored sweeps",
        columns=(
            *(Column(key=key, title=title, kind=str) for key, title in texts.items()),
            *(Column(key=each, title=each.capitalize(), kind=int) for each in counts),
        ),
        rows=tuple(
            {
                "name": record.name,
                "started": started(record),
                "outcome": str(record.outcome),
                "dataset": _dataset(record),
                "model": _model(record),
                "dims": _dims(record),
                **{each: record.counts.get(each, 0) for each in counts},
            }
            for record in records
        ),
        run_ids=tuple(record.run_id for record in records),
    )


def _dims(record: SweepRecord) -> str | None:
    """Write the dims of a sweep; of a grid among which they are chosen, its ends."""
    dims = record.config.get("dims")
    if dims is None or not dims.startswith(AUTO):
        return dims
    words = dims.split()
    return f"{AUTO} {words[1]}:{words[-1]}" if len(words) > 1 else dims


def pairs(caption: str, values: Iterable[tuple[str, str]]) -> Table:
    """Return names and texts, sorted by name."""
    return Table(
        caption=caption,
        columns=(
            Column(key="name", title="Name", kind=str),
            Column(key="value", title="Value", kind=str),
        ),
        rows=tuple({"name": name, "value": text} for name, text in sorted(values)),
    )


def importances(shares: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the importance of each parameter in each study.

    Parameters
    ----------
    shares
        Condition to parameter to share of the objective's variance, between 0 and 1.
    """
    parameters = dict.fromkeys(key for found in shares.values() for key in found)
    return Table(
        caption="Share of the objective's variance that a parameter explains (fANOVA)",
        columns=(CONDITION, *(Column(key=key, title=key, form="{:.0%}") for key in parameters)),
        rows=tuple({"condition": condition, **found} for condition, found in shares.items()),
    )


def files(located: Sequence[LocatedFile]) -> Table:
    """Return the verified files of a data set, one per row."""
    return Table(
        caption="Files of the data set",
        columns=(
            Column(key="path", title="File", kind=str),
            Column(key="content_bytes", title="Bytes", kind=int),
            Column(key="content_sha256", title="SHA-256", kind=str),
        ),
        rows=tuple(
            {
                "path": str(file.path),
                "content_bytes": file.content_bytes,
                "content_sha256": file.content_sha256,
            }
            for file in located
        ),
    )


def started(record: SweepRecord) -> str:
    """Write when a sweep was started, to the minute, in local time."""
    moment = dt.datetime.fromtimestamp(record.started_ms / 1000).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M")


def _dataset(record: SweepRecord) -> str | None:
    dataset = record.config.get("dataset")
    return None if dataset is None else dataset_title(dataset)


def _model(record: SweepRecord) -> str:
    """Name a sweep's model, with what only some models have."""
    settings = [f"{key}={record.config[key]}" for key in MODEL_SETTINGS if key in record.config]
    return " ".join([record.config.get("model", "-"), *settings])


def _measured(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
