"""Curves of PSNR over a grid of latent dimensions, drawn given the points that are measured.

Shapes: M dims of the grid, N of them measured, B drawn curves.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

BENDS = (0.1, 0.4, 1.6, 6.4)
"""Standard deviations of the change of the slope per octave, in dB per doubling: from a power law
to a curve that ends in a floor within an octave. The measured points weigh them."""
STEPS = {0.0: 0.8, 1.0: 0.1, 6.0: 0.1}
"""Standard deviations of an irregular change per octave, in dB: none, of a search that was lucky at
one dim and not at the next, and of a training that learns nothing below some dim. Most curves are
smooth: with the probability of each before anything is measured."""
NOISES = (0.05, 0.2, 1.0)
"""Standard deviations of one measured point about a smooth curve, in dB: seeds of one configuration
differ by up to 0.06 dB (docs/LOG.md), the best of a short search by more, and an unlucky training
by 1 dB."""
SLOPE_DB = (3.0, 3.0)
"""Mean and standard deviation of the slope at the smallest dim, in dB per doubling, before anything
is measured."""
LEVEL_DB = 30.0
"""Standard deviation of the PSNR at the smallest dim about the mean of the measured ones."""
SEED = 0
"""Seed of the draws: equal points give equal curves."""


def draw_curves(dims: Sequence[int], measured: Mapping[int, float], *, draws: int) -> Floats:
    """Draw curves as all dims of a grid could turn out, given those that are measured.

    PSNR over log2 d is a straight line plus an integrated Wiener process, whose posterior mean is
    the cubic smoothing spline (Rasmussen & Williams 2006, section 6.3), plus a Wiener process,
    which has room for jumps, plus noise of each measurement. The sizes of these are drawn by their
    posterior probabilities on a small grid.

    Parameters
    ----------
    dims
        M latent dimensions, ascending.
    measured
        PSNR in dB of at least one of them.

    Returns
    -------
    Floats
        B×M. Measured dims have what was measured, the others what a training could give.
    """
    x_M = np.log2(np.asarray(dims, dtype=np.float64))
    at_N = np.asarray([index for index, dim in enumerate(dims) if dim in measured])
    y_N = np.asarray([measured[dims[index]] for index in at_N], dtype=np.float64)
    rng = np.random.default_rng(SEED)
    settings = [*itertools.product(BENDS, STEPS, NOISES)]
    posteriors = [
        _posterior(x_M, at_N, y_N, bend=bend, step=step, noise=noise)
        for bend, step, noise in settings
    ]
    evidences = np.asarray(
        [
            evidence + np.log(STEPS[step])
            for (_, _, evidence), (_, step, _) in zip(posteriors, settings, strict=True)
        ]
    )
    shares = np.exp(evidences - evidences.max())
    counts = rng.multinomial(draws, shares / shares.sum())
    parts = []
    for count, (mean_M, factor_MM, _), (_, _, noise) in zip(
        counts, posteriors, settings, strict=True
    ):
        curves_BM = mean_M + rng.standard_normal((count, len(x_M))) @ factor_MM.T
        parts.append(curves_BM + noise * rng.standard_normal(curves_BM.shape))
    drawn_BM: Floats = np.concatenate(parts)
    drawn_BM[:, at_N] = y_N
    return drawn_BM


def _posterior(
    x_M: Floats, at_N: NDArray[np.int_], y_N: Floats, *, bend: float, step: float, noise: float
) -> tuple[Floats, Floats, float]:
    """Return mean, a factor of the covariance, and the log evidence of a curve's posterior."""
    start, centre = x_M - x_M[0], float(y_N.mean())
    slope, slope_spread = SLOPE_DB
    prior_M = centre + slope * (start - start[at_N].mean())
    low_MM = np.minimum.outer(start, start)
    high_MM = np.maximum.outer(start, start)
    prior_MM = (
        bend**2 * low_MM**2 * (3 * high_MM - low_MM) / 6
        + step**2 * low_MM
        + slope_spread**2 * np.outer(start, start)
        + LEVEL_DB**2
    )
    cross_NM = prior_MM[at_N]
    factor_NN = np.linalg.cholesky(cross_NM[:, at_N] + noise**2 * np.eye(len(at_N)))
    residual_N = np.linalg.solve(factor_NN, y_N - prior_M[at_N])
    gain_NM = np.linalg.solve(factor_NN, cross_NM)
    values_M, vectors_MM = np.linalg.eigh(prior_MM - gain_NM.T @ gain_NM)
    evidence = -0.5 * float(residual_N @ residual_N) - float(np.log(np.diag(factor_NN)).sum())
    factor_MM: Floats = vectors_MM * np.sqrt(np.maximum(values_M, 0.0))
    return prior_M + gain_NM.T @ residual_N, factor_MM, evidence
