"""A sweep from Python: the same settings, defaults, checks and results as ``ae-sweep run``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Unpack

from ae_sweep.api.settings import SweepSettings, request_of
from ae_sweep.api.sweep import Sweep
from ae_sweep.messages import ignore
from ae_sweep.runner.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ae_sweep.runner.engine import Announce
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.execution import FinishedSweep, RunEvent
    from ae_sweep.runner.request import SweepRequest


def run_sweep(
    name: str | None = None,
    *,
    store: Path | str | None = None,
    progress: bool = True,
    **settings: Unpack[SweepSettings],
) -> Sweep:
    """Run a tracked sweep to its end: one Optuna study per latent dim, every trial in MLflow.

    An interruption (Ctrl-C) ends the running trials in order; the same call with ``resume=True``
    and the sweep's name completes it.

    Parameters
    ----------
    name
        Of the sweep; the data set and the time if left out.
    store
        Directory of runs, artifacts and studies, which wins over ``MLFLOW_TRACKING_URI``; None
        takes that if it is set, else ``mlruns`` in the working directory.
    progress
        Show progress on stderr: a bar in a terminal or notebook, lines elsewhere.
    settings
        See `SweepSettings`.

    Returns
    -------
    Sweep
        The finished sweep, as `load_sweep` opens it.

    Raises
    ------
    ConfigError
        If a setting is wrong.
    ConflictError
        If the name is taken and the sweep is not resumed, or is stored with other settings.
    DataError, DeviceError, StoreError, WorkerError, ClusterError
        If the data set, the device, the store, a worker process or the cluster cannot be used.
    NotStoredError
        If no trial finished for a latent dim, or there is no sweep to resume.
    NotPublishedError
        If the tracking store failed: a journal keeps what is not stored, for `sync`.
    """
    from ae_sweep.api.progress import Progress, Silent
    from ae_sweep.runner.execution import is_stored

    shown = Progress() if progress else Silent()
    request = request_of(name, store, settings, announce=shown.announce if progress else ignore)
    interrupts = Interrupts()
    with interrupts.caught():
        try:
            finished = shown.show(_events(request, interrupts, announce=shown.announce))
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt), interrupts.shield():
                stored = is_stored(request)
                advice = f"; complete it with: {request.resume_call}" if stored else ""
                shown.announce(f"interrupted{advice}")
            raise
    return _opened(request, finished)


def iter_sweep(
    name: str | None = None,
    *,
    store: Path | str | None = None,
    **settings: Unpack[SweepSettings],
) -> Generator[RunEvent, None, Sweep]:
    """Run a sweep as `run_sweep` does, and yield what happens: for a display of your own.

    A caller that stops early closes the generator (``contextlib.closing``), which leaves the sweep
    resumable. Settings are checked at the first ``next``.

    Yields
    ------
    SweepPlanned
        First, with the `Estimate` of what is to be trained and how long it should take.
    TrialStarted, TrialValidated, TrialEnded
        After that, of each trial.

    Returns
    -------
    Sweep
        The finished sweep (the value of ``yield from``).

    Raises
    ------
    AeSweepError
        As `run_sweep` does.
    """
    request = request_of(name, store, settings, announce=ignore)
    interrupts = Interrupts()
    events = _events(request, interrupts, announce=ignore)
    try:
        while True:
            # Only while the sweep works: between events, signals are the caller's.
            with interrupts.caught():
                try:
                    event = next(events)
                except StopIteration as end:
                    return _opened(request, end.value)
            yield event
    finally:
        with interrupts.caught():
            events.close()


def plan_sweep(
    name: str | None = None,
    *,
    store: Path | str | None = None,
    **settings: Unpack[SweepSettings],
) -> Estimate:
    """Return what `run_sweep` would train and how long it should take; nothing is stored.

    Raises
    ------
    AeSweepError
        As `run_sweep` does.
    """
    from ae_sweep.runner import planning

    request = request_of(name, store, settings, announce=ignore)
    with contextlib.closing(planning.plan_sweep(request, announce=ignore)) as estimate:
        return estimate


def _events(
    request: SweepRequest, interrupts: Interrupts, *, announce: Announce
) -> Generator[RunEvent, None, FinishedSweep]:
    from ae_sweep.runner import execution, planning

    with contextlib.closing(planning.plan_sweep(request, announce=announce)) as estimate:
        yield execution.SweepPlanned(estimate)
        return (
            yield from execution.execute(
                request, estimate, shield=interrupts.shield, announce=announce
            )
        )


def _opened(request: SweepRequest, finished: FinishedSweep) -> Sweep:
    finished.check()
    # The trials have been read just now: of thousands, that takes seconds.
    return Sweep(
        record=finished.record,
        trials=finished.trials,
        store=finished.store,
        runs=finished.runs,
        data_dir=request.data_dir,
    )
