"""Image codecs that every computer has, as references for what a learned code costs.

Images are coded by Pillow and decoded again: all together as one large picture (a mosaic), where a
header and an entropy coder's start are shared, and singly, a file each. Settings are fixed, so
that the same library gives the same bytes on every machine.

Legend of shapes: N images; C channels; H, W height and width; R rows and K columns of a mosaic.
"""

from __future__ import annotations

import importlib.util
import io
import math
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, features

from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.data.idx import Bytes

JXL_MODULE = "pillow_jxl"
JXL_PACKAGE = "pillow-jxl-plugin"
MOST_SIDE_JXL = 2**30 - 1
CHANNELS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """A codec with fixed settings."""

    name: str
    title: str
    """As it is written in figures."""
    format: str
    """Pillow's name of the file format."""
    options: Mapping[str, Any] = field(hash=False)
    """Pillow's options for saving, but for the quality."""
    qualities: tuple[int, ...]
    """Ascending; empty of a lossless codec."""
    most_side: int
    """Largest height and width of a picture, in pixels."""
    libraries: tuple[str, ...]
    """Pillow's names of the libraries that decide the bytes; empty where it is a plug-in."""
    mosaic_pixels: int = 2**23
    """Most pixels of a mosaic, from what coding it costs; 10,000 images of 28×28 are below it."""
    single_images: int = 500
    """Most images that are coded singly at each quality; a file of AVIF or JPEG XL takes 5 ms."""

    @property
    def settings(self) -> str:
        """The options as text: ``method 6``."""
        shown = []
        for key, value in self.options.items():
            words = key.replace("_", " ")
            switch = words if value else f"no {words}"
            shown.append(switch if isinstance(value, bool) else f"{words} {value}")
        return ", ".join(shown)


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedImages:
    """What a codec made of images."""

    file_bytes: int
    """Of all files together, headers included."""
    decoded_NCHW: Bytes = field(repr=False)
    """The images as decoded from the files."""

    @property
    def bits_per_image(self) -> float:
        """Eight times the bytes, divided by the images."""
        return 8 * self.file_bytes / len(self.decoded_NCHW)


JPEG = ImageCodec(
    name="jpeg",
    title="JPEG",
    format="JPEG",
    options={"optimize": True, "subsampling": "4:4:4"},
    qualities=(1, 5, 10, 20, 30, 50, 70, 85, 95),
    most_side=65_500,
    libraries=("jpg", "libjpeg_turbo"),
)
"""Baseline with Huffman tables of its own for each file."""
WEBP = ImageCodec(
    name="webp",
    title="WebP",
    format="WEBP",
    options={"method": 6},
    qualities=(0, 1, 5, 10, 20, 35, 50, 75, 95),
    most_side=16_383,
    libraries=("webp",),
)
"""Always at half the resolution in colour, and always in colour."""
AVIF = ImageCodec(
    name="avif",
    title="AVIF",
    format="AVIF",
    # Threads and tiles would change the bytes with the number of processors.
    options={
        "speed": 6,
        "subsampling": "4:4:4",
        "codec": "aom",
        "max_threads": 1,
        "autotiling": False,
    },
    qualities=(5, 10, 15, 20, 30, 40, 55, 75),
    most_side=65_535,
    libraries=("avif",),
    mosaic_pixels=2**21,
    single_images=200,
)
"""On digits, speed 8 is five times as fast and 1 to 3 dB worse at the same bits; speed 4 is six
times as slow and up to 2.6 dB better."""
JXL = ImageCodec(
    name="jxl",
    title="JPEG XL",
    format="JXL",
    options={"effort": 5, "num_threads": 0},
    qualities=(5, 19, 30, 45, 60, 80, 92),
    most_side=MOST_SIDE_JXL,
    libraries=(),
)
"""Effort 7 takes three times as long for the same result on digits. Below a quality of 18, libjxl
halves the resolution, which costs 8 dB there for half of the bits."""
LOSSY = (JPEG, WEBP, AVIF, JXL)

