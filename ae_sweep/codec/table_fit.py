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

STRENGTHS = (8, 24, 64, 160)
"""Weight of the common table in a cluster's, in images; the best on held-out images is taken."""
STRENGTH = 32
"""While clusters are found."""
FITTED_IMAGES = 20_000
"""Images at most in the rounds that find the clusters; the tables are of all images."""
FITTED_COORDINATES = 64
"""Coordinates at most, those of the longest code, by which images are assigned meanwhile."""
VARYING_COORDINATES = 128
"""Coordinates at most that get tables in every cluster."""
LEAST_ENTROPY = 0.02
"""Bits of a coordinate below which it keeps the common table."""
ROUNDS = 4
"""Of assignment and counting; 20 instead change the length by less than 0.1 %."""
HELD_OUT = 5
"""Every fifth image is held out to choose the strength, and where clusters pay."""
HELD_OUT_IMAGES = 4_000
PAYING_IMAGES = 100_000
"""Images after which a coordinate's tables must have paid for their own size. The size is reported
beside the rate: for 10,000 images, the factorised tables are often the shorter whole."""


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
    return fit.fit(start_N)


class _ClusterFit:
    """A fit of tables in clusters, over the coordinates that may vary with the cluster."""

    def __init__(self, symbols_NK: Array, common: Tables, clusters: int) -> None:
        self.common = common
        self.clusters = clusters
        alphabet = common.alphabet
        entropies_K = _entropies(common)
        order = np.argsort(-entropies_K, kind="stable")[:VARYING_COORDINATES]
        self.coordinates_V = order[entropies_K[order] > LEAST_ENTROPY]
        """Those of the longest code first."""
        self.places_NV = places_in_clusters(symbols_NK, alphabet, self.coordinates_V)
        self.sizes_V = alphabet.sizes[self.coordinates_V]
        self.starts_V = np.concatenate([[0], np.cumsum(self.sizes_V)[:-1]]).astype(np.int64)
        self.common_R = np.concatenate(
            [_shares(common.counts(int(k))) for k in self.coordinates_V] or [np.zeros(0)]
        )
        self.held_N = np.arange(len(symbols_NK)) % HELD_OUT == 0

    def fit(self, start_N: Array) -> Tables:
        """Return the tables, or the common ones where clusters do not pay."""
        few_V = np.arange(min(FITTED_COORDINATES, len(self.coordinates_V)))
        assigned_N = self._rounds(start_N, few_V)
        all_V = np.arange(len(self.coordinates_V))
        strength, saved_V, _ = self._held_out(assigned_N, all_V)
        varying_V = all_V[saved_V * PAYING_IMAGES > 8 * self.clusters * self.sizes_V]
        if not len(varying_V):
            return self.common
        # Fewer coordinates, other clusters: the assignment follows from these alone.
        bits_RC, index_C = self._bits(self.places_NV, assigned_N, strength)
        assigned_N, _ = shortest_cluster(self.places_NV[:, varying_V], bits_RC, index_C)
        strength, saved_V, index_bits = self._held_out(assigned_N, varying_V)
        table_bits = 8 * self.clusters * self.sizes_V[varying_V].sum() / PAYING_IMAGES
        if saved_V.sum() <= index_bits + table_bits:
            return self.common
        return self._tables(assigned_N, np.sort(varying_V), strength)

    def _rounds(self, start_N: Array, few_V: Array) -> Array:
        """Return the cluster of every image, after rounds on some images and coordinates."""
        fitted = slice(None, None, max(1, len(start_N) // FITTED_IMAGES))
        assigned_N, places_NV = start_N[fitted], self.places_NV[fitted]
        for _ in range(ROUNDS):
            bits_RC, index_C = self._bits(places_NV, assigned_N, STRENGTH)
            assigned_N, _ = shortest_cluster(places_NV[:, few_V], bits_RC, index_C)
        bits_RC, index_C = self._bits(places_NV, assigned_N, STRENGTH)
        return shortest_cluster(self.places_NV[:, few_V], bits_RC, index_C)[0]

    def _held_out(self, assigned_N: Array, varying_V: Array) -> tuple[int, Array, float]:
        """Return the best strength on held-out images, and what it saves there.

        Returns
        -------
        strength : int
        saved_V : array
            Bits that an image saves in each of ``varying_V``.
        index_bits : float
            Bits that the index of an image takes.
        """
        fitted_NV, fitted_N = self.places_NV[~self.held_N], assigned_N[~self.held_N]
        held_NV = np.asfortranarray(self.places_NV[self.held_N][:HELD_OUT_IMAGES, varying_V])
        counts_CR = self._counts(fitted_NV, fitted_N)
        index_C = self._index_bits(fitted_N)
        shortest = np.inf
        for each in STRENGTHS:
            tried_RC = self._lengths(self._weights(counts_CR, each))
            tried_N, bits_N = shortest_cluster(held_NV, tried_RC, index_C)
            if (length := float(bits_N.mean())) < shortest:
                shortest, strength, bits_RC, chosen_N = length, each, tried_RC, tried_N
        common_R = -np.log2(self.common_R)
        saved = [
            (common_R[places_N] - bits_RC[places_N, chosen_N]).mean() for places_N in held_NV.T
        ]
        return strength, np.array(saved), float(index_C[chosen_N].mean())

    def _tables(self, assigned_N: Array, varying_V: Array, strength: int) -> Tables:
        varying_V = varying_V[np.argsort(self.coordinates_V[varying_V])]
        weights_CR = self._weights(self._counts(self.places_NV, assigned_N), strength)
        levels = []
        for start, size in zip(self.starts_V[varying_V], self.sizes_V[varying_V], strict=True):
            levels.append(as_levels(weights_CR[:, start : start + size]))
        index_C = 2 * np.bincount(assigned_N, minlength=self.clusters) + 1
        return Tables(
            alphabet=self.common.alphabet,
            levels_S=self.common.levels_S,
            clusters=Clusters(
                index_levels_C=as_levels(index_C),
                coordinates_V=self.coordinates_V[varying_V],
                levels_CR=np.concatenate(levels, axis=1),
            ),
        )

    def _bits(self, places_NV: Array, assigned_N: Array, strength: int) -> tuple[Array, Array]:
        """Return the lengths of symbols and of the index, float32."""
        weights_CR = self._weights(self._counts(places_NV, assigned_N), strength)
        return self._lengths(weights_CR), self._index_bits(assigned_N)

    def _lengths(self, weights_CR: Array) -> Array:
        """Return the lengths of symbols in each cluster, float32 R×C."""
        weights_CR = weights_CR.astype(np.float64)
        totals_CV = np.add.reduceat(weights_CR, self.starts_V, axis=1)
        bits_CR = np.log2(np.repeat(totals_CV, self.sizes_V, axis=1)) - np.log2(weights_CR)
        return np.ascontiguousarray(bits_CR.T, np.float32)

    def _index_bits(self, assigned_N: Array) -> Array:
        images_C = 2.0 * np.bincount(assigned_N, minlength=self.clusters) + 1
        index_C = np.log2(images_C.sum()) - np.log2(images_C)
        bits_C: Array = index_C.astype(np.float32)
        return bits_C

    def _counts(self, places_NV: Array, assigned_N: Array) -> Array:
        """Return how many images of each cluster have each symbol."""
        counts_CR = np.zeros((self.clusters, len(self.common_R)), np.int64)
        for places_N, start, size in zip(places_NV.T, self.starts_V, self.sizes_V, strict=True):
            joint_N = assigned_N * size + (places_N - start)
            counts = np.bincount(joint_N, minlength=self.clusters * size)
            counts_CR[:, start : start + size] = counts.reshape(self.clusters, size)
        return counts_CR

    def _weights(self, counts_CR: Array, strength: int) -> Array:
        """Return counts of the clusters plus the common table times the strength, in 2^-20."""
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
