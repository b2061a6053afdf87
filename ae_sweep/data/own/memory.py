"""Images given in Python: an array, or a sequence such as a data set of torch, read item by item.

Nothing of torch is imported: a tensor is what has ``detach`` and ``numpy``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ae_sweep.config import MEMORY_NAME
from ae_sweep.data.arrays import CHANNELS, label_problem, open_memory
from ae_sweep.data.decode import BrokenPictureError, read_image
from ae_sweep.data.own import cache
from ae_sweep.data.own.collecting import collect_arrays, collect_parts
from ae_sweep.data.own.facts import NAME_LENGTH
from ae_sweep.data.own.layout import printable_names
from ae_sweep.data.own.pixel_file import PIXELS, PixelFile
from ae_sweep.data.own.preparation import enough_memory, findings, store
from ae_sweep.data.own.reading import CHUNK_BYTES
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import shorten, times, visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.idx import Bytes
    from ae_sweep.data.own.collecting import Collected

    Announce = Callable[[str], None]

EXACT = 1e-3
"""Farthest that 255 times a float of a tensor made from bytes is from a whole number."""


@dataclass(kw_only=True, eq=False)
class _Items:
    """Images of a sequence, read once and in order; their labels are known after that.

    As the pictures of a folder, some may be grey or transparent and others not, and where a size
    is given they are resized to it.
    """

    items: Any
    options: ImageOptions
    count: int
    image_shape: tuple[int, int, int]
    """Of the first one."""
    labels: list[int] = field(default_factory=list)
    unlabelled: int | None = None
    """Number of the first item without a label; None if there is none."""
    part: None = None

    @property
    def labels_N(self) -> NDArray[np.int64] | None:  # noqa: N802 - as of array files
        """The labels of the images that were read; None if one has none."""
        return None if self.unlabelled is not None else np.array(self.labels, np.int64)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line if some have labels and others have none."""
        if self.unlabelled is None or not self.labels:
            return ()
        labelled = f"{len(self.labels):,} of {self.count:,} have one"
        return (f"no classes: item {self.unlabelled} has no label, and {labelled}",)

    def chunks(self, images: int = 1024) -> Iterator[Bytes]:
        """Yield n×H×W×C, at most ``images`` at a time: neighbours of one shape."""
        waiting: list[Bytes] = []
        for number in range(self.count):
            image_HWC, label = read_item(self.items, number, self.options)
            if label is not None:
                self.labels.append(label)
            elif self.unlabelled is None:
                self.unlabelled = number
            most = min(images, max(1, CHUNK_BYTES // image_HWC.nbytes)) if image_HWC.size else 1
            if waiting and (image_HWC.shape != waiting[0].shape or len(waiting) >= most):
                yield np.stack(waiting)
                waiting = []
            waiting.append(image_HWC)
        yield np.stack(waiting)


def from_memory(
    images: Any,
    *,
    cache_dir: Path,
    labels: Any = None,
    options: ImageOptions,
    name: str = MEMORY_NAME,
    announce: Announce | None = None,
) -> Path:
    """Store images that are given in Python, and return the directory, to be given to ``load``.

    The same images are stored once. They stay in the cache until ``forget``.

    Parameters
    ----------
    images
        An array N×H×W or N×H×W×C, or a sequence (with ``len`` and indices from 0, as a map-style
        data set of torch) of images, or of pairs of image and label. An image is one of Pillow, or
        an array or tensor of bytes or of floats in [0, 1].
    labels
        One integer for each image, instead of those in pairs.
    name
        Names the images where results are shown.

    Raises
    ------
    ConfigError
        If it is nothing of that kind, or the images need another option, or are too few.
    DataError
        If an image cannot be converted, or the cache cannot be written.
    """
    began = time.perf_counter()
    with (
        enough_memory(visible(name)),
        cache.making(cache_dir) as scratch,
        PixelFile(scratch / PIXELS) as pixels,
    ):
        collect = _collect_array if isinstance(images, np.ndarray) else _collect_items
        collected = collect(
            images, options, labels=labels, place=name, pixels=pixels, announce=announce
        )
        prepared = store(
            collected,
            pixels,
            options,
            name=visible(name, NAME_LENGTH),
            place=visible(name),
            scratch=scratch,
            target=None,
            fingerprint=None,
            began=began,
        )
    for line in findings(prepared.facts):
        if announce:
            announce(line)
    return prepared.directory


def read_item(items: Any, number: int, options: ImageOptions) -> tuple[Bytes, int | None]:
    """Read one item of a sequence as an image H×W×C and its label.

    Raises
    ------
    DataError
        If it is not an image, or its label not a whole number.
    """
    try:
        item = items[number]
    except (IndexError, KeyError) as error:
        raise DataError(
            f"{shorten(type(items).__name__)} has no item {number}, though its length is "
            f"{len(items):,}; give a sequence whose items are numbered from 0"
        ) from error
    label = None
    if isinstance(item, tuple | list) and len(item) in {1, 2}:
        label = _label(item[1], number) if len(item) == 2 else None
        item = item[0]
    if isinstance(item, Image.Image):
        return _from_pillow(item, number), label
    is_tensor = hasattr(item, "detach") and hasattr(item, "numpy")
    array = item.detach().cpu().numpy() if is_tensor else item
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"item {number} is of the type {type(item).__name__}; expected an image, an array or a "
            "tensor, alone or in a pair with its label"
        )
    return _as_bytes(
        _channels_last(array, number, channels_first=is_tensor),
        number,
        scale=options.scale,
        is_tensor=is_tensor,
    ), label


def _collect_array(
    images: NDArray[Any],
    options: ImageOptions,
    *,
    labels: Any,
    place: str,
    pixels: PixelFile,
    announce: Announce | None,
) -> Collected:
    return collect_parts(
        open_memory(images, options, labels),
        options,
        form="memory",
        place=place,
        pixels=pixels,
        announce=announce,
    )


def _collect_items(
    images: Any,
    options: ImageOptions,
    *,
    labels: Any,
    place: str,
    pixels: PixelFile,
    announce: Announce | None,
) -> Collected:
    try:
        count = len(images)
        images.__getitem__  # noqa: B018 - a set or a stream has none
    except (TypeError, AttributeError):
        raise ConfigError(
            f"{shorten(type(images).__name__)} is neither an array, a path nor a sequence with a "
            "length and items by number; make a list of it"
        ) from None
    if not count:
        raise ConfigError("the data set has no images")
    first_HWC, _ = read_item(images, 0, options)
    given_N = None if labels is None else _given_labels(labels, count)
    items = _Items(items=images, options=options, count=count, image_shape=first_HWC.shape)
    collected = collect_arrays(
        [items],
        lambda: [items.labels_N if given_N is None else given_N],
        options,
        form="memory",
        place=place,
        pixels=pixels,
        announce=announce,
        names=_names(images),
    )
    notes = items.notes if given_N is None else ()
    return replace(collected, notes=collected.notes + notes)


def _given_labels(labels: Any, count: int) -> NDArray[np.int64]:
    labels_N = np.asarray(labels)
    if problem := label_problem(labels_N.shape, labels_N.dtype, count):
        raise DataError(f"the array of labels {problem}")
    return labels_N.reshape(count).astype(np.int64)


def _names(images: Any) -> tuple[str, ...]:
    """Return the names of the classes, as torchvision's data sets have them."""
    names = getattr(images, "classes", None)
    if isinstance(names, Sequence) and all(isinstance(each, str) for each in names):
        return printable_names(names)
    return ()


def _label(label: Any, number: int) -> int | None:
    if label is None:
        return None
    try:
        return int(label.__index__())
    except (AttributeError, TypeError, ValueError):
        raise DataError(
            f"item {number} has the label {shorten(repr(label))}, which is not a whole number; "
            "give pairs of image and class number, or the images alone"
        ) from None


def _from_pillow(image: Image.Image, number: int) -> Bytes:
    try:
        return read_image(image)
    except (BrokenPictureError, OSError) as error:
        reason = error if isinstance(error, BrokenPictureError) else f"cannot be read ({error})"
        raise DataError(f"item {number} {reason}") from error


def _channels_last(array: NDArray[Any], number: int, *, channels_first: bool) -> NDArray[Any]:
    """View an image as H×W×C; where both would do, tensors are C×H×W and arrays H×W×C."""
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3:
        first, last = array.shape[0] in CHANNELS, array.shape[2] in CHANNELS
        if first and (channels_first or not last):
            return array.transpose(1, 2, 0)
        if last:
            return array
    hint = "; of images and labels, give list(zip(images, labels))" if array.ndim == 4 else ""
    raise DataError(
        f"item {number} has the shape {times(array.shape)}, expected H×W, H×W×C or C×H×W with 1 "
        f"to 4 channels{hint}"
    )


def _as_bytes(array_HWC: NDArray[Any], number: int, *, scale: bool, is_tensor: bool) -> Bytes:
    if array_HWC.dtype == np.uint8:
        return array_HWC
    if array_HWC.dtype == np.bool_:
        return array_HWC.astype(np.uint8) * np.uint8(255)
    if array_HWC.dtype.kind != "f":
        raise DataError(
            f"item {number} holds {array_HWC.dtype} values, and images are uint8; convert them"
        )
    scaled = array_HWC.astype(np.float64) * 255
    if not ((scaled >= 0) & (scaled <= 255)).all():  # NaN is wrong as well
        raise DataError(
            f"item {number} has values from {np.nanmin(array_HWC):g} to {np.nanmax(array_HWC):g}, "
            "and floats must be from 0 to 1; leave out the normalisation, as a sweep does its own"
        )
    whole = np.rint(scaled)
    if not scale and not (is_tensor and np.abs(scaled - whole).max(initial=0) <= EXACT):
        raise ConfigError(
            f"item {number} holds floats that are not bytes divided by 255; give scale=True to "
            "round them to bytes"
        )
    return whole.astype(np.uint8)
