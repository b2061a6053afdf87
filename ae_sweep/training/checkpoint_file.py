"""Format of a checkpoint: a safetensors file whose metadata hold an identity and a checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from ae_sweep.files import open_regular
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from torch import Tensor

FORMAT = 1
"""Another number where the same content would mean another state."""
DOCUMENT, CHECKSUM = "ae_sweep_checkpoint", "sha256"
"""Keys of the metadata."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that decides how a training goes on."""

    tensors: Mapping[str, Tensor]
    """By name, anywhere and in any layout."""
    values: Mapping[str, Any]
    """What else there is, JSON-able."""


class UnusableCheckpointError(Exception):
    """A file from which a training cannot go on; its text says why, to complete "because"."""


def to_bytes(snapshot: Snapshot, *, identity: Mapping[str, str]) -> bytes:
    """Serialise a snapshot.

    A tensor that has several names is written once, under the first: whoever restores it fills
    every name, since these are one tensor there as well.

    Parameters
    ----------
    identity
        What the file may be used for.
    """
    tensors = _plain(snapshot.tensors)
    content = {"format": FORMAT, "identity": dict(identity), "values": dict(snapshot.values)}
    document = json.dumps(content, allow_nan=False)
    metadata = {DOCUMENT: document, CHECKSUM: _checksum(document, tensors)}
    return safetensors.torch.save(tensors, metadata=metadata)


def read(path: Path, *, identity: Mapping[str, str]) -> Snapshot:
    """Read a snapshot, its tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is none.
    UnusableCheckpointError
        If it cannot be read, is incomplete or damaged, or belongs to another training.
    """
    try:
        open_regular(path).close()  # nothing else is waited for
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = json.loads(metadata[DOCUMENT])
            _check_identity(content, identity)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _checksum(metadata[DOCUMENT], tensors) != metadata[CHECKSUM]:
            raise UnusableCheckpointError("its checksum is wrong")
        return Snapshot(tensors=tensors, values=content["values"])
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnusableCheckpointError(f"it cannot be read: {error.strerror or error}") from error
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        RecursionError,
        safetensors.SafetensorError,
    ) as error:
        raise UnusableCheckpointError("it is damaged") from error


def _check_identity(content: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    if content["format"] != FORMAT:
        raise UnusableCheckpointError(
            f"it has format {shorten(str(content['format']))}, and this is format {FORMAT}"
        )
    stored = content["identity"]
    for name in sorted(stored.keys() | identity.keys()):
        if stored.get(name) != identity.get(name):
            was, now = stored.get(name), identity.get(name)
            raise UnusableCheckpointError(
                f"its {name} is {shorten(str(was), 100)}, not {shorten(str(now), 100)}"
            )


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring tensors to the CPU, contiguous, each in memory of its own, and each once."""
    plain: dict[str, Tensor] = {}
    seen: set[tuple[object, ...]] = set()
    storages: set[int] = set()
    for name, tensor in tensors.items():
        same = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and same in seen:
            continue
        seen.add(same)
        copy = tensor.detach().cpu().contiguous()
        if copy.untyped_storage().data_ptr() in storages:
            copy = copy.clone()
        storages.add(copy.untyped_storage().data_ptr())
        plain[name] = copy
    return plain


def _checksum(document: str, tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256(document.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    flat: np.ndarray[Any, Any] = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat.data
