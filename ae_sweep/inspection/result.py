"""Values that inspections return, and how they are logged to MLflow."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ae_sweep import plots
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.api import Sweep


@dataclass(frozen=True, kw_only=True)
class RunFindings:
    """What an inspection adds to the run of one trial."""

    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Finite numbers by name and step."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """By name."""
    table: str | None = None
    """Which of the files MLflow's UI shows as a table."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What an inspection of a sweep found; nothing of it is stored until it is logged."""

    sweep: str
    """The sweep's name."""

    @property
    def findings(self) -> tuple[str, ...]:
        """What the numbers mean, in words."""
        return ()

    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Return finite numbers by name, by the run that they belong to."""
        return {}

    def run_findings(self) -> Mapping[str, RunFindings]:
        """Return curves and files by the run of the trial that they belong to."""
        return {}

    def was_logged(self) -> None:
        """Drop what was kept elsewhere until it was logged."""

    def pictures(self) -> Mapping[str, plots.Figure]:
        """Return figures by the file name that they have on the sweep's run."""
        return {}

    def documents(self) -> Mapping[str, Mapping[str, Any]]:
        """Return JSON-able documents by the file name that they have on the sweep's run."""
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing(Inspection):
    """A figure under a file name."""

    file: str
    figure: plots.Figure
    notes: tuple[str, ...] = ()
    """What the figure leaves out."""

    @property
    def findings(self) -> tuple[str, ...]:
        """What the figure leaves out."""
        return self.notes

    def pictures(self) -> Mapping[str, plots.Figure]:  # noqa: D102 - inherited
        return {self.file: self.figure}

    def _repr_png_(self) -> bytes:
        return plots.render(self.figure, "png")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageGrid(Inspection):
    """Labelled rows of images, all of one shape."""

    file: ClassVar[str]
    """The picture's file name on the sweep's run."""
    gap: ClassVar[int] = 1
    """Pixels of paper between two images."""

    title: str
    rows: tuple[plots.ImageRow, ...]

    @functools.cached_property
    def figure(self) -> plots.Figure:
        """The rows as a figure."""
        return plots.image_rows_figure(self.rows, title=self.title, gap=self.gap)

    def pictures(self) -> Mapping[str, plots.Figure]:  # noqa: D102 - inherited
        return {self.file: self.figure}

    def _repr_png_(self) -> bytes:
        return plots.render(self.figure, "png")


def log(sweep: Sweep, *values: Inspection) -> None:
    """Log what inspections found to MLflow, over what is there of the same name.

    Metrics, and curves and files of a model, go to the runs of their points; pictures (PNG) and
    documents (JSON) to the sweep's run.

    Parameters
    ----------
    sweep
        The sweep that was inspected.
    *values
        What inspections of it returned.

    Raises
    ------
    ConfigError
        If a value is of another sweep.
    StoreError
        If the store cannot be written: it is read-only, was moved or copied, or is unreachable.
    """
    if others := [value.sweep for value in values if value.sweep != sweep.name]:
        raise ConfigError(f"an inspection of {others[0]} cannot be logged to {sweep.name}")
    files = {}
    for value in values:
        for run_id, metrics in value.metrics().items():
            sweep.runs.add_to_run(run_id, metrics=metrics)
        for run_id, found in value.run_findings().items():
            sweep.runs.add_to_run(
                run_id,
                curves=found.curves,
                files=found.files,
                table=found.table,
                tags=found.tags,
            )
        for name, figure in value.pictures().items():
            files[name] = plots.render(figure, "png")
        for name, document in value.documents().items():
            files[name] = json.dumps(document, indent=2, allow_nan=False).encode()
    sweep.runs.add_to_run(sweep.record.run_id, files=files)
    for value in values:
        value.was_logged()
