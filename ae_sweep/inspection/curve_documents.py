"""Rate curves as JSON-able documents, which may come back from anyone."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEASURES = ("bits", "mse", "psnr", "mean_image_psnr", "val_bits", "val_mse")
"""Fields of a point that are finite numbers of at least 0."""
COUNTS = ("index", "latent_dim", "table_bytes", "decoder_bytes", "header_bytes", "images", "seed")
"""Fields of a point or a curve that are whole numbers of at least 0."""
TEXTS = ("name", "description", "setting", "run_id")
MAY_LACK = {
    RatePoint: ("psnr", "mean_image_psnr", "latent_dim", "run_id", "decoder_bytes", "index",
                "val_bits", "val_mse"),
    RateCurve: ("seed",),
}  # fmt: skip
"""Fields that may be None."""
MOST = 2**63
MOST_SIDE = 2**16


def curve_document(curve: RateCurve) -> dict[str, Any]:
    """Return a curve as a JSON-able document."""
    return dataclasses.asdict(curve)


def curve_from(document: Mapping[str, Any]) -> RateCurve:
    """Return the curve of what ``curve_document`` returned.

    Raises
    ------
    ValueError
        If it is something else.
    """
    try:
        channels, height, width = map(int, document["image_shape"])
        points = tuple(RatePoint(**_checked(point, RatePoint)) for point in document["points"])
        fields = _checked(document, RateCurve) | {
            "kind": CurveKind(document["kind"]),
            "image_shape": (channels, height, width),
            "points": points,
        }
        if not points or not all(1 <= side <= MOST_SIDE for side in (channels, height, width)):
            raise ValueError("not a curve: it has no points, or no shape of an image")
        return RateCurve(**fields)
    except (AttributeError, ConfigError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a curve: {error}") from error


def _checked(fields: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Refuse fields of another type than those of a point or a curve."""
    for name, value in fields.items():
        may_lack = value is None and name in MAY_LACK[kind]
        if not may_lack and not _is_right(name, value):
            raise ValueError(f"not a curve: {name} is {value}")
    return dict(fields)


def _is_right(name: str, value: Any) -> bool:
    if name in MEASURES:
        return bool(0 <= value < math.inf)
    if name in COUNTS:
        return isinstance(value, int) and 0 <= value < MOST
    return name not in TEXTS or isinstance(value, str)
