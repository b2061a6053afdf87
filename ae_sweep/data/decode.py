"""Decoding of one picture, from a file of any mode to upright red, green and blue bytes.

Legend of shapes: H, W height and width; C channels.
"""

from __future__ import annotations

import errno
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ae_sweep.data import png_chunks
from ae_sweep.data.bounded_file import RefusedFileError, open_regular
from ae_sweep.data.fit import composite, fit
from ae_sweep.data.pixels import PixelSource, UnsupportedPixelsError, upright, upright_with_alpha
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.bounded_file import BoundedFile
    from ae_sweep.data.idx import Bytes

MAX_PIXELS = 64_000_000
"""Most pixels of a picture. Cameras of 61 megapixels are below it; one of this size takes about
0.5 GB while it is decoded (Pillow's four bytes a pixel and three of the result)."""
MAX_WEBP_PIXELS = 25_000_000
MAX_PROGRESSIVE_PIXELS = 40_000_000
"""The same for WebP and progressive JPEG, whose decoders need more memory of their own."""
MAX_FILE_BYTES = 200_000_000
"""Most bytes of a file: ``MAX_PIXELS`` of three bytes each, and a header."""
MAX_HEADER_BYTES = 16 << 20
"""Most bytes that are read before the pixels: profiles, thumbnails, texts. The tags of a TIFF are
read twice."""
MAX_TIFF_STRIPS = 100_000
"""Most strips or tiles of a TIFF; Pillow takes 0.3 kB and 30 µs for each."""
MAX_TILE_PIXELS = 16_000_000
"""Most pixels of one tile, for which libtiff makes room whatever the size of the picture."""
STRIP_OFFSETS, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS = 273, 322, 323, 324
MAX_JPEG_SCANS = 500
"""Most passes over the pixels of a progressive JPEG; encoders write ten, some more are previews."""
DAMAGE = frozenset({errno.EINVAL, errno.EOVERFLOW})
"""What the system says of a place that a damaged file claims; all else is not the picture's."""
_NOWHERE = logging.NullHandler()
FORMATS = "png, jpg, webp, bmp, gif or tif"

Opener: TypeAlias = "Callable[[BoundedFile], ImageFile.ImageFile]"

_OPENERS: tuple[tuple[bytes, Opener], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
)
"""How each format begins, and Pillow's class for it. ``Image.open`` would hide the reason why a
class refuses a file."""


class BrokenPictureError(Exception):
    """The reason why a picture cannot be used, as a predicate: "is cut off", "is empty"."""


class OversizedPictureError(BrokenPictureError):
    """A picture that may be intact, and has or claims more pixels than are ever decoded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture and what was found in its file."""

    pixels_HWC: Bytes = field(repr=False)
    """Red, green and blue, upright, on the background; of the size and fit of the options if they
    give a size."""
    native_size: tuple[int, int]
    """Height and width, upright, before any resizing."""
    mode: str
    """Pillow's mode, such as ``RGBA``; ``uint8 H×W×4`` for arrays."""
    grey: bool
    """Whether the three channels are equal everywhere."""
    transparent: bool
    """Whether a pixel is not fully opaque."""
    sixteen_bits: bool
    """Whether the file has 16 bits per channel, which were scaled to 8."""
    frames: int
    """Number of frames; above 1, only the first was taken. The previews that phones append to a
    JPEG are not counted."""


def read_picture(path: Path | bytes, options: ImageOptions) -> Picture:
    """Decode one file in full.

    The rotation that EXIF asks for is applied. Transparent pixels are blended with the background,
    with black if none is given, which ``Picture.transparent`` reports. 16 bits are divided by 257
    and rounded; of 16-bit colour, which Pillow does not keep, the upper byte is taken, at most one
    level away. CMYK is converted by the embedded profile, without which its numbers are not a
    colour, or by Pillow's formula if there is none; profiles of RGB and grey pictures are ignored,
    as other training tools do.

    The filters of Python's warnings are changed while it runs: threads that call it at once need
    ``quiet_pillow`` around them all.

    Raises
    ------
    BrokenPictureError
        If the file is not a picture of a known format, damaged, too large, or has pixels without a
        meaning as colours.
    OSError, MemoryError
        If it cannot be read now, whatever it holds: no permission, a failing disk, no memory.
    """
    with _reasons(), open_regular(path, most_bytes=MAX_FILE_BYTES) as file:
        return _decode(file, options)


