"""How much of a cluster a seat takes, and how many seats a cluster holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CPU, GPU = "CPU", "GPU"
"""Ray's names of resources."""


@dataclass(frozen=True, kw_only=True)
class SeatSize:
    """What a seat takes."""

    cpus: int
    gpus: float
    """A share of one GPU, or all of it; 0 for none."""

    def __str__(self) -> str:
        return _in_words({CPU: self.cpus, **({GPU: self.gpus} if self.gpus else {})})

    def fits(self, free: Mapping[str, float]) -> bool:
        """Return whether there is that much."""
        return free.get(CPU, 0) >= self.cpus and free.get(GPU, 0) >= self.gpus

    def seats_on(self, node: Mapping[str, float]) -> int:
        """Return how many seats a node's resources are enough for."""
        by_cpu = math.floor(node.get(CPU, 0) / self.cpus)
        if not self.gpus:
            return by_cpu
        # Each on one GPU: what is left of two of them makes no third. Ray counts in 1/10,000.
        on_each = round(1 / self.gpus * 1e4) // 10**4
        return min(by_cpu, math.floor(node.get(GPU, 0)) * on_each)


def seats_of(size: SeatSize, nodes: Iterable[Mapping[str, float]]) -> int:
    """Return how many seats of a size a cluster of some nodes holds.

    Parameters
    ----------
    nodes
        Their resources, in use or not.
    """
    return sum(size.seats_on(node) for node in nodes)


def gpus_of_trial(
    asked: float | None, *, device: str, nodes: Iterable[Mapping[str, float]]
) -> float:
    """Return which share of a GPU a trial takes.

    Parameters
    ----------
    asked
        By the user; None takes a whole one where there are any, unless the device is the CPU.
    device
        As the user names it.
    """
    if asked is not None:
        return asked
    if device == "cpu":
        return 0.0
    if device == "cuda":
        return 1.0
    return 1.0 if any(node.get(GPU, 0) for node in nodes) else 0.0


def resources_text(resources: Mapping[str, float]) -> str:
    """Write the processors and GPUs among some resources."""
    return _in_words({CPU: resources.get(CPU, 0), **_gpus(resources)})


def _gpus(resources: Mapping[str, float]) -> dict[str, float]:
    return {GPU: resources[GPU]} if GPU in resources else {}


def _in_words(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{count:g} {name}" for name, count in resources.items())