PNG_LOSSLESS = ImageCodec(
    name="png",
    title="PNG, lossless",
    format="PNG",
    options={"optimize": True},
    qualities=(),
    most_side=2**31 - 1,
    libraries=("zlib",),
    single_images=2_500,
)
WEBP_LOSSLESS = ImageCodec(
    name="webp",
    title="WebP, lossless",
    format="WEBP",
    # Method 6 takes two minutes for 2,500 digits.
    options={"lossless": True, "quality": 100, "method": 4, "exact": True},
    qualities=(),
    most_side=16_383,
    libraries=("webp",),
    single_images=2_500,
)
JXL_LOSSLESS = ImageCodec(
    name="jxl",
    title="JPEG XL, lossless",
    format="JXL",
    options={"lossless": True, "effort": 7, "num_threads": 0},
    qualities=(),
    most_side=MOST_SIDE_JXL,
    libraries=(),
    single_images=2_500,
)
LOSSLESS = (PNG_LOSSLESS, WEBP_LOSSLESS, JXL_LOSSLESS)


def missing(codec: ImageCodec) -> str | None:
    """Return what has to be installed for a codec, as a clause; None if it is there."""
    if codec.format == "JXL":
        if importlib.util.find_spec(JXL_MODULE) is None:
            return (
                f"{codec.title} needs an extra that is not installed: pip install 'ae-sweep[jxl]' "
                "(in a checkout: pip install -e '.[jxl]')"
            )
        return None
    # A build of Pillow may lack any of these.
    if not all(_library(name) for name in codec.libraries[:1]):
        return (
            f"{codec.title} is not in this build of Pillow: pip install --force-reinstall pillow "
            "brings the one with all codecs"
        )
    return None


def versions(codec: ImageCodec) -> dict[str, str]:
    """Return the versions that decide a codec's bytes."""
    found = {"pillow": str(metadata.version("pillow"))}
    if codec.format == "JXL":
        return found | {JXL_PACKAGE: str(metadata.version(JXL_PACKAGE))}
    return found | {name: _library(name) or "" for name in codec.libraries}


def encode(image_HWC: Bytes, codec: ImageCodec, quality: int | None = None) -> bytes:
    """Return the file of an image of 1 or 3 channels.

    Raises
    ------
    DataError
        If the codec does not take it.
    """
    if codec.format == "JXL":
        importlib.import_module(JXL_MODULE)  # registers itself with Pillow
    options = dict(codec.options)
    grey = image_HWC.shape[2] == 1
    if codec.format == "AVIF" and grey:
        options["subsampling"] = "4:0:0"
    if quality is not None:
        options["quality"] = quality
    content = io.BytesIO()
    picture = Image.fromarray(image_HWC[..., 0] if grey else image_HWC)
    try:
        picture.save(content, codec.format, **options)
    except (OSError, ValueError, RuntimeError) as error:
        size = times(image_HWC.shape)
        raise DataError(f"{codec.title} did not code a picture of {size}: {error}") from error
    return content.getvalue()


def decode(content: bytes, codec: ImageCodec, channels: int) -> Bytes:
    """Return the image H×W×C of a file that ``encode`` made."""
    with Image.open(io.BytesIO(content), formats=[codec.format]) as picture:
        # WebP has no grey: the three channels that it returns for grey are nearly equal.
        image: Bytes = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return image[..., None] if channels == 1 else image


def code_singly(x_NCHW: Bytes, codec: ImageCodec, quality: int | None = None) -> CodedImages:
    """Code each image as a file of its own.

    Raises
    ------
    ConfigError, DataError
        If the codec does not take images of this shape.
    """
    _check(x_NCHW, codec)
    decoded_NCHW = np.empty_like(x_NCHW)
    size = 0
    for number, image_CHW in enumerate(x_NCHW):
        content = encode(np.ascontiguousarray(image_CHW.transpose(1, 2, 0)), codec, quality)
        size += len(content)
        decoded_NCHW[number] = decode(content, codec, len(image_CHW)).transpose(2, 0, 1)
    return CodedImages(file_bytes=size, decoded_NCHW=decoded_NCHW)


