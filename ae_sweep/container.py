"""Limits of a container on processor and memory: Linux control groups, versions 1 and 2.

A container's limits are those of its control group and of all groups above it. The processors and
the memory of the machine, which Python and torch report, may be far more.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path("/")
UNLIMITED_BYTES = 2**62
"""Version 1 writes "no limit" as a number of about this size."""


@dataclass(frozen=True)
class _Mount:
    """Where a hierarchy of control groups is mounted."""

    point: PurePosixPath
    group: PurePosixPath
    """The group that is seen there."""
    kind: str
    """``cgroup`` (version 1) or ``cgroup2``."""
    options: tuple[str, ...]
    """Version 1: its controllers, among others."""


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many processors' time this process may use; None if that is not limited.

    Parameters
    ----------
    root
        The directory that ``/proc`` and the control groups' files are below.
    """
    quotas = [
        *_numbers(root, "cgroup2", "cpu.max", _quota_of_version_2),
        *_numbers(root, "cgroup", "cpu.cfs_quota_us", _quota_of_version_1, controller="cpu"),
    ]
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = ROOT) -> int | None:
    """Return how much memory this process and those in its group may use; None if not limited."""
    limits = [
        *_numbers(root, "cgroup2", "memory.max", _bytes),
        *_numbers(root, "cgroup", "memory.limit_in_bytes", _bytes, controller="memory"),
    ]
    return min(map(int, limits), default=None)


def usable_cores() -> int:
    """Return how many processor cores this process may use.

    A container's limit on processor time counts as the nearest number of cores.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota + 0.5)))


def usable_memory_bytes() -> int:
    """Return how much memory the machine has in all; a container's limit where lower."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(installed, memory_limit_bytes() or installed)


def _quota_of_version_2(file: Path) -> float | None:
    """Read "150000 100000": microseconds of processor time in each period."""
    quota, _, period = file.read_text(encoding="ascii").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(file: Path) -> float | None:
    quota = int(file.read_text(encoding="ascii"))
    period = int(file.with_name("cpu.cfs_period_us").read_text(encoding="ascii"))
    return quota / period if quota > 0 else None


def _bytes(file: Path) -> float | None:
    text = file.read_text(encoding="ascii").strip()
    return int(text) if text != "max" and int(text) < UNLIMITED_BYTES else None


def _numbers(
    root: Path,
    kind: str,
    name: str,
    read: Callable[[Path], float | None],
    *,
    controller: str | None = None,
) -> Iterator[float]:
    """Read a file of every group that this process is in; those without a limit have none."""
    for directory in _directories(root, kind, controller):
        try:
            number = read(directory / name)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # the outermost group has no such file; what cannot be read limits nothing
        if number is not None:
            yield number


def _directories(root: Path, kind: str, controller: str | None) -> Iterator[Path]:
    """Yield the directories of this process's group and of the groups above it."""
    group = _group(root, controller)
    if group is None:
        return
    for mount in _mounts(root):
        if mount.kind != kind or (controller is not None and controller not in mount.options):
            continue
        # In a container the group's path may be the machine's, and not be seen from inside.
        inside = group.is_relative_to(mount.group) and ".." not in group.parts
        below = group.relative_to(mount.group) if inside else PurePosixPath()
        for directory in (below, *below.parents):
            yield root / mount.point.relative_to("/") / directory


def _group(root: Path, controller: str | None) -> PurePosixPath | None:
    """Return this process's group of a controller, or of version 2."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(",") if controller else not controllers:
            return PurePosixPath(path)
    return None


def _mounts(root: Path) -> Iterator[_Mount]:
    """Yield the mounted hierarchies (proc(5), ``mountinfo``)."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        fields, described = mount.split(), filesystem.split()
        if len(fields) >= 5 and len(described) >= 3 and described[0] in ("cgroup", "cgroup2"):
            yield _Mount(
                point=PurePosixPath(_unescape(fields[4])),
                group=PurePosixPath(_unescape(fields[3])),
                kind=described[0],
                options=tuple(described[2].split(",")),
            )


def _unescape(text: str) -> str:
    r"""Undo the octal escapes of blanks: ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []  # no Linux, or no /proc
