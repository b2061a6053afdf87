"""A report on everything that a sweep needs: this machine, the store, the images, the terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep import container, data, ownership, sweep, tracking, training
from ae_sweep.config import PARAMETERS
from ae_sweep.errors import AeSweepError, ConfigError
from ae_sweep.isolation import KERNELS_VARIABLE, PRECISION_VARIABLE
from ae_sweep.locations import RUNNING
from ae_sweep.messages import counted, ignore, visible
from ae_sweep.records import Finding, Status
from ae_sweep.runner.environment import environment
from ae_sweep.runner.memory import MNIST_SHAPE, PROCESS_BYTES
from ae_sweep.runner.precision_cache import remembered_precision, setting_of
from ae_sweep.tracking.journal_file import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ae_sweep.locations import Store

GIGABYTE = 10**9
LEAST_DISK_BYTES = 2 * 10**8
"""The model of 1,024 latents takes 52 MB, and is written twice before it is stored."""
ENOUGH_DISK_BYTES = 2 * 10**9
BUSY = 1.25
"""Waiting processes for each core, from which a sweep takes noticeably longer."""
MODEL = "conv"


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """What is known of where messages go."""

    is_terminal: bool
    encoding: str
    columns: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What all checks found."""

    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """The worst of them."""
        found = {finding.status for finding in self.findings}
        return next(status for status in (Status.STOP, Status.WARN, Status.OK) if status in found)


def diagnose(
    store: Store,
    *,
    cache_dir: Path,
    terminal: Terminal | None = None,
    announce: Callable[[str], None] = ignore,
) -> Report:
    """Check all that a sweep on a store needs.

    Nothing is written to the store. The precision is calibrated and kept, as a sweep does it, if
    that was not done on this machine before.

    Parameters
    ----------
    cache_dir
        The user cache.
    terminal
        Where messages go; None where there is none.
    announce
        Called with a line before a measurement.
    """
    checks: list[Callable[[], Iterable[Finding]]] = [
        _versions,
        partial(_device, cache_dir, announce),
        _threads,
        _limits,
        partial(_store, store),
        partial(tracking.check_runs, store),
        partial(sweep.check_studies, store),
        partial(_unfinished, store),
        partial(data.check_cached, cache_dir),
        partial(_terminal, terminal),
    ]
    return Report(findings=tuple(finding for check in checks for finding in check()))


def _versions() -> list[Finding]:
    try:
        found = environment()
    except metadata.PackageNotFoundError as error:
        remedy = f"install it: `pip install {error.name}`"
        what = f"the package {error.name} is not installed"
        return [Finding(check="versions", status=Status.STOP, what=what, remedy=remedy)]
    versions = ", ".join(
        f"{name.removesuffix('_version').replace('ae_sweep', 'ae-sweep')} {version}"
        for name, version in found.items()
        if name.endswith("_version")
    )
    return [
        Finding(check="versions", status=Status.OK, what=versions),
        Finding(check="telemetry", status=Status.OK, what="off, MLflow's too"),
    ]


def _device(cache_dir: Path, announce: Callable[[str], None]) -> list[Finding]:
    device = training.resolve_device("auto")
    found = [
        Finding(
            check="device",
            status=Status.OK,
            what=f"{training.describe_device(device)}; torch can use "
            f"{', '.join(training.available_devices())}",
        )
    ]
    try:
        training.prepare_process()
    except ConfigError as error:
        remedy = f"unset {KERNELS_VARIABLE}, or give it one of those"
        return [
            *found,
            Finding(check="kernels", status=Status.STOP, what=visible(error), remedy=remedy),
        ]
    kernels = training.kernels_on(device)
    if kernels is not None:
        what = kernels.what if kernels.used else f"those of torch: {kernels.what}"
        found.append(Finding(check="kernels", status=Status.OK, what=what))
    return [*found, _precision(cache_dir, announce)]


def _precision(cache_dir: Path, announce: Callable[[str], None]) -> Finding:
    device = training.resolve_device("auto")
    batch_size = int(PARAMETERS["batch_size"].default)
    calibrate = partial(
        training.choose_precision,
        device,
        model=MODEL,
        image_shape=MNIST_SHAPE,
        batch_size=batch_size,
    )
    try:
        precision = remembered_precision(
            setting_of(training.hardware(device), MODEL, MNIST_SHAPE, batch_size),
            calibrate,
            cache=cache_dir,
            announce=announce,
        )
    except AeSweepError as error:
        remedy = "train on the processor: `ae-sweep run --device cpu`"
        if isinstance(error, ConfigError):
            remedy = f"unset {PRECISION_VARIABLE}, or give it one of those"
        what = visible(error, 600)
        return Finding(check="precision", status=Status.STOP, what=what, remedy=remedy)
    what = f"{precision.name}: {precision.reason}"
    return Finding(check="precision", status=Status.OK, what=what)


def _threads() -> list[Finding]:
    cores, threads = container.usable_cores(), training.threads_per_worker(1)
    load = os.getloadavg()[0]
    what = (
        f"at most {counted(threads, 'thread')} for a trial, {counted(cores, 'core')}, "
        f"load {load:.1f}"
    )
    if load > BUSY * cores:
        remedy = "wait for other programs to end, or expect trials to take longer than planned"
        return [Finding(check="threads", status=Status.WARN, what=what, remedy=remedy)]
    return [Finding(check="threads", status=Status.OK, what=what)]


