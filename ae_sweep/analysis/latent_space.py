"""How well a latent space separates classes whose labels were not used in training.

Shapes: N images, D latent_dim, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]

NEIGHBOURS = 10
ACTIVE_SHARE = 0.01
"""Share of the widest latent's variance: with less, a latent carries next to nothing. A share,
since an
autoencoder may stretch its latents as it likes."""
OVERLAPS = 5
"""Pairs of overlapping classes that are listed."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Two classes that are mistaken for each other."""

    classes: tuple[int, int]
    share: float
    """Share of the images of both whose nearest neighbours vote for the other class."""

    def __str__(self) -> str:
        return f"{self.classes[0]}/{self.classes[1]} {self.share:.1%}"


@dataclass(frozen=True, kw_only=True)
class LatentSpace:
    """How well latents separate classes, and how they are distributed."""

    latent_width: int
    """Numbers in a latent: latent_dim, or the numbers of that many tokens."""
    images: int
    knn_accuracy: float
    """Share of the images whose class is that of most of the 10 nearest others, by distance."""
    probe_accuracy: float
    """Share of the images that a logistic regression classifies, fitted on other images."""
    silhouette: float
    """From -1 (inside other classes) to 1 (tight and far apart); Rousseeuw 1987."""
    active_latents: int
    """Latents with at least 1 % of the variance of the widest."""
    mean_correlation: float | None
    """Mean absolute correlation of two active latents; None with fewer than two."""
    largest_correlation: float | None
    """Largest absolute correlation of two active latents."""
    overlaps: tuple[Overlap, ...]
    """The pairs of classes that overlap most, descending; empty where none do."""


def latent_space(
    z_ND: Array, labels_N: Array, *, fit_z_ND: Array, fit_labels_N: Array
) -> LatentSpace:
    """Measure a latent space with labels that the autoencoder never saw.

    Parameters
    ----------
    z_ND, labels_N
        Latents of the test images, and their classes.
    fit_z_ND, fit_labels_N
        Latents and classes of the validation images, on which the linear probe is fitted.

    Raises
    ------
    ConfigError
        If there are fewer than two classes, or too few images.
    """
    classes_K = np.unique(labels_N)
    if len(classes_K) < 2 or len(np.unique(fit_labels_N)) < 2:
        raise ConfigError("a latent space is measured by classes, and all images are of one class")
    if len(labels_N) <= NEIGHBOURS:
        raise ConfigError(
            f"{NEIGHBOURS} neighbours need more than {NEIGHBOURS} test images, got {len(labels_N)}"
        )
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - not needed to train

    votes_N = _votes(z_ND, labels_N)
    active_D = _active(z_ND)
    correlations = _correlations(z_ND[:, active_D])
    return LatentSpace(
        latent_width=z_ND.shape[1],
        images=len(z_ND),
        knn_accuracy=float((votes_N == labels_N).mean()),
        probe_accuracy=_probe(z_ND, labels_N, fit_z_ND, fit_labels_N),
        silhouette=float(silhouette_score(z_ND, labels_N)),
        active_latents=int(active_D.sum()),
        mean_correlation=float(correlations.mean()) if len(correlations) else None,
        largest_correlation=float(correlations.max()) if len(correlations) else None,
        overlaps=_overlaps(labels_N, votes_N, classes_K),
    )


def _votes(z_ND: Array, labels_N: Array) -> Array:
    """Return the most frequent class of the nearest others; ties go to the smaller class."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    _, index_NK = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(z_ND).kneighbors()
    classes_K, class_N = np.unique(labels_N, return_inverse=True)
    counts_NK = np.stack(
        [(class_N[index_NK] == index).sum(axis=1) for index in range(len(classes_K))], axis=1
    )
    votes_N: Array = classes_K[counts_NK.argmax(axis=1)]
    return votes_N


def _probe(z_ND: Array, labels_N: Array, fit_z_ND: Array, fit_labels_N: Array) -> float:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000))
    return float(probe.fit(fit_z_ND, fit_labels_N).score(z_ND, labels_N))


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


def _overlaps(labels_N: Array, votes_N: Array, classes_K: Array) -> tuple[Overlap, ...]:
    pairs = [
        Overlap(classes=(int(a), int(b)), share=_mistaken(labels_N, votes_N, a, b))
        for index, a in enumerate(classes_K)
        for b in classes_K[index + 1 :]
    ]
    pairs = sorted(pairs, key=lambda pair: (-pair.share, pair.classes))
    return tuple(pair for pair in pairs[:OVERLAPS] if pair.share > 0)


def _mistaken(labels_N: Array, votes_N: Array, a: int, b: int) -> float:
    swapped = ((labels_N == a) & (votes_N == b)) | ((labels_N == b) & (votes_N == a))
    return float(swapped.sum() / np.isin(labels_N, (a, b)).sum())