def read_image(image: Image.Image) -> Bytes:
    """Read an image of Pillow by the rules for files: H×W×3, or H×W×4 with its opacity.

    Raises
    ------
    BrokenPictureError, OSError, MemoryError
        See ``read_picture``: an image may be a file that is read only now.
    """
    with _reasons():
        return upright_with_alpha(image)


@contextmanager
def _reasons() -> Iterator[None]:
    """Translate what can go wrong with a picture into the reason."""
    with quiet_pillow():
        try:
            yield
        except (RefusedFileError, UnsupportedPixelsError) as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise BrokenPictureError(str(error)) from error
        except (BrokenPictureError, MemoryError):
            raise
        except Exception as error:  # damaged files raise whatever Pillow runs into
            if isinstance(error, OSError) and error.errno not in {None, *DAMAGE}:
                raise  # the system's, not Pillow's
            raise BrokenPictureError(_reason(error)) from error


def convert_array(pixels_HWC: Bytes, options: ImageOptions) -> Picture:
    """Convert one image of an array by the rules for files.

    Parameters
    ----------
    pixels_HWC
        Unsigned bytes of 1 channel (grey), 2 (grey, alpha), 3 (colour) or 4 (colour, alpha).

    Raises
    ------
    ValueError
        If it has another type or shape.
    """
    shape = pixels_HWC.shape
    if pixels_HWC.dtype != np.uint8 or len(shape) != 3 or not 1 <= shape[2] <= 4:
        raise ValueError(f"expected uint8 H×W×C of 1 to 4 channels, got {pixels_HWC.dtype} {shape}")
    height, width, channels = shape
    transparent = False
    colour_HWC = pixels_HWC
    if channels in {2, 4}:
        alpha_HW = pixels_HWC[..., -1]
        transparent = bool((alpha_HW < 255).any())
        colour_HWC = pixels_HWC[..., :-1]
        if transparent:
            colour_HWC = composite(
                np.broadcast_to(colour_HWC, (height, width, 3)), alpha_HW, options
            )
    if colour_HWC.shape[2] == 1:
        colour_HWC = np.repeat(colour_HWC, 3, axis=2)
    return _picture(
        np.ascontiguousarray(colour_HWC),
        options,
        mode=f"uint8 H×W×{channels}",
        transparent=transparent,
    )


def _decode(file: BoundedFile, options: ImageOptions) -> Picture:
    image = _open(file)
    mode = image.mode
    source = PixelSource(image)
    image.load()
    pixels_HWC, transparent = upright(source, options)
    sixteen_bits = source.sixteen_bits
    frames = _frames(image, file)
    # Four bytes a pixel, before resizing takes as many again.
    del source, image
    return _picture(
        pixels_HWC,
        options,
        mode=mode,
        transparent=transparent,
        sixteen_bits=sixteen_bits,
        frames=frames,
    )


def _open(file: BoundedFile) -> ImageFile.ImageFile:
    """Read the header, and refuse what should not be decoded."""
    start = file.read(24)
    file.seek(0)
    opener = next((opener for magic, opener in _OPENERS if start.startswith(magic)), None)
    is_webp = opener is WebPImagePlugin.WebPImageFile
    if opener is None or (is_webp and start[8:12] != b"WEBP"):
        raise BrokenPictureError(f"is not a picture in a known format ({FORMATS})")
    if opener is PngImagePlugin.PngImageFile:
        _check_png(file, start)
    # A WebP file is read whole.
    file.allowance = MAX_FILE_BYTES if is_webp else MAX_HEADER_BYTES
    if opener is TiffImagePlugin.TiffImageFile:
        _check_tiff(file)
    image = opener(file)
    file.allowance = None
    if image.info.get("progressive"):
        _check_size(*image.size, most=MAX_PROGRESSIVE_PIXELS)
        _check_scans(file)
    _check_size(*image.size, most=MAX_WEBP_PIXELS if is_webp else MAX_PIXELS)
    return image


