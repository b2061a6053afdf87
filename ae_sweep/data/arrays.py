"""Images in arrays: npy and npz files, and arrays given in Python.

Legend of shapes: N images, H, W height and width, C channels; K labels of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ae_sweep.data.npy_stream import BadArrayError, StoredArray, list_arrays
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import shorten, times, visible

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.idx import Bytes

Part = Literal["train", "val", "test"]
Rows: TypeAlias = Callable[[int], Iterator[NDArray[Any]]]

CHANNELS = (1, 2, 3, 4)
"""Grey, grey and alpha, colour, colour and alpha."""
CHUNK_BYTES = 16 << 20
"""Most bytes that are read at a time, if an image is not larger."""
MAX_IMAGE_BYTES = 128 << 20
"""Most bytes of one image as stored."""
MAX_IMAGES = 20_000_000
"""Most images of a set; all of ImageNet are 14 million. Each takes some hundred bytes of memory
while a set is prepared, however small it is."""
MAX_LABEL_BYTES = 128 << 20
LABELS_AT_A_TIME = 1 << 20

KEYS: dict[str, dict[Part, tuple[str, str]]] = {
    "MedMNIST": {part: (f"{part}_images", f"{part}_labels") for part in get_args(Part)},
    "Keras": {part: (f"x_{part}", f"y_{part}") for part in get_args(Part)},
}
"""Names of the images and labels of each part in archives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayPart:
    """Images of one part, read when they are needed."""

    part: Part | None
    """None: the split is to be made."""
    count: int
    image_shape: tuple[int, int, int]
    """H, W, C; C is 1 for N×H×W."""
    labels_N: NDArray[np.int64] | None = field(default=None, repr=False)
    """Integers as given; None if there are no labels."""
    notes: tuple[str, ...] = ()
    """What was left out, in one line each."""
    source: str
    """The file or array in messages."""
    rows: Rows = field(repr=False)
    """Called with the number of stored images to yield at a time."""

    def chunks(self, images: int = 1024) -> Iterator[Bytes]:
        """Yield unsigned bytes n×H×W×C, in order, at most ``images`` at a time.

        Large images come fewer at a time.

        Raises
        ------
        DataError
            If the data are damaged, or floats are not from 0 to 1.
        """
        first = 0
        try:
            for stored in self.rows(images):
                yield self._as_bytes(stored, first).reshape(len(stored), *self.image_shape)
                first += len(stored)
        except BadArrayError as error:
            raise DataError(f"{self.source} {error}") from error

    def _as_bytes(self, stored: NDArray[Any], first: int) -> Bytes:
        if stored.dtype == np.uint8:
            return np.ascontiguousarray(stored)
        if stored.dtype == np.bool_:
            return np.where(stored, np.uint8(255), np.uint8(0))
        wrong = ~((stored >= 0) & (stored <= 1))  # NaN is wrong as well
        if wrong.any():
            place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            raise DataError(
                f"{self.source} has the value {stored[place]} in image {first + int(place[0])}, "
                "counted from 0, and floats must be from 0 to 1; "
                + ("replace it" if np.isnan(stored[place]) else "scale them to that range first")
            )
        return np.rint(stored.astype(np.float64) * 255).astype(np.uint8)


def open_arrays(path: Path, options: ImageOptions) -> tuple[ArrayPart, ...]:
    """Open an npy or npz file; the images are read by ``ArrayPart.chunks``.

    An archive has MedMNIST's keys (``train_images``, ``train_labels``, ...), those of Keras
    (``x_train``, ``y_train``, ...), or one array of any name. Images are N×H×W or N×H×W×C.

    Raises
    ------
    ConfigError
        If the images are floats and the options do not ask for their scaling.
    DataError
        If the file is damaged, holds Python objects, other keys, or no images.
    """
    source = visible(path)
    try:
        arrays = list_arrays(path)
    except BadArrayError as error:
        raise DataError(f"{source} {error}") from error
    if len(arrays) == 1:
        (array,) = arrays.values()
        return (_stored_part(None, source, array, options),)
    names = {str(key): array for key, array in arrays.items()}
    parts = _find_parts(source, names)
    return _labelled(source, names, parts, options)


