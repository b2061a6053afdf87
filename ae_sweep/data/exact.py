"""Images to be coded: pictures and arrays of exactly one size and colour, unchanged.

Legend of shapes: N images, C channels, H, W height and width.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ae_sweep.config import ImageOptions
from ae_sweep.data.arrays import open_arrays
from ae_sweep.data.decode import BrokenPictureError, read_picture
from ae_sweep.data.own.listing import ENDINGS, list_folder
from ae_sweep.data.own.sources import ARRAY_ENDINGS
from ae_sweep.errors import ConfigError, DataError, StoreError
from ae_sweep.messages import times, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ae_sweep.data.arrays import ArrayPart
    from ae_sweep.data.decode import Picture
    from ae_sweep.data.idx import Bytes

BATCH_BYTES = 16 << 20
MOST_BATCH = 1_000


def exact_images(paths: Sequence[Path], image_shape: tuple[int, int, int]) -> Iterator[Bytes]:
    """Read images in order, uint8 n×C×H×W, some at a time.

    Parameters
    ----------
    paths
        Pictures, folders of pictures (in the order of their names' bytes), npy and npz files.
    image_shape
        C, H and W that every image must have: 1 channel for grey, 3 for colour.

    Raises
    ------
    ConfigError
        If a path is of no known kind, or an array holds floats.
    DataError
        If an image has another size, colour or depth, or cannot be read; the message has the
        command that converts it.
    """
    size = max(1, min(MOST_BATCH, BATCH_BYTES // int(np.prod(image_shape))))
    waiting: list[Bytes] = []
    for path in paths:
        if path.suffix.lower() in ARRAY_ENDINGS and not path.is_dir():
            if waiting:
                yield np.stack(waiting)
                waiting = []
            yield from _array_images(path, image_shape, size)
            continue
        for file in _pictures(path):
            waiting.append(_picture(file, image_shape))
            if len(waiting) == size:
                yield np.stack(waiting)
                waiting = []
    if waiting:
        yield np.stack(waiting)


def write_picture(path: Path, pixels_CHW: Bytes) -> None:
    """Write an image of bytes, grey or in colour, as PNG.

    Raises
    ------
    StoreError
        If it cannot be written.
    DataError
        If it has other channels than one or three.
    """
    if pixels_CHW.shape[0] not in (1, 3):
        raise DataError(
            f"an image of {pixels_CHW.shape[0]} channels is not a picture: decode it in Python "
            "with ae_sweep.inspection.decode_file"
        )
    grey_or_colour = pixels_CHW[0] if len(pixels_CHW) == 1 else pixels_CHW.transpose(1, 2, 0)
    try:
        Image.fromarray(np.ascontiguousarray(grey_or_colour)).save(path, "PNG")
    except OSError as error:
        raise StoreError(
            f"{visible(path)} cannot be written: {error.strerror or error}; choose another --out"
        ) from error


def _pictures(path: Path) -> Iterator[Path]:
    """Yield the pictures of a folder, or the one that the path is."""
    if path.is_dir():
        listing = list_folder(path)
        if not listing.pictures:
            raise DataError(
                f"{visible(path)} has no pictures ({', '.join(sorted(ENDINGS))}); name a folder of "
                "pictures, pictures, or a file of arrays (.npy, .npz)"
            )
        yield from (type(path)(file.path) for file in listing.pictures)
    elif not os.path.lexists(path):
        raise DataError(
            f"{visible(path)} does not exist; name pictures, folders of them, or files of arrays "
            "(.npy, .npz)"
        )
    elif path.suffix.lower() not in ENDINGS:
        raise ConfigError(
            f"{visible(path)} is not a picture by its ending ({', '.join(sorted(ENDINGS))}) and no "
            "file of arrays (.npy, .npz)"
        )
    else:
        yield path


def _picture(path: Path, image_shape: tuple[int, int, int]) -> Bytes:
    try:
        picture = read_picture(path, ImageOptions())
    except BrokenPictureError as error:
        raise DataError(f"{visible(path)} {error}; name a picture that can be read") from error
    except OSError as error:
        raise DataError(f"{visible(path)} cannot be read ({error.strerror or error})") from error
    if problem := _problem(picture, image_shape):
        raise DataError(f"{visible(path)} {problem}; `{_conversion(path, image_shape, picture)}`")
    pixels_CHW = picture.pixels_HWC.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels_CHW[: image_shape[0]])


def _problem(picture: Picture, image_shape: tuple[int, int, int]) -> str | None:
    """Return why a picture is not one of the model's, as a predicate."""
    channels, height, width = image_shape
    if picture.native_size != (height, width):
        return (
            f"has {picture.native_size[0]}×{picture.native_size[1]} pixels (height, width), and "
            f"the model codes {height}×{width}: resize it"
        )
    if picture.transparent:
        return "has transparent pixels: put it on a background"
    if picture.sixteen_bits:
        return "has 16 bits per channel, and 8 are coded: convert it"
    if picture.frames > 1:
        return "has several frames: take the first"
    if channels == 1 and not picture.grey:
        return "is in colour, and the model codes grey images: convert it"
    return None


def _conversion(path: Path, image_shape: tuple[int, int, int], picture: Picture) -> str:
    """Return the command that makes a picture one of the model's, with Pillow."""
    channels, height, width = image_shape
    # As text, a path that is no UTF-8 could not be typed.
    source, target = str(path), f"{path.stem}-{height}x{width}.png"
    steps = f"i = Image.open({source!r}); "
    if picture.sixteen_bits and picture.grey:
        steps += "i = i.point(lambda v: v / 257).convert('L'); "
    if picture.transparent:
        steps += (
            "i = i.convert('RGBA'); i = Image.alpha_composite(Image.new('RGBA', i.size, 'white'), "
            "i); "
        )
    mode = "L" if channels == 1 else "RGB"
    steps += f"i.convert({mode!r}).resize(({width}, {height})).save({target!r})"
    return f"python -c {shlex.quote('from PIL import Image; ' + steps)}"


def _array_images(path: Path, image_shape: tuple[int, int, int], size: int) -> Iterator[Bytes]:
    if not path.exists():
        raise DataError(f"{visible(path)} does not exist; name a file of arrays (.npy, .npz)")
    try:
        parts = open_arrays(path, ImageOptions())
    except ConfigError:
        raise ConfigError(_float_advice(path)) from None
    for part in parts:
        _check_part(part, image_shape)
        for chunk_NHWC in part.chunks(size):
            yield np.ascontiguousarray(chunk_NHWC.transpose(0, 3, 1, 2))


def _check_part(part: ArrayPart, image_shape: tuple[int, int, int]) -> None:
    channels, height, width = image_shape
    if part.image_shape == (height, width, channels):
        return
    form = f"N×{height}×{width}" + (f"×{channels}" if channels > 1 else "")
    raise DataError(
        f"{part.source} has images of {times(part.image_shape)} (height, width, channels), and "
        f"the model codes {height}×{width}×{channels}: save an array of {form} uint8"
    )


def _float_advice(path: Path) -> str:
    target = f"{path.stem}-bytes.npy"
    code = (
        f"import numpy as np; x = np.load({str(path)!r}); "
        "x = x if isinstance(x, np.ndarray) else x[x.files[0]]; "
        f"np.save({target!r}, (x * 255).round().astype('uint8'))"
    )
    return (
        f"{visible(path)} holds floats, and 8-bit images are coded; if they are from 0 to 1, "
        f"convert them with `python -c {shlex.quote(code)}`"
    )
