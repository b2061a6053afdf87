"""A rate-distortion curve as the JSON document that CompressAI's plot command reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from ae_sweep.analysis.rate_curve import RateCurve


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
    kept = sorted(
        (
            (point, point.psnr, point.mean_image_psnr)
            for point in curve.points
            if point.bits > 0
            and point.psnr is not None
            and point.mean_image_psnr is not None
            and math.isfinite(point.psnr + point.mean_image_psnr)
        ),
        key=lambda each: each[0].bits,
    )
    if not kept:
        return NotApplicable(
            f"no point of {curve.name} has both bits and a finite mean PSNR of its images"
        )
    results: dict[str, list[float]] = {
        "bpp": [curve.bpp(point) for point, _, _ in kept],
        "psnr-rgb": [mean for _, _, mean in kept],
        "psnr": [psnr for _, psnr, _ in kept],
        "mse": [point.mse for point, _, _ in kept],
        "bits": [point.bits for point, _, _ in kept],
    }
    dims = [point.latent_dim for point, _, _ in kept if point.latent_dim is not None]
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
