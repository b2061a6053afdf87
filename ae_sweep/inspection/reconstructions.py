"""Owns the look at reconstructions: test images over what the best model of each point makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep

    Array = np.ndarray[Any, Any]

PICTURE = "reconstructions.png"


def reconstructions(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    *,
    classes: Sequence[int],
    count: int = 10,
    worst: bool = False,
    residuals: bool = False,
) -> tuple[plots.Figure, list[int]]:
    """Draw test images over their reconstructions, a row a point.

    Parameters
    ----------
    classes
        Of the images.
    count
        How many images.
    worst
        Take those that are rebuilt worst, instead of the first of each class.
    residuals
        Draw the absolute error under each row.

    Returns
    -------
    tuple
        The figure, which is on the sweep's run as reconstructions.png as well, and the numbers of
        the test images in it.
    """
    # A point holds a mapping and so has no hash; its run does.
    models = {point.run_id: sweep.model(point) for point in points}
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
    title = f"{sweep.name}: test images, {which}; MSE of all {len(x_NCHW):,}"
    figure = plots.image_rows_figure(rows, title=title)
    sweep.add_picture(PICTURE, figure)
    return figure, [int(index) for index in chosen]


def _rows(
    label: str, original_NCHW: Array, rebuilt_NCHW: Array, *, residuals: bool
) -> list[plots.ImageRow]:
    rows = [plots.ImageRow(label, analysis.as_bytes(rebuilt_NCHW))]
    if residuals:
        error_NCHW = abs(original_NCHW / 255 - rebuilt_NCHW)
        rows.append(plots.ImageRow("|error|", analysis.as_bytes(error_NCHW)))
    return rows
