"""What is logged of a sweep, as plain values: applied to MLflow at once, or kept in a journal.

An entry names its run by a word of our own, since a run that could not be created yet has no id.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from ae_sweep.records import DatasetCard

Content: TypeAlias = Callable[[], bytes]
"""Returns the content of a file: a journal's is read when it is needed."""

SWEEP_RUN = "sweep"
"""The word for the run of the sweep itself."""
TRIAL_RUN = re.compile(r"([0-9]+)-([0-9a-f]+)")
"""The word for the run of a trial: its start in milliseconds, and its point."""


def trial_run(point: str, *, start_ms: int) -> str:
    """Return the word for the run of a trial, which no other trial of its sweep has."""
    return f"{start_ms}-{point}"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that was measured."""

    key: str
    value: float
    step: int
    timestamp_ms: int


@dataclass(frozen=True, kw_only=True)
class StartRun:
    """A trial has started.

    Its point and its start, which no other trial of the sweep has, are how its run is found again
    where MLflow's answer was lost.
    """

    op: ClassVar[str] = "start"
    run: str
    name: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    card: DatasetCard
    start_ms: int
    replaces: tuple[str, ...] = ()
    """Runs of earlier tries of the point, by MLflow's ids, or by our word for those of the same
    process: deleted once there is this one."""
    run_id: str | None = None
    """MLflow's id, if the run was created before its entries had to wait."""


@dataclass(frozen=True, kw_only=True)
class LogMetrics:
    """A trial has validated."""

    op: ClassVar[str] = "metrics"
    run: str
    metrics: tuple[Measurement, ...]


@dataclass(frozen=True, kw_only=True)
class LogParameters:
    """Parameters of a trial that are known only since it has validated."""

    op: ClassVar[str] = "parameters"
    run: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LogModel:
    """A trial's model."""

    op: ClassVar[str] = "model"
    run: str
    step: int
    image_shape: tuple[int, int, int]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    weights: Content


@dataclass(frozen=True, kw_only=True)
class LogFiles:
    """Files of a run, by name."""

    op: ClassVar[str] = "files"
    run: str
    files: Mapping[str, Content]


@dataclass(frozen=True, kw_only=True)
class EndRun:
    """A run has ended."""

    op: ClassVar[str] = "end"
    run: str
    status: str
    tags: Mapping[str, str]
    end_ms: int
    metrics: tuple[Measurement, ...] = ()
    """Of the run's model as well."""


@dataclass(frozen=True, kw_only=True)
class FinishSweep:
    """All trials have ended; the curve could not be stored, since not all of them are."""

    op: ClassVar[str] = "finish"
    config: Mapping[str, str]
    card: DatasetCard
    commands: Mapping[str, str]
    linear_mse: Mapping[int, float] = field(default_factory=dict)
    """Test MSE of principal components by their number, if it was measured."""


RunEntry: TypeAlias = StartRun | LogParameters | LogMetrics | LogModel | LogFiles | EndRun
Entry: TypeAlias = RunEntry | FinishSweep


def to_document(entry: Entry, keep: Callable[[bytes], str]) -> dict[str, object]:
    """Return an entry as a JSON-able document.

    Parameters
    ----------
    keep
        Stores a file's content and returns the name by which it is found.
    """
    fields: dict[str, Any] = {
        each.name: getattr(entry, each.name) for each in dataclasses.fields(entry)
    }
    if isinstance(entry, LogModel):
        fields["weights"] = keep(entry.weights())
    if isinstance(entry, LogFiles):
        fields["files"] = {name: keep(content()) for name, content in entry.files.items()}
    return {"op": entry.op, **{name: _plain(value) for name, value in fields.items()}}


def from_document(document: Mapping[str, Any], find: Callable[[str], bytes]) -> Entry:
    """Return the entry of a document.

    Parameters
    ----------
    find
        Returns a file's content by the name under which it was kept.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is not the document of an entry.
    """
    fields = dict(document)
    op = fields.pop("op")
    if "card" in fields:
        card = fields["card"]
        fields["card"] = DatasetCard(**{**card, "image_shape": tuple(card["image_shape"])})
    if "metrics" in fields:
        fields["metrics"] = tuple(Measurement(**each) for each in fields["metrics"])
    match op:
        case StartRun.op:
            replaces = tuple(map(str, fields.pop("replaces", ())))
            return StartRun(replaces=replaces, **fields)
        case LogParameters.op | LogMetrics.op:
            return LogParameters(**fields) if op == LogParameters.op else LogMetrics(**fields)
        case LogModel.op:
            fields["image_shape"] = tuple(fields["image_shape"])
            fields["weights"] = _kept(fields["weights"], find)
            return LogModel(**fields)
        case LogFiles.op:
            files = {name: _kept(kept, find) for name, kept in fields.pop("files").items()}
            return LogFiles(files=files, **fields)
        case EndRun.op:
            return EndRun(**fields)
        case FinishSweep.op:
            linear = {int(dim): float(mse) for dim, mse in fields.pop("linear_mse").items()}
            return FinishSweep(linear_mse=linear, **fields)
    raise ValueError(f"there is no entry {op!r}")


def _kept(name: str, find: Callable[[str], bytes]) -> Content:
    return lambda: find(name)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value
