"""Identity of a process, which no other process has, before or after it or on another machine.

A process is identified by its machine, the machine's boot, its id and its start: an id alone is
given to another process later.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process that runs or ran."""

    host: str
    machine: str
    """Identifies the machine, whatever its name."""
    boot: str
    """Identifies the time between two starts of the machine."""
    pid: int
    started: str
    """When the process was started, in the system's own words."""

    def __str__(self) -> str:
        return f"process {self.pid} on {shorten(self.host)}"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ProcessIdentity:
        """Read what ``dataclasses.asdict`` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            If something else did.
        """
        return cls(
            host=str(document["host"]),
            machine=str(document["machine"]),
            boot=str(document["boot"]),
            pid=int(document["pid"]),
            started=str(document["started"]),
        )

    @property
    def is_local(self) -> bool:
        """Whether it ran on this machine, before or after a restart."""
        here = this_process()
        return self.boot == here.boot or (self.host, self.machine) == (here.host, here.machine)


def this_process() -> ProcessIdentity:
    """Identify this process."""
    return ProcessIdentity(
        host=socket.gethostname(),
        machine=_machine(),
        boot=boot(),
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
    )


def runs_here(process: ProcessIdentity) -> bool | None:
    """Return whether a process of this machine runs; None if it is another machine's.

    A container has the boot of its machine, and processes of its own: it counts as another machine.
    """
    here = this_process()
    if process.host != here.host or not process.is_local:
        return None
    return process.boot == here.boot and runs(process)


def runs(process: ProcessIdentity) -> bool:
    """Return whether a process of this machine, since its last start, still runs."""
    started = _started(process.pid)
    return started is not None and process.started in ("", started)


def _machine() -> str:
    with contextlib.suppress(OSError):
        if text := Path("/etc/machine-id").read_text(encoding="ascii", errors="replace").strip():
            return text
    return f"{uuid.getnode():012x}"


def boot() -> str:
    """Identify the time since this machine's last start."""
    with contextlib.suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return _said("sysctl", "-n", "kern.boottime") or ""


def _started(pid: int) -> str | None:
    """Return when a process was started, in the system's own words; None if there is none."""
    if not (PROC / "self/stat").exists():
        return _said("ps", "-o", "lstart=", "-p", str(pid))
    try:
        # The name, in parentheses, may hold spaces; the start is field 22, in ticks since the boot.
        fields = (PROC / f"{pid}/stat").read_text(encoding="utf-8", errors="replace")
        after_name = fields.rpartition(")")[2].split()
        return None if after_name[0] in "ZX" else after_name[19]
    except (OSError, IndexError):
        return None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
