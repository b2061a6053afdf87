"""The straight line between two latents, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from ae_sweep import analysis, plots
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.result import ImageGrid
from ae_sweep.messages import shorten, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep
    from ae_sweep.models import TrainedAutoencoder

    Array = np.ndarray[Any, Any]

End: TypeAlias = int | str | None
"""A class or a test image at one end; None where it is left out."""
USUAL = (4, 9)
"""The ends that are taken where none are given: of MNIST, two digits that are much alike."""
MOST_LETTERS = 24
"""Of a class's name in a title."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Interpolation(ImageGrid):
    """A strip of images for each point, and one that fades between the pixels."""

    file: ClassVar[str] = "interpolation.png"


def interpolation(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    ends: tuple[End, End] = (None, None),
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
        Names or numbers of classes, of which the first test image is taken. What is left out is 4
        and 9 where there are such, else the first and the last.
    steps
        Images in a strip, the ends included.
    images
        The ends are numbers of test images instead. If the images have no classes and no end is
        given, they are as well.
    means
        The ends are the means of the classes' latents instead.

    Raises
    ------
    ConfigError
        If there is no such image or class.
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    if sweep.dataset.test_labels_N is None and not images:
        if means or any(end is not None for end in ends):
            raise _no_classes(sweep)
        images = True
    numbers = _images(sweep, ends) if images else _classes(sweep, ends)
    members = [_members(sweep, number, images=images, means=means) for number in numbers]
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
    names = [str(each) if images else sweep.dataset.class_names[each] for each in numbers]
    start, end = (plots.plain(name, limit=MOST_LETTERS) for name in names)
    return Interpolation(
        sweep=sweep.name, title=f"{sweep.name}: from {what} {start} to {end}", rows=tuple(rows)
    )


def _no_classes(sweep: Sweep) -> ConfigError:
    command = sweep.store.command("interpolate", sweep.name, "--images", "--from", "0", "--to", "1")
    return ConfigError(
        f"the images of {visible(sweep.dataset.card.name)} have no classes; name two test images "
        f"by their numbers, as in `{command}`"
    )


def _images(sweep: Sweep, ends: tuple[End, End]) -> list[int]:
    """Return the numbers of the two test images."""
    total = len(sweep.dataset.test_NCHW)
    left_out = USUAL if total > max(USUAL) else (0, total - 1)
    numbers = []
    for end, usual in zip(ends, left_out, strict=True):
        try:
            numbers.append(usual if end is None else int(end))
        except ValueError:
            raise ConfigError(
                f"{shorten(str(end))} is not the number of a test image, which are 0 to {total - 1}"
            ) from None
        if not 0 <= numbers[-1] < total:
            raise ConfigError(f"there is no test image {numbers[-1]}, only 0 to {total - 1}")
    return numbers


def _classes(sweep: Sweep, ends: tuple[End, End]) -> list[int]:
    """Return the numbers of the two classes."""
    there = sweep.classes()
    names = [sweep.dataset.class_names[each] for each in there]
    texts = [str(each) for each in USUAL]
    left_out: Sequence[int | str] = texts
    if any(text not in names for text in texts):
        left_out = (there[0], there[-1])
    wanted = [usual if end is None else end for end, usual in zip(ends, left_out, strict=True)]
    return [sweep.classes([each])[0] for each in wanted]


def _members(sweep: Sweep, number: int, *, images: bool, means: bool) -> Array:
    """Return the test images, N×C×H×W bytes, of whose latents an end is the mean."""
    x_NCHW, labels_N = sweep.dataset.test_NCHW, sweep.dataset.test_labels_N
    if images:
        return x_NCHW[number : number + 1]
    of_class_N = np.flatnonzero(labels_N == number)
    return x_NCHW[of_class_N if means else of_class_N[:1]]


def _strip(model: TrainedAutoencoder, members: Sequence[Array], steps: int) -> Array:
    first, last = (model.encode(x_NCHW).mean(axis=0) for x_NCHW in members)
    return model.decode(analysis.line(first, last, steps=steps))
