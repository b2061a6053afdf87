"""Rate-distortion curves in bits: what was measured at each operating point.

Distortion is that of 8-bit images: reconstructions are rounded to bytes before they are compared,
as a decoder writes them, so that codes of all kinds share one axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ae_sweep.errors import ConfigError


class CurveKind(StrEnum):
    """What the bits of a curve are."""

    CODED = "coded"
    """Bytes from which the images were decoded."""
    ESTIMATED = "estimated"
    """Code lengths of an entropy model; no coder ran."""
    BOUND = "bound"
    """An upper bound on the rate-distortion function, not a code that was run."""


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """One operating point, measured on test images."""

    bits: float
    """Per image, of all test images coded together; side information not included."""
    mse: float
    """Mean squared error per number of an image, pixels in [0, 1]."""
    psnr: float | None
    """10·log10(1 / mse) in dB; None for a perfect reconstruction."""
    mean_image_psnr: float | None = None
    """Mean over images of each one's PSNR in dB; None if one of them is perfect, or unknown."""
    setting: str = ""
    """What distinguishes the point on its curve: ``step 0.5, 32 clusters``, ``quality 30``."""
    latent_dim: int | None = None
    """Of the model; None for a code without latents."""
    table_bytes: int = 0
    """Size of the entropy model's tables, which a decoder needs once."""
    run_id: str | None = None
    """The run whose model it is; None for a code without a model."""
    decoder_bytes: int | None = None
    """Weights that a decoder of this point needs once; None: those of its curve."""
    index: int | None = None
    """Its number among the operating points of the run's codec."""
    val_bits: float | None = None
    """Per image, of validation images; None where points are not chosen by them."""
    val_mse: float | None = None
    """Mean squared error per number of the same images."""

    def __post_init__(self) -> None:
        """Refuse what no measurement gives."""
        if not (math.isfinite(self.bits) and self.bits >= 0):
            raise ConfigError(f"bits per image must be finite and at least 0, got {self.bits}")
        if not (math.isfinite(self.mse) and self.mse >= 0):
            raise ConfigError(f"a mean squared error must be finite and at least 0, got {self.mse}")


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """Operating points of one code on one set of test images."""

    name: str
    """Unique in a figure: a sweep's name, or that of a reference, such as ``WebP, mosaic``."""
    description: str
    """What was coded and how, in one sentence."""
    kind: CurveKind
    points: tuple[RatePoint, ...]
    """Ascending by bits; at least one."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    images: int
    """Test images that it was measured on."""
    header_bytes: int = 0
    """Per file, whatever the number of images."""
    decoder_bytes: int = 0
    """Weights that a decoder needs once; 0 for codecs that every computer has."""
    seed: int | None = None
    """Of the trainings, where a sweep repeats them; None where seeds do not apply."""

    def bpp(self, point: RatePoint) -> float:
        """Return bits per pixel, height times width, of one of its points."""
        _, height, width = self.image_shape
        return point.bits / (height * width)
