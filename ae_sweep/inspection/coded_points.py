"""Measurement of a codec's operating points: images coded, the bytes counted, decoded again.

Shapes: N images, C channels, H height, W width, D latents or tokens, K coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep import analysis
from ae_sweep.analysis.rate_curve import RatePoint
from ae_sweep.codec import ans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ae_sweep.codec.artifact import Codec, OperatingPoint
    from ae_sweep.models import TrainedAutoencoder

    Array: TypeAlias = np.ndarray[Any, Any]

SYMBOLS_AT_ONCE = 2**27
"""Of the images whose points are measured at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """Some images, what they were encoded to, and nothing else of the model."""

    images_NCHW: Array
    latents_ND: Array


def measured_points(
    model: TrainedAutoencoder, codec: Codec, *, test: Coded, val: Coded
) -> Iterator[list[RatePoint]]:
    """Code all images at every operating point, and yield the points of a step after the other.

    Several steps are measured at a time, in threads.
    """
    from ae_sweep.models.coding import coding_threads, side_by_side  # noqa: PLC0415 - torch

    test_y_NK, val_y_NK = _coordinates(codec, test), _coordinates(codec, val)

    def of_step(indices: Sequence[int]) -> list[RatePoint]:
        # Points of one step differ in their tables alone: their symbols and images are the same.
        quantise = _quantise(codec, indices[0])
        test_NK, val_NK = quantise(test_y_NK), quantise(val_y_NK)
        errors_N = _errors(model, codec, test, test_NK, indices[0])
        val_mse = float(_errors(model, codec, val, val_NK, indices[0]).mean())
        mse = float(errors_N.mean())
        return [
            RatePoint(
                bits=_bits(codec.points[index], test_NK),
                mse=mse,
                psnr=analysis.psnr_db(mse),
                mean_image_psnr=analysis.mean_image_psnr(errors_N),
                setting=codec.points[index].name,
                latent_dim=model.latent_dim,
                table_bytes=codec.table_bytes(index) + codec.transform_bytes,
                index=index,
                val_bits=_bits(codec.points[index], val_NK),
                val_mse=val_mse,
            )
            for index in indices
        ]

    threads = max(1, min(coding_threads(), SYMBOLS_AT_ONCE // test_y_NK.size))
    yield from side_by_side(of_step, _steps(codec), threads=threads)


def _steps(codec: Codec) -> list[list[int]]:
    """Return the numbers of the points that share a quantiser, by quantiser."""
    steps: dict[int, list[int]] = {}
    for index, point in enumerate(codec.points):
        steps.setdefault(id(point.quantiser), []).append(index)
    return list(steps.values())


def _coordinates(codec: Codec, coded: Coded) -> Array:
    return (
        coded.latents_ND if codec.transform is None else codec.transform.forward(coded.latents_ND)
    )


def _quantise(codec: Codec, index: int) -> Callable[[Array], Array]:
    """Return what makes symbols of coordinates, or of tokens."""
    operating = codec.points[index]
    if operating.quantiser is None:
        return operating.tables.alphabet.clamp
    return operating.quantiser.quantise


def _bits(operating: OperatingPoint, symbols_NK: Array) -> float:
    """Return the bits per image of a joint stream, once it has been decoded and compared.

    Without a coder they are the code's length by its tables.
    """
    tables = operating.tables
    if not ans.is_available():
        return float(tables.code_lengths(symbols_NK).mean())
    payload = ans.encode(symbols_NK, tables)
    first = 0
    for block_NK in ans.decode_blocks(payload, tables, len(symbols_NK)):
        if not np.array_equal(block_NK, symbols_NK[first : first + len(block_NK)]):
            raise RuntimeError(f"{operating.name} decodes to other symbols than it coded")
        first += len(block_NK)
    return 8 * len(payload) / len(symbols_NK)


def _errors(
    model: TrainedAutoencoder, codec: Codec, coded: Coded, symbols_NK: Array, index: int
) -> Array:
    """Return the mean squared error of each image, decoded from its symbols to bytes.

    Images with the same symbols are decoded once: at large steps most of them are.
    """
    first_of: dict[bytes, int] = {}
    rows_NK = np.ascontiguousarray(symbols_NK)
    which_N = np.array([first_of.setdefault(row.tobytes(), len(first_of)) for row in rows_NK])
    order_N = np.argsort(which_N, kind="stable")
    which_N = which_N[order_N]
    _, chosen = np.unique(which_N, return_index=True)
    rebuilt_ND = codec.dequantise(symbols_NK[order_N[chosen]], index)
    errors_N = np.empty(len(symbols_NK))
    first = 0
    for rebuilt_BCHW in model.decode_to_bytes(rebuilt_ND):
        last = first + len(rebuilt_BCHW)
        start, stop = np.searchsorted(which_N, [first, last])
        for part in _blocks(int(start), int(stop), len(rebuilt_BCHW)):
            these = order_N[part]
            errors_N[these] = analysis.byte_errors(
                coded.images_NCHW[these], [rebuilt_BCHW[which_N[part] - first]]
            )
        first = last
    return errors_N


def _blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