def open_memory(
    array: NDArray[Any], options: ImageOptions, labels: NDArray[Any] | None = None
) -> tuple[ArrayPart, ...]:
    """Open images given in Python: N×H×W, N×H×W×C, or N×C×H×W where nothing else is possible.

    Raises
    ------
    ConfigError
        If the images are floats and the options do not ask for their scaling.
    DataError
        If it holds no images, its axes are ambiguous, or the labels are not one integer per image.
    """
    source = "the array"
    array = _channels_last(source, np.asarray(array))
    image_shape = _check_images(source, array.shape, array.dtype, options)
    labels_N = None
    if labels is not None:
        labels = np.asarray(labels)
        if problem := label_problem(labels.shape, labels.dtype, len(array)):
            raise DataError(f"{source} has labels whose array {problem}")
        labels_N = labels.reshape(len(array)).astype(np.int64)
    part = ArrayPart(
        part=None,
        count=len(array),
        image_shape=image_shape,
        labels_N=labels_N,
        source=source,
        rows=partial(_slices, array),
    )
    return (part,)


def _slices(array: NDArray[Any], images: int) -> Iterator[NDArray[Any]]:
    images = _at_a_time(images, array[:1].nbytes)
    for first in range(0, len(array), images):
        yield array[first : first + images]


def _stored_slices(array: StoredArray, images: int) -> Iterator[NDArray[Any]]:
    image_bytes = int(np.prod(array.shape[1:], dtype=object)) * array.dtype.itemsize
    return array.rows(_at_a_time(images, image_bytes))


