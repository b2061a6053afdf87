"""The knee of the curve: the latent_dim beyond which more dimensions gain clearly less.

It is searched for among the measured points, in the plane of log2 d and PSNR: a slope there is dB
gained per doubling of the bottleneck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_POINTS = 3
"""Two ends, and one point that can lie above the line between them."""
MIN_RISE_DB = 0.1
"""Seeds of one configuration differ by up to 0.06 dB (docs/LOG.md); less is a flat curve."""
MAX_GAIN_RATIO = 0.5
"""A knee halves the gain of a doubling; a smaller bend is a straight line with noise."""


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The measured point where the returns of more latent dimensions diminish most."""

    latent_dim: int
    height: float
    """Distance above the diagonal, with both axes scaled to [0, 1]."""
    db_per_doubling_before: float
    """Mean dB of PSNR per doubling of latent_dim, from the smallest dim to the knee."""
    db_per_doubling_after: float
    """The same from the knee to the largest dim; negative where more dims did harm."""

    @property
    def advice(self) -> str:
        """Return what the knee means for choosing a bottleneck, as a sentence."""
        before, after = self.db_per_doubling_before, self.db_per_doubling_after
        if after <= 0:
            return (
                f"beyond d={self.latent_dim}, doubling latent_dim bought nothing "
                f"({before:.1f} dB up to there)"
            )
        return (
            f"beyond d={self.latent_dim}, doubling latent_dim bought {after:.1f} dB "
            f"({before:.1f} dB up to there)"
        )


def find_knee(latent_dims: Sequence[int], psnrs_db: Sequence[float]) -> Knee | NotApplicable:
    """Find the knee of PSNR over log2 d.

    The place is Kneedle's: both axes scaled to [0, 1], log2 d by its ends and PSNR by its lowest
    and highest value, and of all points the one highest above the diagonal of that square
    (Satopää, Albrecht, Irwin & Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCS workshops
    2011). Its sensitivity threshold is a multiple of the spacing of the points and means little for
    five of them. An explicit condition replaces it: beyond a knee, a doubling gains at most half of
    what it gained up to there. The knee belongs to the range that was
    measured: a longer sweep may move it.

    Parameters
    ----------
    latent_dims
        N distinct latent dimensions, ascending.
    psnrs_db
        N finite PSNRs in dB.

    Returns
    -------
    Knee or NotApplicable
        `NotApplicable` for a straight line, a curve that bends upwards, or one that hardly rises.
    """
    if len(latent_dims) < MIN_POINTS:
        return NotApplicable(
            f"a knee needs at least {MIN_POINTS} latent dims to show, got {len(latent_dims)}"
        )
    x_N = np.log2(np.asarray(latent_dims, dtype=np.float64))
    y_N = np.asarray(psnrs_db, dtype=np.float64)
    if np.argmax(y_N) == 0:
        return NotApplicable("PSNR does not rise as latent_dim grows")
    if (rise := float(y_N.max() - y_N[0])) < MIN_RISE_DB:
        return NotApplicable(
            f"PSNR rises by {rise:.2g} dB as latent_dim grows, no more than from seed to seed"
        )
    heights_N = (y_N - y_N.min()) / np.ptp(y_N) - (x_N - x_N[0]) / np.ptp(x_N)
    at = int(np.argmax(heights_N))
    if at in (0, len(x_N) - 1):
        return NotApplicable(
            "no point lies above the straight line across the measured range, so the "
            "returns of a doubling do not diminish over the measured range"
        )
    before = float((y_N[at] - y_N[0]) / (x_N[at] - x_N[0]))
    after = float((y_N[-1] - y_N[at]) / (x_N[-1] - x_N[at]))
    if before <= 0 or after > MAX_GAIN_RATIO * before:
        return NotApplicable(
            f"doubling latent_dim buys {before:.1f} dB up to "
            f"d={latent_dims[at]} and still {after:.1f} dB beyond"
        )
    return Knee(
        latent_dim=int(latent_dims[at]),
        height=float(heights_N[at]),
        db_per_doubling_before=before,
        db_per_doubling_after=after,
    )


def knee_places(x_N: NDArray[np.float64], psnrs_BN: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where `find_knee` finds the knees of many curves at once; -1 where it finds none.

    Parameters
    ----------
    x_N
        log2 of N latent dimensions, ascending.
    psnrs_BN
        PSNRs of B curves in dB.
    """
    rows = np.arange(len(psnrs_BN))
    if len(x_N) < MIN_POINTS:
        return np.full(len(rows), -1)
    low_B, high_B = psnrs_BN.min(axis=1), psnrs_BN.max(axis=1)
    span_B1 = np.maximum(high_B - low_B, np.finfo(np.float64).tiny)[:, np.newaxis]
    heights_BN = (psnrs_BN - low_B[:, np.newaxis]) / span_B1 - (x_N - x_N[0]) / np.ptp(x_N)
    at_B = np.argmax(heights_BN, axis=1)
    inner_B = np.clip(at_B, 1, len(x_N) - 2)
    y_B = psnrs_BN[rows, inner_B]
    before_B = (y_B - psnrs_BN[:, 0]) / (x_N[inner_B] - x_N[0])
    after_B = (psnrs_BN[:, -1] - y_B) / (x_N[-1] - x_N[inner_B])
    is_knee_B = (
        (np.argmax(psnrs_BN, axis=1) > 0)
        & (high_B - psnrs_BN[:, 0] >= MIN_RISE_DB)
        & (at_B == inner_B)
        & (before_B > 0)
        & (after_B <= MAX_GAIN_RATIO * before_B)
    )
    return np.where(is_knee_B, at_B, -1)
