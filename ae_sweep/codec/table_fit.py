"""Fitting entropy models: count tables from the symbols of training images alone.

Shapes: N images, K coordinates, V coordinates that may vary with the cluster, C clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.codec.tables import (
    MOST_CLUSTERS,
    Clusters,
    Tables,
    as_levels,
    places_in_clusters,
    shortest_cluster,
)
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from ae_sweep.analysis.quantiser import Alphabet

    Array: TypeAlias = np.ndarray[Any, Any]

STRENGTHS = (4, 8, 16, 32, 64, 128, 256)
"""Weight of the common table in a cluster's, in images; the best on held-out images is taken."""
FITTED_IMAGES = 20_000
"""Images at most in the rounds that find the clusters; the tables are of all images."""
FITTED_COORDINATES = 64
"""Coordinates at most, those of the longest code, by which images are assigned meanwhile."""
VARYING_COORDINATES = 192
"""Coordinates at most that get tables in every cluster."""
ROUNDS = 8
"""Of assignment and counting; later ones change the length by less than 0.1 %."""
HELD_OUT = 5
"""Every fifth image is held out to choose the strength, and where clusters pay."""
PAYING_IMAGES = 10_000
"""Images after which a coordinate's tables must have paid for their own size."""


def fit_tables(symbols_NK: Array, alphabet: Alphabet) -> Tables:
    """Return one table for each coordinate.

    A count is 2n + 1 of the n images with the symbol (Krichevsky and Trofimov 1981), so that each
    of the alphabet can be coded.
    """
    return Tables(alphabet=alphabet, levels_S=_levels(_weights(symbols_NK, alphabet), alphabet))


def fit_clustered_tables(symbols_NK: Array, alphabet: Alphabet, start_N: Array) -> Tables:
    """Return tables in clusters, found by assigning images to where their code is shortest.

    Counting and assigning alternate from ``start_N`` (hard expectation and maximisation). A
    cluster's table is its counts plus the common table times a strength that is chosen on every
    fifth image, with tables of the others. A coordinate has tables in every cluster if that saved
    more on those than the tables take, over ``PAYING_IMAGES``; all others keep the common table.

    Parameters
    ----------
    symbols_NK
        Symbols of training images, inside ``alphabet``.
    start_N
        A cluster of each image to start from, 0 to C − 1; see
        ``ae_sweep.analysis.cluster_start``.

    Raises
    ------
    ConfigError
        If the clusters are not one for each image, or too many.
    """
    if start_N.shape != (len(symbols_NK),) or start_N.min(initial=0) < 0:
        raise ConfigError("tables in clusters start from a cluster of each image")
    clusters = int(start_N.max(initial=0)) + 1
    if clusters > MOST_CLUSTERS:
        raise ConfigError(f"tables have at most {MOST_CLUSTERS:,} clusters, got {clusters:,}")
    common = fit_tables(symbols_NK, alphabet)
    fit = _ClusterFit(symbols_NK, common, clusters)
    if clusters == 1 or not len(fit.coordinates_V):
        return common
    strength = fit.find(start_N)
    return fit.tables(strength)


