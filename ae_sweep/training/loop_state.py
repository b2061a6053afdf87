"""The state of a training in mid-course, taken and put back.

Every tensor is copied into the one that a new training has in its place: memory layouts decide the
order of sums, and with it the last digits.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from ae_sweep.models import Autoencoder
from ae_sweep.records import EpochResult
from ae_sweep.training.checkpoint_file import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ae_sweep.training.optimiser import MuonAndAdam

WEIGHTS, OPTIMISER, MODEL, LOOP = "weights/", "optimiser/", "model/", "loop/"
"""Prefixes of the tensors' names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopState:
    """What a training loop keeps beside its model and optimiser."""

    step: int
    history: tuple[EpochResult, ...]
    """All validations so far."""
    train_seconds: float
    """Up to the last validation."""
    stretch_seconds: float
    """Since the last validation."""
    losses_N: Tensor
    """Of the steps since the last validation."""
    order: Tensor
    """State of the generator of the images' order, at the beginning of the epoch that is begun."""
    noise: Tensor
    """State of the generator of all other noise."""
    extra: Mapping[str, object]
    """What a kind of loop adds, JSON-able."""


def snapshot(module: nn.Module, optimiser: MuonAndAdam, state: LoopState) -> Snapshot:
    """Return all that decides how a training goes on."""
    fields = {each.name: getattr(state, each.name) for each in dataclasses.fields(state)}
    own = {name: fields.pop(name) for name in ("losses_N", "order", "noise")}
    fields["history"] = [dataclasses.asdict(result) for result in state.history]
    return Snapshot(
        tensors={
            **{WEIGHTS + name: each for name, each in module.state_dict().items()},
            **{OPTIMISER + name: each for name, each in optimiser.state_tensors().items()},
            **{MODEL + name: each for name, each in _kept_by(module).items()},
            **{LOOP + name: each for name, each in own.items()},
        },
        values=fields,
    )


def restore(module: nn.Module, optimiser: MuonAndAdam, taken: Snapshot) -> LoopState:
    """Put a model and its optimiser into the state that was taken of equal ones.

    Raises
    ------
    KeyError, RuntimeError, TypeError, ValueError
        If it was taken of others. They are in no useful state then.
    """
    _restore_weights(module, _part(taken, WEIGHTS))
    optimiser.load_state_tensors(_part(taken, OPTIMISER))
    if isinstance(module, Autoencoder):
        module.load_training_state(_part(taken, MODEL))
    values = dict(taken.values)
    values["history"] = tuple(EpochResult(**each) for each in values["history"])
    own = _part(taken, LOOP)
    return LoopState(**values, losses_N=own["losses_N"], order=own["order"], noise=own["noise"])


def _kept_by(module: nn.Module) -> dict[str, Tensor]:
    return module.training_state() if isinstance(module, Autoencoder) else {}


def _part(taken: Snapshot, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in taken.tensors.items()
        if name.startswith(prefix)
    }


@torch.no_grad()
def _restore_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    left = dict(tensors)
    filled: set[int] = set()
    for name, tensor in module.state_dict().items():
        saved = left.pop(name, None)
        if saved is None and tensor.data_ptr() in filled:
            continue  # another name of one that widths share
        if saved is None:
            raise KeyError(name)
        if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise RuntimeError(f"{name}: {tuple(saved.shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(saved)
        filled.add(tensor.data_ptr())
    if left:
        raise KeyError(next(iter(left)))