def _at_a_time(images: int, image_bytes: int) -> int:
    return max(1, min(images, CHUNK_BYTES // max(1, image_bytes)))


def _stored_part(
    part: Part | None, source: str, array: StoredArray, options: ImageOptions
) -> ArrayPart:
    where = source if array.key is None else f"{source}, array {shorten(array.key)},"
    if array.is_fortran and len(array.shape) > 1:
        raise DataError(
            f"{where} is in Fortran's order, in which images cannot be read one after another; "
            "save numpy.ascontiguousarray(array)"
        )
    image_shape = _check_images(where, array.shape, array.dtype, options)
    return ArrayPart(
        part=part,
        count=array.shape[0],
        image_shape=image_shape,
        source=where,
        rows=partial(_stored_slices, array),
    )


def _find_parts(source: str, names: dict[str, StoredArray]) -> dict[Part, tuple[str, str]]:
    """Return the keys of images and labels by part.

    Raises
    ------
    DataError
        If the keys are of none of the known forms, or of both.
    """
    found = [
        {part: keys for part, keys in form.items() if keys[0] in names} for form in KEYS.values()
    ]
    parts = [form for form in found if "train" in form]
    if len(parts) != 1:
        listed = ", ".join(shorten(name, 40) for name in list(names)[:12])
        more = ", ..." if len(names) > 12 else ""
        raise DataError(
            f"{source} holds the arrays {listed}{more}; expected one array, or train_images with "
            "val_images, test_images and their labels, or x_train with x_val, x_test and their y_"
        )
    return parts[0]


def _labelled(
    source: str,
    names: dict[str, StoredArray],
    parts: dict[Part, tuple[str, str]],
    options: ImageOptions,
) -> tuple[ArrayPart, ...]:
    """Open the parts with their labels, or all without if the labels of one cannot be used."""
    opened = {
        part: _stored_part(part, source, names[images], options)
        for part, (images, _) in parts.items()
    }
    known = {key for keys in parts.values() for key in keys}
    notes = [
        f"{source} holds {shorten(name, 40)}, which is left out"
        for name in names
        if name not in known
    ]
    problems = []
    for part, (images, key) in parts.items():
        if key not in names:
            problems.append(f"{images} has none")
        elif problem := label_problem(names[key].shape, names[key].dtype, opened[part].count):
            problems.append(f"{key} {problem}")
    has_any = any(key in names for _, key in parts.values())
    if has_any and problems:
        notes.append(f"{source}: the labels are left out ({'; '.join(problems)})")
    result = []
    for part, (_, key) in parts.items():
        labels_N = None if problems else _read_labels(source, names[key])
        # Said once, not once for each part.
        result.append(replace(opened[part], labels_N=labels_N, notes=tuple(notes)))
        notes = []
    return tuple(result)


def label_problem(shape: tuple[int, ...], dtype: np.dtype[Any], count: int) -> str | None:
    """Return why labels are not one integer per image, as a predicate; None if they are."""
    if shape not in {(count,), (count, 1)}:
        return f"has the shape {times(shape)}, not one label for each of {count:,} images"
    if dtype.kind not in "biu":
        return f"holds {dtype}, not integers"
    if count * dtype.itemsize > MAX_LABEL_BYTES:
        return f"holds more than {MAX_LABEL_BYTES:,} bytes"
    return None


def _read_labels(source: str, array: StoredArray) -> NDArray[np.int64]:
    try:
        blocks = [block.reshape(-1) for block in array.rows(LABELS_AT_A_TIME)]
    except BadArrayError as error:
        raise DataError(f"{source}, array {shorten(str(array.key))}, {error}") from error
    return np.concatenate(blocks).astype(np.int64) if blocks else np.zeros(0, dtype=np.int64)


def _check_images(
    source: str, shape: tuple[int, ...], dtype: np.dtype[Any], options: ImageOptions
) -> tuple[int, int, int]:
    """Check that an array holds images, and return H, W, C."""
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] not in CHANNELS):
        is_channels_first = len(shape) == 4 and shape[1] in CHANNELS
        hint = "; save array.transpose(0, 2, 3, 1)" if is_channels_first else ""
        raise DataError(
            f"{source} has the shape {times(shape)}, expected N×H×W or N×H×W×C with 1 to 4 "
            f"channels{hint}"
        )
    if 0 in shape:
        raise DataError(f"{source} has the shape {times(shape)}, which holds no pixels")
    height, width, channels = (*shape[1:], 1)[:3]
    _check_dtype(source, dtype, options)
    if height * width * channels * dtype.itemsize > MAX_IMAGE_BYTES:
        raise DataError(
            f"{source} has images of {times(shape[1:])} {dtype}, more than {MAX_IMAGE_BYTES:,} "
            "bytes each"
        )
    return height, width, channels


def _check_dtype(source: str, dtype: np.dtype[Any], options: ImageOptions) -> None:
    if dtype.name in {"uint8", "bool"}:
        return
    if dtype.kind == "f":
        if not options.scale:
            raise ConfigError(
                f"{source} holds {dtype} numbers, and images are uint8; give --scale (in Python, "
                "scale=True) if they are from 0 to 1, to multiply them by 255"
            )
        return
    hints = {
        "uint16": "for 16-bit images, save (array / 257).round().astype('uint8')",
        "object": "objects can run code and are never read",
    }
    hint = hints.get(dtype.name, "")
    if not hint and dtype.kind in "iu":
        hint = "if they are from 0 to 255, save array.astype('uint8')"
    raise DataError(
        f"{source} holds {dtype} values, and images are uint8; {hint or 'save them as uint8'}"
    )


def _channels_last(source: str, array: NDArray[Any]) -> NDArray[Any]:
    """View N×C×H×W as N×H×W×C if the array can be nothing else."""
    if array.ndim != 4 or array.shape[1] not in CHANNELS:
        return array
    if array.shape[3] in CHANNELS:
        raise DataError(
            f"{source} has the shape {times(array.shape)}, which may be N×C×H×W or N×H×W×C; give "
            "a npy file, which is read as N×H×W×C, or one channel as N×H×W"
        )
    return array.transpose(0, 2, 3, 1)