def code_mosaic(x_NCHW: Bytes, codec: ImageCodec, quality: int | None = None) -> CodedImages:
    """Code all images as one picture.

    Raises
    ------
    ConfigError, DataError
        If the codec does not take images of this shape, or that many.
    """
    _check(x_NCHW, codec)
    images, channels, height, width = x_NCHW.shape
    columns = mosaic_columns(x_NCHW.shape, codec)
    content = encode(mosaic(x_NCHW, columns), codec, quality)
    picture_HWC = decode(content, codec, channels)
    tiles = picture_HWC.reshape(-1, height, columns, width, channels).transpose(0, 2, 4, 1, 3)
    decoded_NCHW = np.ascontiguousarray(tiles.reshape(-1, channels, height, width)[:images])
    return CodedImages(file_bytes=len(content), decoded_NCHW=decoded_NCHW)


def mosaic_images(shape: Sequence[int], codec: ImageCodec) -> int:
    """Return how many images of a shape N×C×H×W one mosaic holds, at least one of any."""
    images, _, height, width = shape
    fitting = (codec.most_side // height) * (codec.most_side // width)
    return max(1, min(images, fitting, codec.mosaic_pixels // (height * width)))


def mosaic_columns(shape: Sequence[int], codec: ImageCodec) -> int:
    """Return the columns of a mosaic that is about square and within the codec's limits.

    Raises
    ------
    ConfigError
        If no such mosaic holds all images.
    """
    images, _, height, width = shape
    most_rows, most_columns = codec.most_side // height, codec.most_side // width
    square = round(math.sqrt(images * height / width))
    columns = max(1, min(max(square, -(-images // most_rows)), most_columns, images))
    if columns * most_rows < images:
        raise ConfigError(
            f"a mosaic of {images:,} images of {height}×{width} is larger than the "
            f"{codec.most_side:,} pixels a side of {codec.title}; code at most "
            f"{most_columns * most_rows:,}"
        )
    return columns


def mosaic(x_NCHW: Bytes, columns: int) -> Bytes:
    """Lay out images row by row as one picture H×W×C.

    What is left of the last row has the median colour of all images, which costs next to nothing.
    """
    images, channels, height, width = x_NCHW.shape
    rows = -(-images // columns)
    tiles_NCHW = np.empty((rows * columns, channels, height, width), np.uint8)
    tiles_NCHW[:images] = x_NCHW
    if images < rows * columns:
        colour_C = np.median(x_NCHW, axis=(0, 2, 3)).astype(np.uint8)
        tiles_NCHW[images:] = colour_C[:, None, None]
    tiles_RKCHW = tiles_NCHW.reshape(rows, columns, channels, height, width)
    picture_RHKWC = tiles_RKCHW.transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(picture_RHKWC).reshape(rows * height, columns * width, channels)


def _check(x_NCHW: Bytes, codec: ImageCodec) -> None:
    """Refuse what the codec cannot code."""
    if problem := refusal(x_NCHW.shape, codec):
        raise ConfigError(problem)
    if not len(x_NCHW):
        raise ConfigError(f"{codec.title} needs at least one image")


def refusal(shape: Sequence[int], codec: ImageCodec) -> str | None:
    """Return why a codec does not take images of a shape N×C×H×W; None if it does."""
    _, channels, height, width = shape
    if channels not in CHANNELS:
        return f"{codec.title} takes images of 1 or 3 channels, and these have {channels}"
    if max(height, width) > codec.most_side:
        return (
            f"{codec.title} takes pictures of up to {codec.most_side:,} pixels a side, and these "
            f"are {height:,}×{width:,}"
        )
    return None


def _library(name: str) -> str | None:
    """Return the version of one of Pillow's libraries; None if it is not built in."""
    if name == "libjpeg_turbo":  # a variant of libjpeg, which a build may have instead
        return features.version(name) or "none"
    return (features.version(name) or "unknown") if features.check(name) else None
