"""Colours and transparency of an opened picture, whatever Pillow's mode, some rows at a time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from ae_sweep.data.fit import composite

if TYPE_CHECKING:
    from ae_sweep.config import ImageOptions
    from ae_sweep.data.idx import Bytes

WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
WITHOUT_ALPHA = ("1", "L", "RGB", "RGBX", "YCbCr")
BY_PROFILE = ("CMYK", "LAB")
PHOTOMETRIC = 262
WHITE_IS_ZERO = 0
"""TIFF's tag for the meaning of grey values, and its value where 0 is white."""


STRIP_PIXELS = 1 << 20
"""Pixels that are converted at a time."""


class UnsupportedPixelsError(Exception):
    """The reason, as a predicate, why the pixels of a picture are not colours."""


class PixelSource:
    """An opened picture; made before its pixels are loaded, read after that."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        rawmode = _rawmode(image)
        self._is_integer = image.mode == "I" or image.mode.startswith("I;16")
        self.sixteen_bits = rawmode != "I;12" and (self._is_integer or ";16" in rawmode)
        self._most = 4095 if rawmode == "I;12" else 65535
        self._is_inverted = image.mode == "I;16" and _photometric(image) == WHITE_IS_ZERO
        self._key = _transparent_value(image, rawmode)
        self._transform: Any = None
        if image.mode in BY_PROFILE:
            self._transform = _transform(image)
        elif not (self._is_integer or image.mode in (*WITH_ALPHA, *WITHOUT_ALPHA, "P")):
            what = "floating-point numbers" if image.mode == "F" else f"pixels of mode {image.mode}"
            raise UnsupportedPixelsError(
                f"has {what}, which are not colours; save it with 8 or 16 bits per channel"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self._image.size

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 to 8; 1 if there is none or it cannot be read."""
        try:
            value = self._image.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:  # noqa: BLE001 - damaged metadata of an intact picture
            return 1
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    def strip(self, top: int, bottom: int) -> tuple[Bytes, Bytes | None]:
        """Return the colours H×W×3 of some rows and their opacity H×W; None if all are opaque."""
        part = self._image.crop((0, top, self._image.width, bottom))
        if self._is_integer:
            return self._scaled(part)
        if part.mode == "P" and "transparency" not in self._image.info:
            return np.asarray(part.convert("RGB")), None
        if part.mode == "P" or part.mode in WITH_ALPHA:
            both_HWC = np.asarray(part.convert("RGBA"))
            return both_HWC[..., :3], both_HWC[..., 3]
        if self._transform is not None:
            return np.asarray(ImageCms.applyTransform(part, self._transform)), None
        colour_HWC = np.asarray(part.convert("RGB"))
        if self._key is None:
            return colour_HWC, None
        return colour_HWC, _opacity((colour_HWC == np.array(self._key)).all(axis=2))

    def _scaled(self, part: Image.Image) -> tuple[Bytes, Bytes | None]:
        values_HW = np.asarray(part).astype(np.int64)
        low, high = int(values_HW.min()), int(values_HW.max())
        if low < 0 or high > 65535:
            raise UnsupportedPixelsError(
                f"has values from {low:,} to {high:,}, beyond the 0 to 65,535 of 16 bits; save it "
                "with 8 or 16 bits per channel"
            )
        opacity = None if self._key is None else _opacity(values_HW == self._key)
        if self._is_inverted:
            values_HW = self._most - values_HW
        # The quotient of 255 / 65,535 = 1 / 257, rounded.
        grey_HW = ((values_HW * 510 + self._most) // (2 * self._most)).astype(np.uint8)
        return np.repeat(grey_HW[..., None], 3, axis=2), opacity


def upright(source: PixelSource, options: ImageOptions) -> tuple[Bytes, bool]:
    """Convert strip by strip into an array that lies as EXIF says; also whether alpha was used."""
    width, height = source.size
    orientation = source.orientation
    shape = (width, height, 3) if orientation >= 5 else (height, width, 3)
    upright_HWC = np.empty(shape, dtype=np.uint8)
    stored_HWC = _as_stored(upright_HWC, orientation)
    transparent = False
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        colour_HWC, alpha_HW = source.strip(top, bottom)
        if alpha_HW is not None and (alpha_HW < 255).any():
            transparent = True
            colour_HWC = composite(colour_HWC, alpha_HW, options)
        stored_HWC[top:bottom] = colour_HWC
    return upright_HWC, transparent


def _as_stored(upright_HWC: Bytes, orientation: int) -> Bytes:
    """View an upright array as the file's rows and columns, by EXIF's orientation 1 to 8."""
    if orientation >= 5:
        upright_HWC = upright_HWC.transpose(1, 0, 2)
    # Whether the stored rows run upwards, and the stored columns to the left.
    rows = -1 if orientation in {3, 4, 6, 7} else 1
    columns = -1 if orientation in {2, 3, 7, 8} else 1
    return upright_HWC[::rows, ::columns]


def upright_with_alpha(image: Image.Image) -> Bytes:
    """Convert an image, whole, to H×W×3, or to H×W×4 where it has transparency of any kind."""
    source = PixelSource(image)
    image.load()
    colour_HWC, alpha_HW = source.strip(0, image.height)
    stored_HWC = colour_HWC if alpha_HW is None else np.dstack((colour_HWC, alpha_HW))
    height, width, channels = stored_HWC.shape
    size = (width, height) if source.orientation >= 5 else (height, width)
    upright_HWC = np.empty((*size, channels), dtype=np.uint8)
    _as_stored(upright_HWC, source.orientation)[:] = stored_HWC
    return upright_HWC


def _photometric(image: Image.Image) -> int | None:
    tags = getattr(image, "tag_v2", {})
    return tags.get(PHOTOMETRIC)


def _opacity(see_through_HW: Any) -> Bytes:
    return np.where(see_through_HW, np.uint8(0), np.uint8(255))


def _rawmode(image: Image.Image) -> str:
    """Return how the samples lie in the file, such as ``RGB;16B``."""
    tile = getattr(image, "tile", None)  # only of a file, and before its pixels are loaded
    if not tile:
        return ""
    arguments = tile[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _transparent_value(image: Image.Image, rawmode: str) -> int | tuple[int, ...] | None:
    """Return the value that a picture without alpha declares transparent, as Pillow scales it."""
    value = image.info.get("transparency")
    if value is None or image.mode == "P":
        return None
    if isinstance(value, tuple):
        return tuple(part >> 8 if rawmode.startswith("RGB;16") else part for part in value)
    if image.mode == "L":
        # Samples of 2 and 4 bits are spread over a byte.
        return int(value) * {"L;2": 85, "L;4": 17}.get(rawmode, 1)
    return int(value)


def _transform(image: Image.Image) -> Any:
    """Return the conversion of CMYK or LAB to sRGB; None if CMYK has no profile."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, image.mode, "RGB"
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise UnsupportedPixelsError(
            "has a colour profile that does not fit its CMYK pixels; save it as RGB"
        ) from error
