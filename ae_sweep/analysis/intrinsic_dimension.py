"""How many dimensions images have: by their variances, and by the distances of their neighbours.

Shapes: N images, P numbers of an image, K components or neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.gallery import evenly_spaced

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ae_sweep.analysis.principal_components import PrincipalComponents

    Array: TypeAlias = NDArray[Any]
    Floats: TypeAlias = NDArray[np.float64]

MOST_IMAGES = 10_000
MOST_PRODUCTS = 8e10
"""Images² · numbers of an image: 10,000 images of MNIST, five seconds of one core."""
SAMPLE_SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the images: an estimate that grows with the sample has not reached the dimension."""
NEIGHBOURS = (5, 10, 20, 100)
IMAGES_PER_NEIGHBOUR = 10
"""With fewer, a neighbourhood is not a small part of the sample."""
MIN_IMAGES = 500
"""So that the smallest sample has five neighbours."""


@dataclass(frozen=True, kw_only=True)
class NeighbourDimension:
    """Dimension of one sample of images, estimated from the distances of neighbours."""

    images: int
    two_nn: float
    """TwoNN: from the ratio of the distances of the second and the first neighbour."""
    mle: tuple[tuple[int, float], ...]
    """Numbers of neighbours, and the maximum-likelihood estimate from each."""


@dataclass(frozen=True, kw_only=True)
class IntrinsicDimension:
    """Estimates from samples of growing size."""

    samples: tuple[NeighbourDimension, ...]
    """Four, ascending by size."""

    @property
    def at_least(self) -> tuple[float, float]:
        """Return the lowest and the highest estimate of the largest sample.

        Both are lower bounds in practice: on uniform cubes of 10 to 30 dimensions, 10,000 points
        give 10 to 30 % too little.
        """
        largest = self.samples[-1]
        values = [largest.two_nn, *(value for _, value in largest.mle)]
        return min(values), max(values)


def participation_ratio(components: PrincipalComponents) -> float | NotApplicable:
    """Return the number of equal variances that would be as concentrated: (Σλ)² / Σλ².

    Where only leading variances were computed, the others count as equal to each other.
    """
    total = components.total_variance
    if total <= 0:
        return NotApplicable("all images are the same")
    squares = float(np.sum(components.variance_K**2))
    others = len(components.mean_P) - len(components.variance_K)
    if others > 0:
        squares += components.rest_variance**2 / others
    return total**2 / squares


def intrinsic_dimension(x: Array) -> IntrinsicDimension | NotApplicable:
    """Estimate the dimension of images from the distances of their neighbours.

    TwoNN: of the ratios μ of the distances of the second and the first neighbour, the maximum
    likelihood is N / Σ ln μ (Facco, d'Errico, Rodriguez & Laio, "Estimating the intrinsic
    dimension of datasets by a minimal neighborhood information", Scientific Reports 7, 2017).
    MLE: the inverse estimates of Levina and Bickel (2005) from k neighbours are averaged over
    images, as MacKay and Ghahramani (2005) have corrected it.

    Parameters
    ----------
    x
        Images or other points, N×…; of many, 10,000 evenly spaced ones are used, of large images
        fewer. Equal ones count once.
    """
    x_NP = x.reshape(len(x), -1)
    most = min(MOST_IMAGES, int(math.sqrt(MOST_PRODUCTS / max(x_NP.shape[1], 1))))
    x_NP = x_NP[evenly_spaced(len(x_NP), count=max(most, MIN_IMAGES))]
    first: dict[bytes, int] = {}
    for index, row in enumerate(x_NP):
        first.setdefault(row.tobytes(), index)
    x_NP = x_NP[list(first.values())]
    if len(x_NP) < MIN_IMAGES:
        return NotApplicable(
            f"distances of neighbours need at least {MIN_IMAGES} different images, got {len(x_NP)}"
        )
    samples = []
    for share in SAMPLE_SHARES:
        chosen_NP = x_NP[evenly_spaced(len(x_NP), count=round(share * len(x_NP)))]
        sample = _from_neighbours(chosen_NP.astype(np.float64))
        if isinstance(sample, NotApplicable):
            return sample
        samples.append(sample)
    return IntrinsicDimension(samples=tuple(samples))


def _from_neighbours(x_NP: Floats) -> NeighbourDimension | NotApplicable:
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - not needed to train

    count = len(x_NP)
    numbers = [k for k in NEIGHBOURS if k * IMAGES_PER_NEIGHBOUR <= count]
    # Brute force: a tree gains nothing in hundreds of dimensions.
    search = NearestNeighbors(n_neighbors=max(numbers), algorithm="brute").fit(x_NP)
    distances_NK: Floats = search.kneighbors()[0]
    ratios_N = distances_NK[:, 1] / distances_NK[:, 0]
    if np.all(ratios_N < 1 + 1e-9):
        return NotApplicable("every image has its neighbours at the same distance")
    return NeighbourDimension(
        images=count,
        two_nn=count / float(np.sum(np.log(ratios_N))),
        mle=tuple((k, _mle(distances_NK[:, :k])) for k in numbers),
    )


def _mle(distances_NK: Floats) -> float:
    inverse_N = np.log(distances_NK[:, -1:] / distances_NK[:, :-1]).mean(axis=1)
    mean = float(np.mean(inverse_N))
    return 1 / mean if mean > 0 else math.inf
