"""A rate-distortion curve as the JSON document that CompressAI's plot command reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint


def rd_document(curve: RateCurve) -> dict[str, Any] | NotApplicable:
    """Return a curve as ``{"name", "description", "results"}``.

    ``results`` holds lists of one length, ascending by rate, of finite numbers:

    - ``bpp``: bits per pixel, bits / (height · width), above 0;
    - ``psnr-rgb``: the mean over images of each one's PSNR in dB, after rounding to bytes, which
      is what CompressAI reports under that name;
    - ``psnr``: 10·log10(1 / mse) in dB, of the mean error;
    - ``mse``: mean squared error per number of an image, pixels in [0, 1]. CompressAI writes no
      MSE in its own results and plots what it finds;
    - ``bits``: bits per image;
    - ``latent_dim``: only where every point has one.

    Points without bits, with a perfect image (whose PSNR is infinite), or without a mean PSNR are
    left out, and the description says how many.

    Returns
    -------
    dict or NotApplicable
        `NotApplicable` if no point is left.
    """
    kept = sorted((point for point in curve.points if _is_finite(point)), key=_bits)
    if not kept:
        return NotApplicable(
            f"no point of {curve.name} has both bits and a finite mean PSNR of its images"
        )
    results: dict[str, list[float]] = {
        "bpp": [curve.bpp(point) for point in kept],
        "psnr-rgb": [_number(point.mean_image_psnr) for point in kept],
        "psnr": [_number(point.psnr) for point in kept],
        "mse": [point.mse for point in kept],
        "bits": [point.bits for point in kept],
    }
    dims = [point.latent_dim for point in kept if point.latent_dim is not None]
    if len(dims) == len(kept):
        results["latent_dim"] = [*dims]
    description = curve.description
    missing = len(curve.points) - len(kept)
    if missing:
        description += (
            f" ({missing} of {len(curve.points)} points left out: they have no bits, or no finite "
            "mean PSNR)"
        )
    return {"name": curve.name, "description": description, "results": results}


def _is_finite(point: RatePoint) -> bool:
    return point.bits > 0 and _has_value(point.psnr) and _has_value(point.mean_image_psnr)


def _has_value(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def _number(number: float | None) -> float:
    if number is None:
        raise TypeError("a point without a PSNR is left out before")
    return number


def _bits(point: RatePoint) -> float:
    return point.bits
