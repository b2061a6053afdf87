"""How well a latent space separates classes whose labels were not used in training.

Shapes: N images, D latent_dim, K classes.
"""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array: TypeAlias = np.ndarray[Any, Any]

NEIGHBOURS = 10
"""That vote on an image's class; fewer where a class has few images."""
ACTIVE_SHARE = 0.01
"""Share of the widest latent's variance: with less, a latent carries next to nothing. A share,
since an
autoencoder may stretch its latents as it likes."""
OVERLAPS = 5
"""Pairs of overlapping classes that are listed."""
MOST_LETTERS = 24
"""Of a class's name in a list."""
PROBE_STEPS = (100, 2_000)
"""Steps of the logistic regression at least and at most."""
PROBE_WORK = 10**8
"""Images times latents times classes up to which it may take the most steps: a minute."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Two classes that are mistaken for each other."""

    classes: tuple[int, int]
    names: tuple[str, str]
    share: float
    """Share of the images of both whose nearest neighbours vote for the other class."""

    @property
    def written(self) -> tuple[str, str]:
        """Both names, safe to print."""
        return visible(self.names[0], MOST_LETTERS), visible(self.names[1], MOST_LETTERS)

    def __str__(self) -> str:
        return f"{'/'.join(self.written)} {self.share:.1%}"


@dataclass(frozen=True, kw_only=True)
class LatentSpace:
    """How well latents separate classes, and how they are distributed."""

    latent_width: int
    """Numbers in a latent: latent_dim, or the numbers of that many tokens."""
    images: int
    knn_accuracy: float | None
    """Share of the images whose class is that of most of the nearest others, by distance; None
    without classes."""
    probe_accuracy: float | None
    """Share of the images that a logistic regression classifies, fitted on other images; None
    without classes."""
    silhouette: float | None
    """From -1 (inside other classes) to 1 (tight and far apart); Rousseeuw 1987. None without
    classes, and where every image has a class of its own."""
    active_latents: int
    """Latents with at least 1 % of the variance of the widest."""
    mean_correlation: float | None
    """Mean absolute correlation of two active latents; None with fewer than two."""
    largest_correlation: float | None
    """Largest absolute correlation of two active latents."""
    neighbours: int | None = None
    """How many nearest others vote: 10, or one less than a class has images if that is fewer (the
    median class, since more neighbours would outvote it); None without classes."""
    overlaps: tuple[Overlap, ...]
    """The pairs of classes that overlap most, descending; empty where none do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Classes of the images by which a latent space is measured; no training uses them."""

    test_N: Array
    """Indices into ``names``."""
    fit_z_ND: Array
    """Latents of the validation images, on which the linear probe is fitted."""
    fit_N: Array
    names: Sequence[str]


def latent_space(z_ND: Array, labels: Labels | None = None) -> LatentSpace:
    """Measure a latent space, with labels that the autoencoder never saw if there are any.

    Parameters
    ----------
    z_ND
        Latents of the test images.
    labels
        Their classes; without, nothing is measured of how they are separated.

    Raises
    ------
    ConfigError
        If there are fewer than two classes, or too few images.
    """
    active_D = _active(z_ND)
    correlations = _correlations(z_ND[:, active_D])
    measured = LatentSpace(
        latent_width=z_ND.shape[1],
        images=len(z_ND),
        knn_accuracy=None,
        probe_accuracy=None,
        silhouette=None,
        active_latents=int(active_D.sum()),
        mean_correlation=float(correlations.mean()) if len(correlations) else None,
        largest_correlation=float(correlations.max()) if len(correlations) else None,
        overlaps=(),
    )
    return measured if labels is None else _by_class(measured, z_ND, labels)


def too_few_classes(labels_N: Array, fit_labels_N: Array) -> str | None:
    """Return why classes cannot be measured, of test and of validation images; None if they can."""
    if min(len(np.unique(labels_N)), len(np.unique(fit_labels_N))) < 2:
        return "a latent space is measured by classes, and all images are of one class"
    if len(labels_N) <= NEIGHBOURS:
        return (
            f"{NEIGHBOURS} neighbours need more than {NEIGHBOURS} test images, got {len(labels_N)}"
        )
    return None


