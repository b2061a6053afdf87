"""Entropy models: integer count tables, one for each coordinate or a set of them per cluster.

With clusters, a symbol for each image first names one of C sets of tables. Only integers are
stored, so that every machine derives the same probabilities; a count is one of 256 integers that
grow by 5.6 % from one to the next, and takes a byte.

Shapes: N images, K coordinates, S symbols of all coordinates one after the other, C clusters, V
coordinates with tables in every cluster, R the symbols of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from ae_sweep.analysis.quantiser import Alphabet

Array: TypeAlias = np.ndarray[Any, Any]

MOST_SYMBOLS = 2**16
"""Of a coordinate: symbols are 16-bit numbers."""
MOST_CLUSTERS = 2**12
BLOCK_LENGTHS = 2**15
"""Lengths, images times clusters, that are held at once: they stay in a processor's cache."""


def _count_levels() -> Array:
    """Return the 256 counts: 1, 2, 3, ..., then growing by 1/18, up to about 2^22."""
    levels = [1]
    while len(levels) < 256:
        levels.append(max(levels[-1] + 1, levels[-1] + levels[-1] // 18))
    return np.array(levels, np.int64)


COUNT_LEVELS = _count_levels()
"""What a stored byte means as a count."""
TOP_COUNT = int(COUNT_LEVELS[-1])
_BETWEEN_LEVELS = (COUNT_LEVELS[:-1] + COUNT_LEVELS[1:] + 1) // 2


def as_levels(weights_S: Array) -> Array:
    """Return integer weights of tables as bytes, the largest of a table as the largest count.

    Every weight becomes a count of at least 1.

    Parameters
    ----------
    weights_S
        Of one table, or of several with the symbols on the last axis.
    """
    largest = np.maximum(weights_S.max(axis=-1, keepdims=True), 1)
    scaled_S = weights_S.astype(np.int64) * TOP_COUNT // largest
    levels_S: Array = np.searchsorted(_BETWEEN_LEVELS, scaled_S, side="right").astype(np.uint8)
    return levels_S


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """An index of a cluster and tables of each; for coordinates where they pay."""

    index_levels_C: Array
    """Table of the index; uint8."""
    coordinates_V: Array
    """Coordinates with a table in every cluster, ascending; all others use the common one."""
    levels_CR: Array
    """Their tables, one after the other; uint8."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """An entropy model of N×K symbols."""

    alphabet: Alphabet
    levels_S: Array
    """One table for each coordinate, over all images; uint8."""
    clusters: Clusters | None = None

    @property
    def table_bytes(self) -> int:
        """Size as stored: ranges, and a byte for each count."""
        size = 4 * self.alphabet.coordinates + len(self.levels_S)
        if self.clusters is not None:
            size += len(self.clusters.index_levels_C) + 2 * len(self.clusters.coordinates_V)
            size += self.clusters.levels_CR.size
        return size

    @property
    def skipped(self) -> Array:
        """Coordinates with one symbol, for which nothing is coded; bool."""
        skipped_K: Array = self.alphabet.sizes == 1
        return skipped_K

    def counts(self, coordinate: int, cluster: int | None = None) -> Array:
        """Return the counts of a coordinate's symbols, in a cluster if it varies with it."""
        where = self.cluster_parts.get(coordinate) if cluster is not None else None
        if where is None or self.clusters is None:
            return COUNT_LEVELS[self.levels_S[self.alphabet.part(coordinate)]]
        return COUNT_LEVELS[self.clusters.levels_CR[cluster, where]]

    @property
    def index_counts(self) -> Array:
        """Counts of the clusters; one without any."""
        if self.clusters is None:
            return np.ones(1, np.int64)
        return COUNT_LEVELS[self.clusters.index_levels_C]

    @cached_property
    def cluster_parts(self) -> dict[int, slice]:
        """Where the tables of each coordinate that varies are in a cluster's."""
        if self.clusters is None:
            return {}
        parts, start = {}, 0
        for coordinate in map(int, self.clusters.coordinates_V):
            stop = start + int(self.alphabet.sizes[coordinate])
            parts[coordinate] = slice(start, stop)
            start = stop
        return parts

    def assign(self, symbols_NK: Array) -> Array:
        """Return the cluster in which each image has the shortest code, int32; zeros without."""
        return self._lengths(self._checked(symbols_NK))[0]

    def code_lengths(self, symbols_NK: Array) -> Array:
        """Return the bits of each image: log2(total / count) of its symbols and its cluster.

        Raises
        ------
        ConfigError
            If a symbol is outside the alphabet; ``alphabet.clamp`` moves it inside.
        """
        return self._lengths(self._checked(symbols_NK))[1]

    def _checked(self, symbols_NK: Array) -> Array:
        alphabet = self.alphabet
        if symbols_NK.ndim != 2 or symbols_NK.shape[1] != alphabet.coordinates:
            raise ConfigError(
                f"these tables code {alphabet.coordinates} symbols per image, got an array of "
                f"shape {symbols_NK.shape}"
            )
        if (symbols_NK < alphabet.low_K).any() or (symbols_NK > alphabet.high_K).any():
            raise ConfigError("symbols lie outside the tables' alphabet: clamp them first")
        return symbols_NK

    def _lengths(self, symbols_NK: Array) -> tuple[Array, Array]:
        alphabet = self.alphabet
        common_S = _bits_by_table(COUNT_LEVELS[self.levels_S], alphabet.sizes)
        lengths_N = np.zeros(len(symbols_NK))
        for k in np.flatnonzero(~self.skipped):
            if int(k) not in self.cluster_parts:
                places_N = symbols_NK[:, k] - alphabet.low_K[k] + alphabet.starts[k]
                lengths_N += common_S[places_N]
        if self.clusters is None:
            return np.zeros(len(symbols_NK), np.int32), lengths_N
        sizes_V = alphabet.sizes[self.clusters.coordinates_V]
        bits_RC = _bits_by_table(COUNT_LEVELS[self.clusters.levels_CR], sizes_V).T
        index_C = _bits(self.index_counts)
        places_NV = places_in_clusters(symbols_NK, alphabet, self.clusters.coordinates_V)
        chosen_N, bits_N = shortest_cluster(places_NV, np.ascontiguousarray(bits_RC), index_C)
        return chosen_N, lengths_N + bits_N


def places_in_clusters(symbols_NK: Array, alphabet: Alphabet, coordinates_V: Array) -> Array:
    """Return where symbols are among those of the coordinates that vary with the cluster."""
    starts_V = np.concatenate([[0], np.cumsum(alphabet.sizes[coordinates_V])[:-1]])
    shift_V = (starts_V - alphabet.low_K[coordinates_V]).astype(np.int64)
    # A coordinate after the other, as they are read: a column of rows would miss the cache.
    places_NV: Array = np.empty(symbols_NK[:, coordinates_V].shape, np.int64, order="F")
    return np.add(symbols_NK[:, coordinates_V], shift_V, out=places_NV)


def shortest_cluster(places_NV: Array, bits_RC: Array, index_C: Array) -> tuple[Array, Array]:
    """Return the cluster with the shortest code of each image, and the bits of that code.

    Parameters
    ----------
    places_NV
        Where each symbol is among the R of ``bits_RC``.
    bits_RC
        Length of each symbol in each cluster.
    index_C
        Length of the index of each cluster.
    """
    chosen_N = np.empty(len(places_NV), np.int32)
    bits_N = np.empty(len(places_NV))
    size = max(1, BLOCK_LENGTHS // len(index_C))
    for start in range(0, len(places_NV), size):
        block = slice(start, start + size)
        lengths_BC = np.tile(index_C, (len(places_NV[block]), 1)).astype(bits_RC.dtype)
        for places_B in places_NV[block].T:
            lengths_BC += bits_RC.take(places_B, axis=0)
        chosen_N[block] = lengths_BC.argmin(axis=1)
        bits_N[block] = np.take_along_axis(lengths_BC, chosen_N[block, None], axis=1)[:, 0]
    return chosen_N, bits_N


def _bits(counts_S: Array) -> Array:
    bits_S: Array = np.log2(counts_S.sum(axis=-1, keepdims=True)) - np.log2(counts_S)
    return bits_S


def _bits_by_table(counts_S: Array, sizes_K: Array) -> Array:
    """Return the bits of each symbol of tables that lie one after the other on the last axis."""
    if not len(sizes_K):
        return np.zeros(counts_S.shape)
    starts_K = np.concatenate([[0], np.cumsum(sizes_K)[:-1]]).astype(np.int64)
    totals_K = np.add.reduceat(counts_S, starts_K, axis=-1)
    bits_S: Array = np.log2(np.repeat(totals_K, sizes_K, axis=-1)) - np.log2(counts_S)
    return bits_S