class _ClusterFit:
    """State of a fit: the assignment of all images, over the coordinates that may vary."""

    def __init__(self, symbols_NK: Array, common: Tables, clusters: int) -> None:
        self.common = common
        self.clusters = clusters
        alphabet = common.alphabet
        entropies_K = _entropies(common)
        order = np.argsort(-entropies_K, kind="stable")[:VARYING_COORDINATES]
        self.coordinates_V = np.sort(order[entropies_K[order] > 0])
        self.places_NV = places_in_clusters(symbols_NK, alphabet, self.coordinates_V)
        self.sizes_V = alphabet.sizes[self.coordinates_V]
        self.symbols = int(self.sizes_V.sum())
        self.starts_V = np.concatenate([[0], np.cumsum(self.sizes_V)[:-1]]).astype(np.int64)
        self.common_R = np.concatenate(
            [_shares(common.counts(int(k))) for k in self.coordinates_V] or [np.zeros(0)]
        )
        self.longest_V = np.argsort(-entropies_K[self.coordinates_V], kind="stable")
        self.assigned_N = np.zeros(len(symbols_NK), np.int32)
        self.saved_V = np.zeros(len(self.coordinates_V))

    def find(self, start_N: Array) -> int:
        """Assign all images, and return the strength that was best on held-out ones."""
        stride = max(1, len(start_N) // FITTED_IMAGES)
        fitted = slice(None, None, stride)
        few = self.longest_V[:FITTED_COORDINATES]
        assigned_N, places_NV = start_N[fitted], self.places_NV[fitted]
        held_N = np.arange(len(places_NV)) % HELD_OUT == 0
        strength = STRENGTHS[len(STRENGTHS) // 2]
        for each in range(ROUNDS):
            bits_RC, index_C = self._bits(places_NV, assigned_N, strength)
            assigned_N, _ = shortest_cluster(places_NV[:, few], bits_RC, index_C)
            if each == ROUNDS // 2:
                strength = self._strength(
                    places_NV[~held_N], assigned_N[~held_N], places_NV[held_N]
                )
        kept = self._strength(places_NV[~held_N], assigned_N[~held_N], places_NV[held_N])
        bits_RC, index_C = self._bits(places_NV, assigned_N, kept)
        self.assigned_N, _ = shortest_cluster(self.places_NV, bits_RC, index_C)
        return kept

    def tables(self, strength: int) -> Tables:
        """Return the tables of the assignment, for the coordinates where they pay."""
        held_N = np.arange(len(self.places_NV)) % HELD_OUT == 0
        bits_RC, index_C = self._bits(self.places_NV[~held_N], self.assigned_N[~held_N], strength)
        chosen_N, _ = shortest_cluster(self.places_NV[held_N], bits_RC, index_C)
        common_R = -np.log2(self.common_R)
        saved_V = np.array(
            [
                (common_R[places_N] - bits_RC[places_N, chosen_N]).mean()
                for places_N in self.places_NV[held_N].T
            ]
        )
        table_bits_V = 8 * self.clusters * self.sizes_V
        paying_V = saved_V * PAYING_IMAGES > table_bits_V
        if not paying_V.any():
            return self.common
        weights_CR = self._weights(self.places_NV, self.assigned_N, strength)
        parts = [slice(a, a + n) for a, n in zip(self.starts_V, self.sizes_V, strict=True)]
        levels = [
            np.stack([as_levels(weights_S) for weights_S in weights_CR[:, part]])
            for part, pays in zip(parts, paying_V, strict=True)
            if pays
        ]
        index_C = 2 * np.bincount(self.assigned_N, minlength=self.clusters) + 1
        return Tables(
            alphabet=self.common.alphabet,
            levels_S=self.common.levels_S,
            clusters=Clusters(
                index_levels_C=as_levels(index_C),
                coordinates_V=self.coordinates_V[paying_V],
                levels_CR=np.concatenate(levels, axis=1),
            ),
        )

    def _strength(self, places_NV: Array, assigned_N: Array, held_NV: Array) -> int:
        lengths = []
        for strength in STRENGTHS:
            bits_RC, index_C = self._bits(places_NV, assigned_N, strength)
            lengths.append(shortest_cluster(held_NV, bits_RC, index_C)[1].mean())
        return STRENGTHS[int(np.argmin(lengths))]

    def _bits(self, places_NV: Array, assigned_N: Array, strength: int) -> tuple[Array, Array]:
        """Return the lengths of symbols and of the index, float32."""
        weights_CR = self._weights(places_NV, assigned_N, strength).astype(np.float64)
        totals_CV = np.add.reduceat(weights_CR, self.starts_V, axis=1)
        bits_CR = np.log2(np.repeat(totals_CV, self.sizes_V, axis=1)) - np.log2(weights_CR)
        images_C = 2.0 * np.bincount(assigned_N, minlength=self.clusters) + 1
        index_C = np.log2(images_C.sum()) - np.log2(images_C)
        return np.ascontiguousarray(bits_CR.T, np.float32), index_C.astype(np.float32)

    def _weights(self, places_NV: Array, assigned_N: Array, strength: int) -> Array:
        """Return counts of the clusters plus the common table times the strength, in 2^-20."""
        counts_CR = np.zeros((self.clusters, self.symbols), np.int64)
        for places_N, start, size in zip(places_NV.T, self.starts_V, self.sizes_V, strict=True):
            joint_N = assigned_N * size + (places_N - start)
            counts = np.bincount(joint_N, minlength=self.clusters * size)
            counts_CR[:, start : start + size] = counts.reshape(self.clusters, size)
        common_R = np.maximum(1, (self.common_R * strength * 2**20).astype(np.int64))
        weights_CR: Array = counts_CR * 2**20 + common_R
        return weights_CR


def _weights(symbols_NK: Array, alphabet: Alphabet) -> Array:
    weights = [
        2 * np.bincount(symbols_N - low, minlength=size) + 1
        for symbols_N, low, size in zip(symbols_NK.T, alphabet.low_K, alphabet.sizes, strict=True)
    ]
    return np.concatenate(weights)


def _levels(weights_S: Array, alphabet: Alphabet) -> Array:
    parts = map(alphabet.part, range(alphabet.coordinates))
    return np.concatenate([as_levels(weights_S[part]) for part in parts])


def _shares(counts_S: Array) -> Array:
    shares_S: Array = counts_S / counts_S.sum()
    return shares_S


def _entropies(tables: Tables) -> Array:
    """Return the entropy of each coordinate's table, in bits."""
    entropies = []
    for coordinate in range(tables.alphabet.coordinates):
        shares_S = _shares(tables.counts(coordinate))
        entropies.append(float(-(shares_S * np.log2(shares_S)).sum()))
    return np.array(entropies)
