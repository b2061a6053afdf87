"""Test images over their reconstructions by the best model of each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ae_sweep import analysis, plots
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.result import ImageGrid
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep
    from ae_sweep.models import TrainedAutoencoder

    Array = np.ndarray[Any, Any]


MOST_LETTERS = 24
"""Of a class's name beside an image's number."""
BATCH = 1_000
BATCH_NUMBERS = 2**25
"""Images, and their pixels times channels, that are rebuilt at a time where all test images are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstructions(ImageGrid):
    """Test images in the first row, and a row for each point below."""

    file: ClassVar[str] = "reconstructions.png"

    images: tuple[int, ...]
    """The numbers of the test images shown."""
    classes: tuple[str, ...] = ()
    """The names of their classes; empty if they have none."""

    @property
    def listed(self) -> tuple[str, ...]:
        """The images' numbers, each with its class where that has a name."""
        if all(name.isdecimal() for name in self.classes):
            return tuple(map(str, self.images))
        return tuple(
            f"{number} ({visible(name, MOST_LETTERS)})"
            for number, name in zip(self.images, self.classes, strict=True)
        )


def reconstructions(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    *,
    classes: Sequence[int | str] = (),
    count: int = 10,
    worst: bool = False,
    residuals: bool = False,
) -> Reconstructions:
    """Show test images over their reconstructions, a row for each point.

    The images are the first of each class, of evenly spaced classes where there are more than
    ``count``, and evenly spaced images where they have no classes.

    Parameters
    ----------
    classes
        Names or numbers of the images' classes; all if left out.
    count
        Number of images.
    worst
        Take the images of the largest error instead.
    residuals
        Add the absolute error under each row, of a colour image the mean over its channels.

    Raises
    ------
    ConfigError
        If more classes are given than images are shown, or a class has no test image.
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    # A point holds a mapping and so has no hash; its run does.
    models = {point.run_id: sweep.shared_model(point) for point in points}
    dataset = sweep.dataset
    x_NCHW, labels_N = dataset.test_NCHW, dataset.test_labels_N
    chosen, which = (
        _worst(sweep, [*models.values()], classes, count=count)
        if worst
        else _first(sweep, classes, count=count)
    )
    shown_NCHW = x_NCHW[chosen]
    rows = [plots.ImageRow("original", shown_NCHW)]
    for point in points:
        rebuilt_NCHW = models[point.run_id].reconstruct(shown_NCHW)
        label = f"{point.condition}, MSE {point.test_mse:.2g}"
        rows += _rows(label, shown_NCHW, rebuilt_NCHW, residuals=residuals)
    return Reconstructions(
        sweep=sweep.name,
        title=f"{sweep.name}: test images, {which}; MSE of all {len(x_NCHW):,}",
        rows=tuple(rows),
        images=tuple(int(index) for index in chosen),
        classes=()
        if labels_N is None
        else tuple(dataset.class_names[label] for label in labels_N[chosen]),
    )


def _first(sweep: Sweep, classes: Sequence[int | str], *, count: int) -> tuple[Array, str]:
    """Choose images without any model; return their numbers, and the rule in words."""
    labels_N = sweep.dataset.test_labels_N
    if labels_N is None and not classes:
        chosen = analysis.evenly_spaced(len(sweep.dataset.test_NCHW), count=count)
        return chosen, "evenly spaced"
    wanted = _classes(sweep, classes)
    which = "first of each class"
    if not classes and len(wanted) > count:
        which = f"first of {count} of the {len(wanted):,} classes"
        wanted = [wanted[index] for index in analysis.evenly_spaced(len(wanted), count=count)]
    return analysis.first_of_each(np.asarray(labels_N), wanted, count=count), which


def _worst(
    sweep: Sweep,
    models: Sequence[TrainedAutoencoder],
    classes: Sequence[int | str],
    *,
    count: int,
) -> tuple[Array, str]:
    """Choose the images of the largest error; return their numbers, and the rule in words."""
    dataset = sweep.dataset
    wanted = _classes(sweep, classes) if classes else []
    errors = [_errors(model, dataset.test_NCHW) for model in models]
    labels_N = dataset.test_labels_N if wanted else None
    chosen = analysis.worst(errors, labels_N=labels_N, classes=wanted, count=count)
    return chosen, "rebuilt worst"


def _classes(sweep: Sweep, classes: Sequence[int | str]) -> list[int]:
    if sweep.dataset.test_labels_N is None:
        raise ConfigError(
            f"the images of {visible(sweep.dataset.card.name)} have no classes to choose by; "
            "without --classes evenly spaced images are shown, and with --worst those that are "
            "rebuilt worst"
        )
    return sweep.classes(classes)


def _errors(model: TrainedAutoencoder, x_NCHW: Array) -> Array:
    """Return the squared error of each image, without holding all reconstructions."""
    size = min(BATCH, analysis.images_within(BATCH_NUMBERS, x_NCHW.shape))
    batches = [x_NCHW[start : start + size] for start in range(0, len(x_NCHW), size)]
    return np.concatenate(
        [analysis.squared_errors(batch, model.reconstruct(batch)) for batch in batches]
    )


def _rows(
    label: str, original_NCHW: Array, rebuilt_NCHW: Array, *, residuals: bool
) -> list[plots.ImageRow]:
    rows = [plots.ImageRow(label, analysis.as_bytes(rebuilt_NCHW))]
    if residuals:
        # One grey for all channels: in colour, an error would look like a hue of the image.
        error_N1HW = abs(original_NCHW / 255 - rebuilt_NCHW).mean(axis=1, keepdims=True)
        error_NCHW = error_N1HW.repeat(original_NCHW.shape[1], axis=1)
        rows.append(plots.ImageRow("|error|", analysis.as_bytes(error_NCHW)))
    return rows
