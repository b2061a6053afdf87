"""The content of ``codec.safetensors``, written and read; what is read may come from anyone.

Arrays, P operating points, Q quantisers (a step with its range, centroids and common tables, which
its points share), each ragged array the parts of all quantisers or points one after the other:

=================  ==============  =============================================================
array              type            content
=================  ==============  =============================================================
mean               float32 D       of the latents; the first three only for latents
forward, inverse   float32 D×K, …  latents to coordinates and back
steps              float32 Q
offsets            int8            centroids of all quantisers, in 254ths of a step
low, high          int16 Q×K       ranges of the symbols
levels             uint8           common tables, for each quantiser as long as its range
point_quantisers   uint16 P        the quantiser of each point
point_clusters     uint16 P        number of clusters, 0 without
point_varying      uint16 P        coordinates with tables in every cluster
cluster_index      uint8           table of the index, for each point with clusters
cluster_varying    uint16          which coordinates vary, for each point
cluster_levels     uint8           their tables, a cluster after the other
=================  ==============  =============================================================

The metadata has one entry, JSON: version, the model file's SHA-256, image shape and the points'
names.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

import numpy as np
import safetensors
import safetensors.numpy

from ae_sweep.analysis.latent_transform import LatentTransform
from ae_sweep.analysis.quantiser import CENTROID_PARTS, Alphabet, UniformQuantiser
from ae_sweep.codec.artifact import Codec, OperatingPoint
from ae_sweep.codec.tables import MOST_CLUSTERS, Clusters, Tables
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import counted

Array: TypeAlias = np.ndarray[Any, Any]

METADATA_KEY = "ae_sweep_codec"
VERSION = 1
MOST_BYTES = 2**30
"""Of the file: a transform of 8,192 latents takes half of it."""
MOST_NAME = 200
_LATENT_ARRAYS = ("mean", "forward", "inverse", "steps", "offsets")
_DTYPES = {
    "mean": np.float32, "forward": np.float32, "inverse": np.float32, "steps": np.float32,
    "offsets": np.int8, "low": np.int16, "high": np.int16, "levels": np.uint8,
    "point_quantisers": np.uint16, "point_clusters": np.uint16, "point_varying": np.uint16,
    "cluster_index": np.uint8, "cluster_varying": np.uint16, "cluster_levels": np.uint8,
}  # fmt: skip
_DIMENSIONS = {"forward": 2, "inverse": 2, "low": 2, "high": 2}


def to_bytes(codec: Codec) -> bytes:
    """Return the file of a codec; the same codec gives the same bytes."""
    grids: dict[bytes, OperatingPoint] = {}
    quantisers = []
    for point in codec.points:
        key = _grid_key(point)
        grids.setdefault(key, point)
        quantisers.append(list(grids).index(key))
    alphabets = [point.tables.alphabet for point in grids.values()]
    clusters = [point.tables.clusters for point in codec.points]
    arrays = {
        "low": np.stack([each.low_K for each in alphabets]),
        "high": np.stack([each.high_K for each in alphabets]),
        "levels": np.concatenate([point.tables.levels_S for point in grids.values()]),
        "point_quantisers": np.array(quantisers),
        "point_clusters": np.array([len(c.index_levels_C) if c else 0 for c in clusters]),
        "point_varying": np.array([len(c.coordinates_V) if c else 0 for c in clusters]),
        "cluster_index": _joined([c.index_levels_C for c in clusters if c]),
        "cluster_varying": _joined([c.coordinates_V for c in clusters if c]),
        "cluster_levels": _joined([c.levels_CR.ravel() for c in clusters if c]),
    }
    if codec.transform is not None:
        steps = [point.quantiser for point in grids.values() if point.quantiser is not None]
        arrays["mean"] = codec.transform.mean_D
        arrays["forward"] = codec.transform.forward_DK
        arrays["inverse"] = codec.transform.inverse_KD
        arrays["steps"] = np.array([each.step for each in steps])
        arrays["offsets"] = np.concatenate([each.offsets_S for each in steps])
    typed = {name: np.ascontiguousarray(each, _DTYPES[name]) for name, each in arrays.items()}
    facts = {
        "version": VERSION,
        "model_sha256": codec.model_sha256,
        "image_shape": list(codec.image_shape),
        "points": [point.name for point in codec.points],
    }
    return safetensors.numpy.save(typed, metadata={METADATA_KEY: json.dumps(facts)})


def from_bytes(content: bytes) -> Codec:
    """Return the codec of a file.

    Raises
    ------
    DataError
        If the content is not that of a codec, of a newer version, or damaged.
    """
    if len(content) > MOST_BYTES:
        raise DataError(f"the codec has {len(content):,} bytes, more than {MOST_BYTES:,}")
    facts = _facts(content)
    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"the codec is not a safetensors file: {error}") from error
    _check_arrays(arrays)
    transform = _transform(arrays)
    grids = _grids(arrays, with_steps=transform is not None)
    try:
        return Codec(
            model_sha256=facts["model_sha256"],
            image_shape=facts["image_shape"],
            transform=transform,
            points=_points(arrays, grids, facts["points"]),
        )
    except ConfigError as error:
        raise _damaged(str(error)) from error


def _grid_key(point: OperatingPoint) -> bytes:
    tables, quantiser = point.tables, point.quantiser
    parts = [tables.alphabet.low_K.astype(np.int16), tables.alphabet.high_K.astype(np.int16)]
    parts.append(tables.levels_S)
    if quantiser is not None:
        parts += [np.array([quantiser.step], np.float32), quantiser.offsets_S]
    return b"".join(each.tobytes() for each in parts)


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)


def _damaged(what: str) -> DataError:
    return DataError(f"the codec is damaged, or not of ae-sweep: {what}")


def _facts(content: bytes) -> dict[str, Any]:
    """Return the checked metadata."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + min(length, len(content))])
        facts = json.loads(header["__metadata__"][METADATA_KEY])
        version, model, shape, points = (
            facts[key] for key in ("version", "model_sha256", "image_shape", "points")
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _damaged("it has no metadata of a codec") from error
    if type(version) is not int or version < 1:
        raise _damaged("its version is not a positive integer")
    if version > VERSION:
        raise DataError(
            f"the codec is of version {version}, this ae-sweep reads version {VERSION}: use a "
            "newer ae-sweep"
        )
    if not isinstance(model, str) or not re.fullmatch("[0-9a-f]{64}", model):
        raise _damaged("it does not name its model by a SHA-256")
    most = (2**8, 2**16, 2**16)
    if (
        not isinstance(shape, list)
        or len(shape) != len(most)
        or not all(type(n) is int and 1 <= n < end for n, end in zip(shape, most, strict=True))
    ):
        raise _damaged("its image shape is not channels, height and width")
    if not isinstance(points, list) or not all(
        isinstance(name, str) and len(name) <= MOST_NAME for name in points
    ):
        raise _damaged("its operating points are not names")
    return {"model_sha256": model, "image_shape": tuple(shape), "points": points}


def _check_arrays(arrays: dict[str, Array]) -> None:
    """Refuse missing or unknown arrays, and ones of another type, dimension or of no numbers."""
    latents = "mean" in arrays
    expected = {name for name in _DTYPES if latents or name not in _LATENT_ARRAYS}
    if set(arrays) != expected:
        raise _damaged("its arrays are not those of a codec")
    for name, array in arrays.items():
        if array.dtype != _DTYPES[name] or array.ndim != _DIMENSIONS.get(name, 1):
            raise _damaged(f"its array {name} is {array.dtype} with {array.ndim} dimensions")
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise _damaged(f"its array {name} holds values that are not finite")


def _transform(arrays: dict[str, Array]) -> LatentTransform | None:
    if "mean" not in arrays:
        return None
    mean_D, forward_DK, inverse_KD = (arrays[name] for name in ("mean", "forward", "inverse"))
    latents, coordinates = forward_DK.shape
    if mean_D.shape != (latents,) or inverse_KD.shape != (coordinates, latents):
        raise _damaged("the parts of its transform do not fit each other")
    if arrays["low"].shape[1] != coordinates:
        raise _damaged("its tables are not of the transform's coordinates")
    return LatentTransform(mean_D=mean_D, forward_DK=forward_DK, inverse_KD=inverse_KD)


def _grids(
    arrays: dict[str, Array], *, with_steps: bool
) -> list[tuple[UniformQuantiser | None, Tables]]:
    """Return the quantiser and the common tables of each step."""
    low_QK, high_QK = arrays["low"].astype(np.int32), arrays["high"].astype(np.int32)
    if low_QK.shape != high_QK.shape or not low_QK.size or (low_QK > high_QK).any():
        raise _damaged("its ranges of symbols are none")
    sizes_Q = (high_QK.astype(np.int64) - low_QK + 1).sum(axis=1)
    if with_steps and (arrays["steps"].shape != sizes_Q.shape or (arrays["steps"] <= 0).any()):
        raise _damaged("its steps are not one positive number for each quantiser")
    levels = _split(arrays["levels"], sizes_Q, "levels")
    offsets = _split(arrays["offsets"], sizes_Q, "offsets") if with_steps else []
    if any((abs(each.astype(np.int16)) > CENTROID_PARTS // 2).any() for each in offsets):
        raise _damaged("a centroid lies outside its cell")
    grids: list[tuple[UniformQuantiser | None, Tables]] = []
    for index, levels_S in enumerate(levels):
        alphabet = Alphabet(low_K=low_QK[index], high_K=high_QK[index])
        quantiser = None
        if with_steps:
            step = float(arrays["steps"][index])
            quantiser = UniformQuantiser(step=step, alphabet=alphabet, offsets_S=offsets[index])
        grids.append((quantiser, Tables(alphabet=alphabet, levels_S=levels_S)))
    return grids


def _points(
    arrays: dict[str, Array],
    grids: list[tuple[UniformQuantiser | None, Tables]],
    names: list[str],
) -> tuple[OperatingPoint, ...]:
    quantisers_P = arrays["point_quantisers"].astype(np.int64)
    clusters_P = arrays["point_clusters"].astype(np.int64)
    varying_P = arrays["point_varying"].astype(np.int64)
    if any(len(each) != len(names) for each in (quantisers_P, clusters_P, varying_P)):
        raise _damaged(f"it names {counted(len(names), 'point')}, and describes another number")
    if (quantisers_P >= len(grids)).any() or (clusters_P > MOST_CLUSTERS).any():
        raise _damaged("a point has a quantiser that is not there, or too many clusters")
    if ((clusters_P == 0) != (varying_P == 0)).any():
        raise _damaged("a point has clusters without coordinates that vary, or the reverse")
    index = _split(arrays["cluster_index"], clusters_P, "cluster_index")
    varying = _split(arrays["cluster_varying"], varying_P, "cluster_varying")
    alphabets = [grids[quantiser][1].alphabet for quantiser in quantisers_P]
    sizes = [_varying_size(a, each) for a, each in zip(alphabets, varying, strict=True)]
    levels = _split(arrays["cluster_levels"], np.array(sizes) * clusters_P, "cluster_levels")
    points = []
    for place, name in enumerate(names):
        quantiser, tables = grids[quantisers_P[place]]
        if clusters_P[place]:
            clusters = Clusters(
                index_levels_C=index[place],
                coordinates_V=varying[place].astype(np.int64),
                levels_CR=levels[place].reshape(int(clusters_P[place]), -1),
            )
            tables = Tables(alphabet=tables.alphabet, levels_S=tables.levels_S, clusters=clusters)
        points.append(OperatingPoint(name=name, quantiser=quantiser, tables=tables))
    return tuple(points)


def _varying_size(alphabet: Alphabet, coordinates_V: Array) -> int:
    """Return how many symbols the coordinates that vary have together."""
    coordinates_V = coordinates_V.astype(np.int64)
    if (np.diff(coordinates_V) <= 0).any() or (coordinates_V >= alphabet.coordinates).any():
        raise _damaged("the coordinates that vary are not there, or not ascending")
    sizes_V = alphabet.sizes[coordinates_V]
    if (sizes_V == 1).any():
        raise _damaged("a coordinate with one symbol cannot vary")
    return int(sizes_V.sum())


def _split(array: Array, lengths: Array, name: str) -> list[Array]:
    """Return the parts of a ragged array."""
    ends = np.cumsum(lengths)
    if len(array) != (int(ends[-1]) if len(ends) else 0):
        raise _damaged(f"its array {name} is of another length than its parts")
    return np.split(array, ends[:-1]) if len(ends) else []
