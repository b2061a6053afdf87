"""Rates in bits as one JSON document."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.rate_comparison import is_bound
from ae_sweep.analysis.side_information import COUNTS, amortised_bits, best_payoff, decoder_bytes

if TYPE_CHECKING:
    from ae_sweep.analysis.rate_comparison import RateComparison
    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint

SCHEMA = "ae-sweep/rates"
SCHEMA_VERSION = 1
"""Incremented when a field is renamed or changes its meaning, not for new fields."""

UNITS = {
    "bits": "per image, of all test images coded together, without side information",
    "bpp": "bits per pixel: bits / (height * width)",
    "mse": "squared error per number of an image in [0, 1], reconstructions rounded to bytes",
    "psnr": "dB, of the mean MSE; null for a perfect reconstruction",
    "mean_image_psnr": "dB, mean over images of each one's PSNR; null if one is perfect or unknown",
    "header_bytes": "bytes of a file, whatever the number of images",
    "table_bytes": "bytes of the entropy model's tables, needed once",
    "decoder_bytes": "bytes of the decoder's weights, needed once",
    "amortised_bits": "bits per image, side information included, by the images of one file",
    "payoffs": "from how many images on a sweep's code needs fewer bits than a reference of the "
    "same distortion; null: never",
}


def rates_document(comparison: RateComparison, *, dataset: str | None) -> dict[str, Any]:
    """Return a comparison as a JSON-able document; a missing value is None.

    Returns
    -------
    dict
        ``schema``, ``schema_version``, ``units`` by field name, ``dataset``, ``image_shape``,
        ``images``, ``raw_bits``; ``sweeps`` with their ``curves``, one for each seed, and their
        ``bounds``; ``references``; ``payoffs``; ``notes``.
    """
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "units": UNITS,
        "dataset": dataset,
        "image_shape": list(comparison.image_shape),
        "images": comparison.images,
        "raw_bits": comparison.raw_bits,
        "sweeps": [
            {
                "name": each.sweep,
                "curves": [_curve(curve) for curve in each.frontiers],
                "bounds": [_curve(curve) for curve in each.bounds],
            }
            for each in comparison.sweeps
        ],
        "references": [_curve(curve) for curve in comparison.references],
        "payoffs": _payoffs(comparison),
        "notes": list(comparison.notes),
    }


def _curve(curve: RateCurve) -> dict[str, Any]:
    return {
        "name": curve.name,
        "description": curve.description,
        "kind": str(curve.kind),
        "seed": curve.seed,
        "images": curve.images,
        "header_bytes": curve.header_bytes,
        "points": [_point(curve, point) for point in curve.points],
    }


def _point(curve: RateCurve, point: RatePoint) -> dict[str, Any]:
    return {
        **dataclasses.asdict(point),
        "decoder_bytes": decoder_bytes(curve, point),
        "bpp": curve.bpp(point),
        "amortised_bits": {
            str(count): amortised_bits(curve, point, images=count) for count in COUNTS
        },
    }


def _payoffs(comparison: RateComparison) -> list[dict[str, Any]]:
    found = []
    for each in comparison.sweeps:
        for reference in comparison.references:
            if each.frontier is None or is_bound(reference):
                continue
            best = best_payoff(each.frontier, reference)
            shown: dict[str, Any] = {"sweep": each.sweep, "reference": reference.name}
            if isinstance(best, NotApplicable):
                shown |= {"images": None, "reason": best.reason}
            else:
                shown |= {
                    "images": best.images,
                    "bits": best.point.bits,
                    "reference_bits": best.reference_bits,
                    "mse": best.point.mse,
                    "reason": None,
                }
            found.append(shown)
    return found
