"""Runs of a sweep as plain values, and as documents of JSON: what an export has of MLflow."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep.records import DatasetCard
from ae_sweep.tracking.entries import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_ID = re.compile(r"[0-9a-f]{32}")
STATUSES = ("FINISHED", "FAILED", "KILLED")
"""Of runs that have ended, as all of an import have."""
MOST_TAGS = 100
"""And parameters, of a run: MLflow takes no more at once."""
MOST_TEXT = 8_000
"""Characters of a tag or a parameter, beyond which MLflow refuses it or cuts it off."""
LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ArchivedModel:
    """A logged model, without its weights."""

    step: int
    """Optimiser steps it was trained for."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Measurement, ...]
    """Those of the run that MLflow shows with the model too."""


@dataclass(frozen=True, kw_only=True)
class ArchivedRun:
    """A run that has ended, without its files."""

    run_id: str
    """MLflow's id in the store that it comes from."""
    name: str
    status: str
    start_ms: int
    """Milliseconds since the epoch."""
    end_ms: int
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: tuple[Measurement, ...]
    """All that were logged, at every step."""


@dataclass(frozen=True, kw_only=True)
class ArchivedTrial:
    """A trial, without its files."""

    run: ArchivedRun
    model: ArchivedModel | None
    """None for a trial that has none."""


@dataclass(frozen=True, kw_only=True)
class ArchivedSweep:
    """A sweep's own run, and the images that all its trials were trained on."""

    name: str
    run: ArchivedRun
    card: DatasetCard


def sweep_document(sweep: ArchivedSweep) -> dict[str, Any]:
    """Return a sweep's own run as a document."""
    return {
        "name": sweep.name,
        "dataset": dataclasses.asdict(sweep.card),
        "run": run_document(sweep.run),
    }


def run_document(run: ArchivedRun) -> dict[str, Any]:
    """Return a run as a document."""
    fields = {each.name: getattr(run, each.name) for each in dataclasses.fields(run)}
    return {
        **fields,
        "tags": dict(run.tags),
        "parameters": dict(run.parameters),
        "metrics": [_metric_row(each) for each in run.metrics],
    }


def model_document(model: ArchivedModel) -> dict[str, Any]:
    """Return a model as a document."""
    return {
        "step": model.step,
        "image_shape": list(model.image_shape),
        "parameters": dict(model.parameters),
        "tags": dict(model.tags),
        "metrics": [_metric_row(each) for each in model.metrics],
    }


def sweep_from(document: Any) -> ArchivedSweep:
    """Return the sweep of a document.

    Raises
    ------
    ValueError
        If it is none.
    """
    fields = _fields(document, ArchivedSweep, card="dataset")
    return ArchivedSweep(
        name=_text(fields["name"]), run=run_from(fields["run"]), card=_card(fields["dataset"])
    )


def run_from(document: Any) -> ArchivedRun:
    """Return the run of a document.

    Raises
    ------
    ValueError
        If it is none.
    """
    fields = _fields(document, ArchivedRun)
    run_id, status = _text(fields["run_id"]), _text(fields["status"])
    if not RUN_ID.fullmatch(run_id):
        raise ValueError("run_id has not 32 hexadecimal digits")
    if status not in STATUSES:
        raise ValueError(f"status is not {', '.join(STATUSES[:-1])} or {STATUSES[-1]}")
    return ArchivedRun(
        run_id=run_id,
        name=_text(fields["name"]),
        status=status,
        start_ms=_whole(fields["start_ms"]),
        end_ms=_whole(fields["end_ms"]),
        tags=_texts(fields["tags"]),
        parameters=_texts(fields["parameters"]),
        metrics=_metrics(fields["metrics"]),
    )


def model_from(document: Any) -> ArchivedModel:
    """Return the model of a document.

    Raises
    ------
    ValueError
        If it is none.
    """
    fields = _fields(document, ArchivedModel)
    return ArchivedModel(
        step=_whole(fields["step"]),
        image_shape=_shape(fields["image_shape"]),
        parameters=_texts(fields["parameters"]),
        tags=_texts(fields["tags"]),
        metrics=_metrics(fields["metrics"]),
    )


def _metric_row(metric: Measurement) -> list[object]:
    # JSON has no number that is not finite; ae-sweep logs none, but others may.
    value = metric.value if math.isfinite(metric.value) else repr(metric.value)
    return [metric.key, metric.step, metric.timestamp_ms, value]


def _metrics(rows: Any) -> tuple[Measurement, ...]:
    return tuple(_metric(row) for row in _list(rows))


def _metric(row: Any) -> Measurement:
    cells = _list(row)
    if len(cells) != 4:
        raise ValueError("a metric is not key, step, time and value")
    key, step, timestamp_ms, value = cells
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"the metric {_text(key)!r} is not a number")  # noqa: TRY004
    return Measurement(
        key=_text(key), step=_whole(step), timestamp_ms=_whole(timestamp_ms), value=float(value)
    )


def _card(document: Any) -> DatasetCard:
    fields = _fields(document, DatasetCard)
    return DatasetCard(
        name=_text(fields["name"]),
        digest=_text(fields["digest"]),
        source=_text(fields["source"]),
        train_images=_whole(fields["train_images"]),
        val_images=_whole(fields["val_images"]),
        test_images=_whole(fields["test_images"]),
        image_shape=_shape(fields["image_shape"]),
        leaks=_whole(fields["leaks"]),
        classes=_whole(fields["classes"]),
    )


def _fields(document: Any, kind: type, **renamed: str) -> dict[str, Any]:
    """Return the fields of a document, which has those of a data class and no others."""
    expected = {renamed.get(each.name, each.name) for each in dataclasses.fields(kind)}
    if not isinstance(document, dict) or document.keys() != expected:
        raise ValueError(f"it has not the fields {', '.join(sorted(expected))}")
    return document


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("there is no list where one belongs")  # noqa: TRY004 - caught as one kind
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise ValueError(f"there is no text of at most {MOST_TEXT:,} characters where one belongs")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_TAGS:
        raise ValueError(f"there are no texts by name, at most {MOST_TAGS}, where they belong")
    return {_text(key): _text(text) for key, text in value.items()}


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_INTEGER:
        raise ValueError("a whole number is missing where one belongs")
    return value


def _shape(value: Any) -> tuple[int, int, int]:
    sides = [_whole(side) for side in _list(value)]
    if len(sides) != 3 or min(sides) < 1:
        raise ValueError("an image's shape is not channels, height and width")
    return sides[0], sides[1], sides[2]
