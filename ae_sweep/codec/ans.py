"""Entropy coding of symbols by asymmetric numeral systems (Duda 2009), with ``constriction``.

All images share one stream: a stream for each would cost 15 to 35 bits more. The coder is a stack,
so images are pushed last first, in blocks, and a decoder pops them block by block within bounded
memory. The bottom of the stack is the word 2^24, the coder's precision: from there on every symbol
raises the coder's state, so that one below it shows that the stream ran dry, where the coder itself
would go on for ever. It adds at most 4 bytes.

Shapes: N images, K coordinates.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.errors import ConfigError, DataError, EntropyCoderError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.codec.tables import Tables

Array: TypeAlias = np.ndarray[Any, Any]

MOST_IMAGES = 1_000_000
"""Of a stream."""
BLOCK_SYMBOLS = 2**22
"""Symbols of a block at most, 16 MiB; part of the format, as is the next."""
BLOCK_IMAGES = 4_096
BOTTOM = 2**24
"""The word at the bottom of the stack."""
PLATFORMS = "Linux on x86-64 with glibc, macOS, and Windows on x86-64"
"""For which constriction is published."""


def is_available() -> bool:
    """Return whether symbols can be coded here; their code lengths always can be computed."""
    return importlib.util.find_spec("constriction") is not None


def require_coder() -> None:
    """Raise an error where there is no entropy coder.

    Raises
    ------
    EntropyCoderError
        If the package constriction is not installed.
    """
    if not is_available():
        raise EntropyCoderError(
            "encode and decode need the package constriction, which is not installed: it is "
            f"published for {PLATFORMS}; there, `pip install 'constriction>=0.5,<0.6'`, else "
            "encode and decode on such a machine; code lengths are estimated without it"
        )


def encode(symbols_NK: Array, tables: Tables) -> bytes:
    """Return the stream of symbols: little-endian 32-bit words, trailing zero bytes trimmed.

    Raises
    ------
    ConfigError
        If a symbol is outside the tables' alphabet, or there are none or too many images.
    EntropyCoderError
        If constriction is not installed.
    """
    require_coder()
    if not 1 <= len(symbols_NK) <= MOST_IMAGES:
        raise ConfigError(f"1 to {MOST_IMAGES:,} images are coded, got {len(symbols_NK):,}")
    clusters_N = tables.assign(symbols_NK)
    coder = _coder(np.array([BOTTOM], np.uint32))
    models = _Models(tables)
    size = block_images(tables)
    for start in reversed(range(0, len(symbols_NK), size)):
        block = slice(start, start + size)
        _push(coder, models, tables, symbols_NK[block], clusters_N[block])
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return words.rstrip(b"\0")


def decode(payload: bytes, tables: Tables, images: int) -> Array:
    """Return the symbols of a stream; ``decode_blocks`` holds fewer of them at once.

    Raises
    ------
    DataError, EntropyCoderError
        As ``decode_blocks``.
    """
    return np.concatenate(list(decode_blocks(payload, tables, images)))


def decode_blocks(payload: bytes, tables: Tables, images: int) -> Iterator[Array]:
    """Yield the symbols of a stream, int32, a block of images after the other.

    Memory is bounded by a block, whatever number of images is claimed.

    Raises
    ------
    DataError
        If the stream ran dry before the last image, or has more than the images.
    EntropyCoderError
        If constriction is not installed.
    """
    require_coder()
    if not 1 <= images <= MOST_IMAGES:
        raise DataError(f"1 to {MOST_IMAGES:,} images are decoded, got {images:,}")
    if not payload or payload.endswith(b"\0"):
        raise DataError("the coded stream is empty or ends in zero bytes: it is not an encoder's")
    padded = payload + b"\0" * (-len(payload) % 4)
    coder = _coder(np.frombuffer(padded, "<u4").astype(np.uint32))
    models = _Models(tables)
    size = block_images(tables)
    for start in range(0, images, size):
        with _without_panic():
            block_NK = _pop(coder, models, tables, min(size, images - start))
        if _is_below_bottom(coder):
            raise DataError(
                f"the coded stream ran dry within images {start + 1:,} to "
                f"{start + len(block_NK):,} of {images:,}: it is damaged or of other tables"
            )
        yield block_NK
    if coder.num_words() != 1 or coder.get_compressed()[0] != BOTTOM:
        raise DataError(
            f"the coded stream is not at its end after {images:,} images: it is damaged, or of "
            "other tables"
        )


def block_images(tables: Tables) -> int:
    """Return how many images are coded together."""
    return max(1, min(BLOCK_IMAGES, BLOCK_SYMBOLS // max(1, tables.alphabet.coordinates)))


def _is_below_bottom(coder: Any) -> bool:
    return coder.num_words() < 1 or (
        coder.num_words() == 1 and int(coder.get_compressed()[0]) < BOTTOM
    )


@contextlib.contextmanager
def _without_panic() -> Iterator[None]:
    """Raise a panic of the coder's Rust code, which is a ``BaseException``, as an error of data."""
    try:
        yield
    except BaseException as error:
        # Its class can be imported from nowhere.
        if type(error).__name__ != "PanicException":
            raise
        raise DataError(
            f"the coded stream cannot be decoded ({visible(error)}): it is damaged, or of other "
            "tables"
        ) from error


