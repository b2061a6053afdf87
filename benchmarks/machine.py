"""The machine that a result was measured on, and the processor that results are kept by."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ae_sweep import training
from ae_sweep.runner.precision_cache import requested_precision
from ae_sweep.training.precision import why_no_bf16

VECTORS = {
    "amx_bf16": "AMX bf16",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_f": "AVX-512",
    "avx2": "AVX2",
}
"""Names of torch's capability flags, the widest instruction set first."""
PACKAGES = ("torch", "mlflow", "optuna", "ae-sweep")


@dataclass(frozen=True, kw_only=True)
class Processor:
    """What speed depends on: results of two machines with equal processors can be compared."""

    name: str
    family: int | None
    """CPU family and model: some clouds give all generations one name. None where unknown."""
    model: int | None
    vector: str
    """The widest instruction set in words, or the architecture where it has none of `VECTORS`."""
    bf16: bool
    """Whether its hardware computes in bfloat16."""
    cores: int
    threads: int
    """Threads of one training."""
    gpu: str | None
    precision: str | None = None
    """What AE_SWEEP_PRECISION asked for; None where it was calibrated."""

    @property
    def title(self) -> str:
        """The processor in a phrase."""
        generation = "" if self.family is None else f" family {self.family} model {self.model}"
        parts = [f"{self.name}{generation}", self.vector, _counted(self.cores, "core")]
        if self.threads != self.cores:
            parts.append(_counted(self.threads, "thread"))
        if self.precision is not None:
            parts.append(f"{self.precision} asked for")
        return ", ".join([*parts, *([self.gpu] if self.gpu else [])])

    @property
    def key(self) -> str:
        """The title as a file name: lower case, digits and dashes."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def processor() -> Processor:
    """Describe the processor of this machine."""
    known: dict[str, Any] = dict(torch.cpu.get_capabilities())
    asked = requested_precision()
    first = _first_processor()
    return Processor(
        name=first.get("model name") or known.get("cpu_name") or platform.machine(),
        family=_number(first.get("cpu family")),
        model=_number(first.get("model")),
        vector=next(
            (name for flag, name in VECTORS.items() if known.get(flag)), platform.machine()
        ),
        bf16=why_no_bf16(torch.device("cpu")) is None,
        cores=training.usable_cores(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        precision=None if asked is None else asked.name,
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the figures."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _first_processor() -> dict[str, str]:
    """Read the first entry of Linux's list of processors; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
