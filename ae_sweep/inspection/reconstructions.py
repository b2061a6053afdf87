"""Test images over their reconstructions by the best model of each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ae_sweep import analysis, plots
from ae_sweep.inspection.result import ImageGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstructions(ImageGrid):
    """Test images in the first row, and a row for each point below."""

    file: ClassVar[str] = "reconstructions.png"

    images: tuple[int, ...]
    """The numbers of the test images shown."""


def reconstructions(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    *,
    classes: Sequence[int],
    count: int = 10,
    worst: bool = False,
    residuals: bool = False,
) -> Reconstructions:
    """Show test images over their reconstructions, a row for each point.

    Parameters
    ----------
    classes
        Of the images.
    count
        Number of images.
    worst
        Take the images of the largest error, instead of the first of each class.
    residuals
        Add the absolute error under each row.

    Raises
    ------
    ConfigError
        If there are fewer images than classes.
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    # A point holds a mapping and so has no hash; its run does.
    models = {point.run_id: sweep.shared_model(point) for point in points}
    x_NCHW, labels_N = sweep.dataset.test_NCHW, sweep.dataset.test_labels_N
    if worst:
        errors = [
            analysis.squared_errors(x_NCHW, model.reconstruct(x_NCHW)) for model in models.values()
        ]
        chosen = analysis.worst(errors, labels_N, classes, count=count)
    else:
        chosen = analysis.first_of_each(labels_N, classes, count=count)
    shown_NCHW = x_NCHW[chosen]
    rows = [plots.ImageRow("original", shown_NCHW)]
    for point in points:
        rebuilt_NCHW = models[point.run_id].reconstruct(shown_NCHW)
        label = f"{point.condition}, MSE {point.test_mse:.2g}"
        rows += _rows(label, shown_NCHW, rebuilt_NCHW, residuals=residuals)
    which = "rebuilt worst" if worst else "first of each class"
    return Reconstructions(
        sweep=sweep.name,
        title=f"{sweep.name}: test images, {which}; MSE of all {len(x_NCHW):,}",
        rows=tuple(rows),
        images=tuple(int(index) for index in chosen),
    )


def _rows(
    label: str, original_NCHW: Array, rebuilt_NCHW: Array, *, residuals: bool
) -> list[plots.ImageRow]:
    rows = [plots.ImageRow(label, analysis.as_bytes(rebuilt_NCHW))]
    if residuals:
        error_NCHW = abs(original_NCHW / 255 - rebuilt_NCHW)
        rows.append(plots.ImageRow("|error|", analysis.as_bytes(error_NCHW)))
    return rows
