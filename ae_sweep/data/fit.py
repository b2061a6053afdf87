"""Transparent pixels on a background, and pictures of any shape made one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from ae_sweep.config import ImageOptions
    from ae_sweep.data.idx import Bytes

BLACK = (0, 0, 0)


def composite(colour_HWC: Bytes, alpha_HW: Bytes, options: ImageOptions) -> Bytes:
    """Blend colours with the background: (colour·α + background·(255 − α)) / 255, rounded.

    Computed in integers; the quotient is never halfway between two, as 255 is odd.
    """
    alpha_HW1 = alpha_HW[..., None].astype(np.uint32)
    background = np.array(options.background_rgb or BLACK, dtype=np.uint32)
    mixed_HWC = colour_HWC * alpha_HW1 + background * (255 - alpha_HW1)
    return ((mixed_HWC + 127) // 255).astype(np.uint8)


def fit(pixels_HWC: Bytes, options: ImageOptions) -> Bytes:
    """Resize with an antialiased Lanczos filter if the options give another size.

    ``crop`` covers the size and cuts off what lies beyond its centre, ``pad`` lies within it on the
    background (black if none is given), ``stretch`` changes the proportions.
    """
    size = options.image_size
    if size is None or size == pixels_HWC.shape[:2]:
        return pixels_HWC
    height, width = size
    image = Image.fromarray(pixels_HWC)
    if options.fit == "stretch":
        resized = image.resize((width, height), Image.Resampling.LANCZOS)
    elif options.fit == "crop":
        resized = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    else:
        resized = _padded(image, width, height, options)
    return np.array(resized)


def _padded(image: Image.Image, width: int, height: int, options: ImageOptions) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    # A line of a very long picture would vanish.
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (width, height), options.background_rgb or BLACK)
    place = ((width - inner[0]) // 2, (height - inner[1]) // 2)
    canvas.paste(image.resize(inner, Image.Resampling.LANCZOS), place)
    return canvas