def _coder(words: Array) -> Any:
    import constriction  # noqa: PLC0415 - not on every platform

    return constriction.stream.stack.AnsCoder(words)


class _Models:
    """The coder's models of the counts of some tables, each made once."""

    def __init__(self, tables: Tables) -> None:
        import constriction  # noqa: PLC0415 - not on every platform

        self._categorical = constriction.stream.model.Categorical
        self._tables = tables
        self._made: dict[tuple[int, int | None], Any] = {}

    def of(self, coordinate: int, cluster: int | None) -> Any:
        """Return the model of a coordinate's symbols in a cluster."""
        made = self._made.get((coordinate, cluster))
        if made is None:
            made = self._model(self._tables.counts(coordinate, cluster))
            self._made[coordinate, cluster] = made
        return made

    @functools.cached_property
    def index(self) -> Any:
        """The model of the clusters' index."""
        return self._model(self._tables.index_counts)

    def _model(self, counts_S: Array) -> Any:
        return self._categorical(counts_S.astype(np.float64), perfect=False)


def _push(
    coder: Any, models: _Models, tables: Tables, symbols_NK: Array, clusters_N: Array
) -> None:
    for coordinate, cluster, images in reversed(list(_order(tables, clusters_N))):
        symbols = symbols_NK[images, coordinate] - tables.alphabet.low_K[coordinate]
        model = models.of(coordinate, cluster)
        coder.encode_reverse(np.ascontiguousarray(symbols, np.int32), model)
    if tables.clusters is not None:
        coder.encode_reverse(clusters_N, models.index)


def _pop(coder: Any, models: _Models, tables: Tables, images: int) -> Array:
    with_clusters = tables.clusters is not None
    clusters_N = coder.decode(models.index, images) if with_clusters else np.zeros(images, np.int32)
    symbols_NK = np.empty((images, tables.alphabet.coordinates), np.int32)
    symbols_NK[:] = tables.alphabet.low_K
    for coordinate, cluster, these in _order(tables, clusters_N):
        count = len(range(images)[these]) if isinstance(these, slice) else len(these)
        decoded = coder.decode(models.of(coordinate, cluster), count)
        symbols_NK[these, coordinate] += decoded
    return symbols_NK


def _order(tables: Tables, clusters_N: Array) -> Iterator[tuple[int, int | None, slice | Array]]:
    """Yield coordinate, cluster and images of each run of symbols that share a table."""
    members = [
        (cluster, np.flatnonzero(clusters_N == cluster))
        for cluster in map(int, np.unique(clusters_N))
    ]
    for coordinate in map(int, np.flatnonzero(~tables.skipped)):
        if coordinate in tables.cluster_parts:
            for cluster, these_M in members:
                yield coordinate, cluster, these_M
        else:
            yield coordinate, None, slice(None)