def _limits() -> list[Finding]:
    quota, memory = container.cpu_quota(), container.memory_limit_bytes()
    usable = container.usable_memory_bytes()
    limits = ", ".join(
        text
        for text in (
            f"a container's limit of {quota:g} cores" if quota is not None else "",
            f"a container's limit of {memory / GIGABYTE:.1f} GB" if memory is not None else "",
        )
        if text
    )
    what = f"{usable / GIGABYTE:.1f} GB of memory; {limits or 'no limits of a container'}"
    if usable < PROCESS_BYTES:
        remedy = f"give it at least {PROCESS_BYTES / GIGABYTE:.1f} GB: a training would be killed"
        return [Finding(check="memory", status=Status.STOP, what=what, remedy=remedy)]
    return [Finding(check="memory", status=Status.OK, what=what)]


def _store(store: Store) -> list[Finding]:
    return [
        _directory(store.root, "store", "name a directory that can be written with --store"),
        _directory(Path(tempfile.gettempdir()), "temporary files", "set TMPDIR to another"),
    ]


def _directory(directory: Path, check: str, remedy: str) -> Finding:
    """Check that a directory, or where it will be made, can be written and has room."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    shown = visible(directory)
    if not there.is_dir():
        what = f"{visible(there)} is not a directory"
        return Finding(check=check, status=Status.STOP, what=what, remedy=remedy)
    if not os.access(there, os.W_OK | os.X_OK):
        what = f"{shown} cannot be written"
        return Finding(check=check, status=Status.STOP, what=what, remedy=remedy)
    free = shutil.disk_usage(there).free
    what = f"{shown}, {free / GIGABYTE:,.1f} GB free"
    if free < LEAST_DISK_BYTES:
        remedy = f"free some space there, or {remedy}"
        return Finding(check=check, status=Status.STOP, what=what, remedy=remedy)
    if free < ENOUGH_DISK_BYTES:
        remedy = "free some space there: each model of 1,024 latents takes 52 MB"
        return Finding(check=check, status=Status.WARN, what=what, remedy=remedy)
    if directory.exists() and directory.stat().st_mode & 0o002 and check == "store":
        return Finding(
            check=check,
            status=Status.WARN,
            what=f"{what}; every user of this machine may change it",
            remedy=f"`{shlex.join(['chmod', 'o-w', str(directory)])}`",
        )
    return Finding(check=check, status=Status.OK, what=what)


def _unfinished(store: Store) -> Iterator[Finding]:
    """Find sweeps that run or were killed, and what they left: journals, checkpoints."""
    try:
        folders = sorted(path for path in (store.root / RUNNING).iterdir() if path.is_dir())
    except OSError:  # there is none
        return
    for folder in folders:
        name = folder.name
        found = ownership.find(folder)
        if found is not None:
            yield _owner(store, name, found)
        runs = found is not None and found.state is ownership.State.ALIVE
        journal = folder / JOURNAL
        size = journal.stat().st_size if journal.is_file() else 0
        if size:
            yield Finding(
                check="journal",
                status=Status.OK if runs else Status.WARN,
                what=f"{size:,} bytes of {visible(name)} wait to be published",
                remedy="" if runs else f"`{store.command('sync', name)}`",
            )
        checkpoints = sum(path.is_file() for path in folder.glob("checkpoints/*"))
        if checkpoints:
            yield Finding(
                check="checkpoints",
                status=Status.OK,
                what=f"{counted(checkpoints, 'file')} of {visible(name)}",
            )


def _owner(store: Store, name: str, found: ownership.Found) -> Finding:
    """Say who runs a sweep, or ran it, and how it is completed."""
    command = ("run", "--name", name, "--resume")
    match found.state:
        case ownership.State.ALIVE:
            what, remedy = f"{visible(name)} is being run by {found}", ""
        case ownership.State.DEAD:
            what = f"{visible(name)} was run by {found}, which has ended and did not complete it"
            remedy = f"complete it: `{store.command(*command)}`"
        case ownership.State.UNKNOWN:
            what = f"{visible(name)} was begun by {found}, which this machine cannot see"
            take_over = store.command(*command, "--take-over")
            remedy = f"if that has ended, take the sweep over: `{take_over}`"
    status = Status.WARN if remedy else Status.OK
    return Finding(check="process", status=status, what=what, remedy=remedy)


def _terminal(terminal: Terminal | None) -> list[Finding]:
    if terminal is None:
        return []
    kind = f"{terminal.columns} columns" if terminal.is_terminal else "none: plain lines"
    what = f"{kind}, {terminal.encoding}"
    if terminal.encoding.lower().replace("-", "") != "utf8":
        remedy = "signs such as × become question marks; `export PYTHONUTF8=1` shows them"
        return [Finding(check="terminal", status=Status.WARN, what=what, remedy=remedy)]
    return [Finding(check="terminal", status=Status.OK, what=what)]
