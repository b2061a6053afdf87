"""Choice of the device, and its properties: cores, threads, memory."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import re
from typing import TYPE_CHECKING

import torch

from ae_sweep import container
from ae_sweep.container import usable_cores, usable_memory_bytes
from ae_sweep.errors import ConfigError, DeviceError
from ae_sweep.kernels import Kernels, kernels
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names for two of mallopt's parameters (malloc.h)."""


def resolve_device(name: str) -> torch.device:
    """Find the device a user named.

    Parameters
    ----------
    name
        ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or ``auto``: the first of cuda, mps, cpu here.

    Raises
    ------
    ConfigError
        If the name is none of these.
    DeviceError
        If this machine has no such device.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise ConfigError(f"there is no device {shorten(name)}; use auto, cpu, cuda, cuda:N or mps")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise DeviceError(
            f"this machine has no device {name!r} that torch {torch.__version__} can use; "
            f"it has: {', '.join(available)} (--device auto takes the first)"
        )
    return torch.device(wanted)


def available_devices() -> tuple[str, ...]:
    """Return the devices that torch can use here, fastest first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return (*cuda, *mps, "cpu")


def alike_devices(name: str, device: torch.device) -> tuple[str, ...]:
    """Return the devices that several trainings may be dealt out over.

    Parameters
    ----------
    name
        What the user named.
    device
        What it was resolved to: the only one, unless any GPU will do and there are several.
    """
    if device.type == "cuda" and name in ("auto", "cuda"):
        return tuple(name for name in available_devices() if name.startswith("cuda"))
    return (str(device),)


def describe_device(device: torch.device | str, *, threads: int | None = None) -> str:
    """Describe a device in words, for plans and logs; a CPU with its threads, all if left out."""
    device = torch.device(device)
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        count = torch.get_num_threads() if threads is None else threads
        return f"cpu ({count} {'thread' if count == 1 else 'threads'}, {platform.machine()})"
    return str(device)


def torch_version() -> str:
    """Return the version of torch here; those of a cluster's nodes may differ."""
    return str(torch.__version__)


def hardware(device: torch.device) -> str:
    """Name what the speed and the rounding of a device depend on, but threads, in one line."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{device.type} {name} torch={torch.__version__} kernels={kernels_version(device)}"


def kernels_on(device: torch.device) -> Kernels | None:
    """Return the kernels for trainings on a device, None where torch's functions do all.

    Raises
    ------
    ConfigError
        If ``AE_SWEEP_KERNELS`` is neither on nor off.
    """
    return kernels() if device.type == "cpu" else None


def kernels_version(device: torch.device | str) -> str:
    """Return which kernels trainings on a device use, ``none`` where torch's functions do all."""
    found = kernels_on(torch.device(device))
    return "none" if found is None else found.version


def threads_per_worker(workers: int, *, most: int | None = None) -> int:
    """Share the cores out, so that no thread of one training waits for one of another.

    Never more than one training by itself has.

    Parameters
    ----------
    most
        Threads of one training by itself; what torch takes in this process if left out.
    """
    alone = torch.get_num_threads() if most is None else most
    return alone if workers == 1 else max(1, min(alone, usable_cores() // workers))


def use_threads(threads: int) -> None:
    """Have torch compute with this many threads in this process."""
    torch.set_num_threads(threads)


@contextlib.contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Have torch compute with this many threads for the length of a block."""
    before = torch.get_num_threads()
    use_threads(threads)
    try:
        yield
    finally:
        use_threads(before)


def memory_bytes(device: torch.device) -> int:
    """Return how much memory a device has in all, in bytes; a container's limit where lower."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return usable_memory_bytes()


def prepare_process() -> None:
    """Set what makes trainings in this process faster; call it once, before the first.

    glibc keeps the memory that a training step frees, for the next step to use: by default every
    large activation is mapped from and returned to the kernel at each step, which costs a third of
    the time. Denormal numbers, which a CPU computes a hundred times slower, count as 0.

    torch begins with a thread for each of the machine's cores. Where a container may use fewer,
    that many threads would stop each other.

    The kernels are compiled, the first time on a machine in a second.

    Raises
    ------
    ConfigError
        If ``AE_SWEEP_KERNELS`` is neither on nor off.
    """
    torch.set_flush_denormal(True)
    if container.cpu_quota() is not None and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    kernels()
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _processor() -> str:
    known = torch.cpu.get_capabilities()
    return f"{known.get('cpu_name', platform.processor())} {platform.machine()}"