def _check_png(file: BoundedFile, start: bytes) -> None:
    """Check the size before anything else: Pillow makes room for an animation while it opens it."""
    if len(start) == 24 and start[12:16] == b"IHDR":
        _check_size(int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big"))
    if problem := png_chunks.problem(file):
        raise BrokenPictureError(problem)
    file.seek(0)


def _check_tiff(file: BoundedFile) -> None:
    """Check the pieces before Pillow makes an object of each, and libtiff room for one."""
    start = file.read(8)
    is_big = start[2:4] in {b"+\0", b"\0+"}
    tags = TiffImagePlugin.ImageFileDirectory_v2(start + (file.read(8) if is_big else b""))
    file.seek(tags.next)
    tags.load(file)
    for tag in (STRIP_OFFSETS, TILE_OFFSETS):
        offsets = tags.get(tag, ())
        if isinstance(offsets, tuple) and len(offsets) > MAX_TIFF_STRIPS:
            raise BrokenPictureError(f"has {len(offsets):,} strips, more than {MAX_TIFF_STRIPS:,}")
    if TILE_WIDTH in tags:
        _check_size(tags[TILE_WIDTH], tags[TILE_HEIGHT], most=MAX_TILE_PIXELS)
    file.seek(0)


def _check_scans(file: BoundedFile) -> None:
    position = file.tell()
    file.seek(0)
    # The marker cannot be part of compressed data.
    scans = sum(block.count(b"\xff\xda") for block in iter(lambda: file.read(1 << 20), b""))
    if scans > MAX_JPEG_SCANS:
        raise BrokenPictureError(f"has {scans:,} scans, more than {MAX_JPEG_SCANS:,}")
    file.seek(position)


def _check_size(width: int, height: int, *, most: int = MAX_PIXELS) -> None:
    if width < 1 or height < 1:
        raise BrokenPictureError(f"claims {width:,}×{height:,} pixels")
    if width * height > most:
        raise OversizedPictureError(
            f"claims {width:,}×{height:,} pixels, more than {most // 1_000_000} megapixels"
        )


def _picture(
    pixels_HWC: Bytes,
    options: ImageOptions,
    *,
    mode: str,
    transparent: bool,
    sixteen_bits: bool = False,
    frames: int = 1,
) -> Picture:
    height, width = pixels_HWC.shape[:2]
    pixels_HWC = fit(pixels_HWC, options)
    red = pixels_HWC[..., 0]
    return Picture(
        pixels_HWC=pixels_HWC,
        native_size=(height, width),
        mode=mode,
        grey=all(np.array_equal(red, pixels_HWC[..., channel]) for channel in (1, 2)),
        transparent=transparent,
        sixteen_bits=sixteen_bits,
        frames=frames,
    )


def _frames(image: ImageFile.ImageFile, file: BoundedFile) -> int:
    """Count the frames; 2 where there are several and the later ones are damaged or endless."""
    if image.format in {"JPEG", "MPO"}:
        return 1
    # The pages of a TIFF are counted by reading the tags of each.
    file.allowance = MAX_HEADER_BYTES if image.format == "TIFF" else None
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - the first frame is intact, and the only one used
        return 2


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's remarks on metadata, whatever the user's filters make of warnings.

    Within another such block, as the threads of a pool are, it changes nothing for the others.
    """
    logger = logging.getLogger("PIL")
    is_first = _NOWHERE not in logger.handlers
    logger.addHandler(_NOWHERE)  # without a handler, errors would be printed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if is_first:
            logger.removeHandler(_NOWHERE)


def _reason(error: Exception) -> str:
    text = visible(str(error) or type(error).__name__, 200)
    if isinstance(error, Image.DecompressionBombError):
        return f"claims too many pixels ({text})"
    cut = isinstance(error, EOFError) or "truncated" in text.lower()
    return f"{'is cut off' if cut else 'is damaged'} ({text})"