def _by_class(space: LatentSpace, z_ND: Array, labels: Labels) -> LatentSpace:
    labels_N = labels.test_N
    if (reason := too_few_classes(labels_N, labels.fit_N)) is not None:
        raise ConfigError(reason)
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - not needed to train

    neighbours = _neighbours(labels_N)
    votes_N = _votes(z_ND, labels_N, neighbours=neighbours)
    alone = len(np.unique(labels_N)) == len(labels_N)
    return dataclasses.replace(
        space,
        knn_accuracy=float((votes_N == labels_N).mean()),
        neighbours=neighbours,
        probe_accuracy=_probe(z_ND, labels),
        silhouette=None if alone else float(silhouette_score(z_ND, labels_N)),
        overlaps=_overlaps(labels_N, votes_N, labels.names),
    )


def _neighbours(labels_N: Array) -> int:
    _, images_K = np.unique(labels_N, return_counts=True)
    return int(max(1, min(NEIGHBOURS, np.median(images_K) - 1)))


def _votes(z_ND: Array, labels_N: Array, *, neighbours: int) -> Array:
    """Return the most frequent class of the nearest others; ties go to the smaller class."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    _, index_NK = NearestNeighbors(n_neighbors=neighbours).fit(z_ND).kneighbors()
    classes_K, class_N = np.unique(labels_N, return_inverse=True)
    counts_NK = np.stack(
        [(class_N[index_NK] == index).sum(axis=1) for index in range(len(classes_K))], axis=1
    )
    votes_N: Array = classes_K[counts_NK.argmax(axis=1)]
    return votes_N


def _probe(z_ND: Array, labels: Labels) -> float:
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    work = labels.fit_z_ND.size * len(np.unique(labels.fit_N))
    steps = max(PROBE_STEPS[0], min(PROBE_STEPS[1], PROBE_STEPS[1] * PROBE_WORK // max(work, 1)))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=steps))
    with warnings.catch_warnings():
        if steps < PROBE_STEPS[1]:  # of hundreds of classes, stopped where it has nearly converged
            warnings.simplefilter("ignore", ConvergenceWarning)
        # Classes are classes, however few images they have.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        fitted = probe.fit(labels.fit_z_ND, labels.fit_N)
    return float(fitted.score(z_ND, labels.test_N))


def _active(z_ND: Array) -> Array:
    variances_D = z_ND.var(axis=0, dtype=np.float64)
    active_D: Array = (variances_D > 0) & (variances_D >= ACTIVE_SHARE * variances_D.max())
    return active_D


def _correlations(z_ND: Array) -> Array:
    """Return the absolute correlations of all pairs of latents, each once."""
    if z_ND.shape[1] < 2:
        return np.empty(0)
    matrix_DD = np.corrcoef(z_ND, rowvar=False)
    pairs: Array = abs(matrix_DD[np.triu_indices(len(matrix_DD), k=1)])
    return pairs


def _overlaps(labels_N: Array, votes_N: Array, names: Sequence[str]) -> tuple[Overlap, ...]:
    classes_K, class_N = np.unique(labels_N, return_inverse=True)
    voted_N = np.searchsorted(classes_K, votes_N)
    voted_KK = np.zeros((len(classes_K), len(classes_K)), np.int64)
    np.add.at(voted_KK, (class_N, voted_N), 1)
    images_K = voted_KK.sum(axis=1)
    shares_KK = (voted_KK + voted_KK.T) / (images_K[:, None] + images_K)
    one_M, other_M = np.nonzero(np.triu(shares_KK, k=1))
    # Stable: of equal shares the pair of the smaller classes comes first.
    order_M = np.argsort(-shares_KK[one_M, other_M], kind="stable")[:OVERLAPS]
    return tuple(
        Overlap(
            classes=(int(classes_K[a]), int(classes_K[b])),
            names=(names[classes_K[a]], names[classes_K[b]]),
            share=float(shares_KK[a, b]),
        )
        for a, b in zip(one_M[order_M], other_M[order_M], strict=True)
    )
