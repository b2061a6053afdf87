"""Errors that a user can meet: what happened, with the value, and what to do next.

Each has an exit code of the command line. They are raised low and caught once, in ``ae_sweep.cli``.
"""

from __future__ import annotations

import errno
import re
from typing import ClassVar

NO_MEMORY = re.compile(
    r"out of memory"  # CUDA, HIP, XPU and MPS
    r"|can't allocate memory|not enough memory: you tried to allocate"  # on a CPU: Linux, Windows
    r"|std::bad_alloc"
    r"|_ALLOC_FAILED|_ALLOCATION_FAILED"  # cuDNN, cuBLAS and their like
)
"""In messages of torch."""


class AeSweepError(Exception):
    """Base of all errors that are shown to the user as one message."""

    exit_code: ClassVar[int] = 1


class ConfigError(AeSweepError):
    """A setting with an impossible value: wrong usage."""

    exit_code: ClassVar[int] = 2


class DataError(AeSweepError):
    """A data set that is missing, unreachable, corrupted or truncated."""

    exit_code: ClassVar[int] = 3


class DeviceError(AeSweepError):
    """A device that this machine does not have."""

    exit_code: ClassVar[int] = 3


class DeviceLostError(DeviceError):
    """A GPU that has failed; nothing can be computed on it any more in this process."""


class StoreError(AeSweepError):
    """A store that cannot be opened, read or written."""

    exit_code: ClassVar[int] = 3


class NotPublishedError(StoreError):
    """Results that are kept in a journal, since the tracking store failed."""


class NotStoredError(AeSweepError):
    """What was asked for is not in the store: no such sweep, or nothing to plot."""

    exit_code: ClassVar[int] = 3


class EntropyCoderError(AeSweepError):
    """The entropy coder, which is not published for every platform, is not installed."""

    exit_code: ClassVar[int] = 3


class PortError(AeSweepError):
    """A network port that cannot be listened on."""

    exit_code: ClassVar[int] = 3


class WorkerError(AeSweepError):
    """A worker process that cannot be started or set up."""

    exit_code: ClassVar[int] = 3


class ClusterError(AeSweepError):
    """A cluster that cannot be reached, or has no room for a trial."""

    exit_code: ClassVar[int] = 3


class ConflictError(AeSweepError):
    """A sweep of that name is stored with other settings, or is already there."""

    exit_code: ClassVar[int] = 4


class TrainingDivergedError(AeSweepError):
    """A loss or a result that is not a finite number.

    Raised in a training, it fails that trial and the sweep goes on. Raised where a result is
    written, which a training has checked before, it ends the sweep.
    """


class TrainingFailedError(AeSweepError):
    """A training that the machine could not carry out: no memory, or a failing kernel.

    It fails that trial and the sweep goes on.
    """

    exit_code: ClassVar[int] = 3


def lacks_memory(error: Exception) -> bool:
    """Return whether Python, the system or torch says with an error that there is no memory.

    torch raises a RuntimeError for that, as it does for most else.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    is_torchs = isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError) or is_torchs
