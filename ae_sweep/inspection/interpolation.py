"""The straight line between two latents, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ae_sweep import analysis, plots
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.result import ImageGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep
    from ae_sweep.models import TrainedAutoencoder

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Interpolation(ImageGrid):
    """A strip of images for each point, and one that fades between the pixels."""

    file: ClassVar[str] = "interpolation.png"


def interpolation(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    ends: tuple[int, int],
    *,
    steps: int,
    images: bool = False,
    means: bool = False,
) -> Interpolation:
    """Decode the straight line between two latents, a strip for each point.

    The last strip fades between the two in pixels, without any network.

    Parameters
    ----------
    ends
        Classes, of which the first test image is taken.
    steps
        Images in a strip, the ends included.
    images
        The ends are numbers of test images instead.
    means
        The ends are the means of the classes' latents instead.

    Raises
    ------
    ConfigError
        If there is no such image or class.
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    members = [_members(sweep, number, images=images, means=means) for number in ends]
    rows = [
        plots.ImageRow(
            str(point.condition),
            analysis.as_bytes(_strip(sweep.shared_model(point), members, steps)),
        )
        for point in points
    ]
    first, last = (x_NCHW.mean(axis=0) / 255 for x_NCHW in members)
    rows.append(
        plots.ImageRow("pixels", analysis.as_bytes(analysis.line(first, last, steps=steps)))
    )
    what = "test image" if images else "mean of class" if means else "class"
    return Interpolation(
        sweep=sweep.name,
        title=f"{sweep.name}: from {what} {ends[0]} to {ends[1]}",
        rows=tuple(rows),
    )


def _members(sweep: Sweep, number: int, *, images: bool, means: bool) -> Array:
    """Return the test images, N×C×H×W bytes, of whose latents an end is the mean."""
    x_NCHW, labels_N = sweep.dataset.test_NCHW, sweep.dataset.test_labels_N
    if images:
        if not 0 <= number < len(x_NCHW):
            raise ConfigError(f"there is no test image {number}, only 0 to {len(x_NCHW) - 1}")
        return x_NCHW[number : number + 1]
    sweep.classes([number])
    members_NCHW: Array = x_NCHW[labels_N == number]
    return members_NCHW if means else members_NCHW[:1]


def _strip(model: TrainedAutoencoder, members: Sequence[Array], steps: int) -> Array:
    first, last = (model.encode(x_NCHW).mean(axis=0) for x_NCHW in members)
    return model.decode(analysis.line(first, last, steps=steps))
