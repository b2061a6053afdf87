"""The course of a sweep: which training comes next, what is reported, pruned and logged.

The driver alone writes Optuna's storage. It yields what happens and prints nothing.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ae_sweep.config import TrialConfig
from ae_sweep.errors import AeSweepError
from ae_sweep.records import QUARTERS, Outcome, Role
from ae_sweep.sweep.agenda import Agenda
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ae_sweep.config import Condition, Hyperparameters, SweepConfig
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.sweep.study import Ask, ConditionStudy
    from ae_sweep.sweep.tracker import Tracker, TrialLog
    from ae_sweep.sweep.worker import Worker, WorkerEvent

Shield: TypeAlias = "Callable[[], AbstractContextManager[object]]"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of a sweep."""

    name: str
    config: TrialConfig
    role: Role


@dataclass(frozen=True)
class TrialStarted:
    """A trial was given to a worker."""

    trial: Trial


@dataclass(frozen=True)
class TrialValidated:
    """A trial has validated."""

    trial: Trial
    result: EpochResult


@dataclass(frozen=True)
class TrialEnded:
    """A trial was finished, pruned or failed, and everything of it is stored."""

    trial: Trial
    outcome: Outcome
    result: TrialResult | None = None
    """Of a finished trial."""
    reason: str | None = None
    """Of a failed trial."""
    again: bool = False
    """Whether a failed trial is tried again in this run: it starts once more."""


SweepEvent = TrialStarted | TrialValidated | TrialEnded


@dataclass(frozen=True, kw_only=True)
class _Start:
    """A trial that is wanted, of which no more is known yet than its study and role."""

    study: ConditionStudy
    role: Role
    number: int
    """The slot of a search; of a repeat, how far its seed is from the sweep's."""

    @property
    def condition(self) -> Condition:
        """The condition of its study."""
        return self.study.condition


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A running trial with its log."""

    start: _Start
    trial: Trial
    log: TrialLog
    ask: Ask | None = None
    """None of a repeat, which is no trial of the study."""

    @property
    def study(self) -> ConditionStudy:
        """The study that it belongs to, or whose best trial it repeats."""
        return self.start.study


class Driver:
    """Runs one sweep to its end.

    Parameters
    ----------
    config
        The sweep.
    studies
        One for each of its conditions, or of the first of them.
    worker
        Carries out the trainings.
    tracker
        Writes them down.
    shield
        Gives a context in which no interruption arrives; bookkeeping happens inside one, so that
        both stores always agree.
    guard
        Called before anything is written: raises if this process is to write nothing more.
    forget
        Called with each trial that has ended and is not to go on from where it was.
    in_turn
        Whether the searches of a study run one after the other, with as many workers as there are.
    more
        Called when all trainings of the studies have ended, and has all events by then: returns
        the studies that come next, none at the end of the sweep.
    """

    def __init__(
        self,
        config: SweepConfig,
        *,
        studies: Sequence[ConditionStudy],
        worker: Worker,
        tracker: Tracker,
        shield: Shield = nullcontext,
        guard: Callable[[], None] = lambda: None,
        forget: Callable[[TrialConfig], None] | None = None,
        in_turn: bool = False,
        more: Callable[[], Sequence[ConditionStudy]] = lambda: (),
    ) -> None:
        self._config = config
        self._more = more
        self._in_turn = in_turn
        self._forget = forget
        self._studies = studies
        self._worker = worker
        self._tracker = tracker
        self._shield = shield
        self._guard = guard
        self._jobs: dict[int, _Job] = {}
        self._agenda: Agenda[_Start] = Agenda([])
        self._numbers = itertools.count()

    def run(self) -> Generator[SweepEvent, None, None]:
        """Train what is wanted and not finished: all studies, and the repeats of each that is done.

        However it ends, by an interruption or an error as well, no trial is left marked as running.
        """
        try:
            studies = self._studies or self._further()
            while studies:
                wanted = [*self._search(studies), *self._repeats(studies)]
                self._agenda = Agenda(wanted, in_turn=self._in_turn)
                yield from self._run()
                studies = self._further()
        except BaseException:
            # The first error says what went wrong.
            with suppress(AeSweepError), self._shield():
                self._abandon()
            raise

    def _further(self) -> Sequence[ConditionStudy]:
        """Open the studies that come next, which is writing."""
        with self._shield():
            self._guard()
            return self._more()

    def _search(self, studies: Sequence[ConditionStudy]) -> Iterator[_Start]:
        """Give the open slots in rounds over the studies, so that a curve is there early."""
        if self._in_turn and self._worker.slots > 1:
            # The trials of the widest take longest, and nothing is to wait for them at the end.
            studies = studies[::-1]
        rounds = itertools.zip_longest(*(study.open_slots() for study in studies))
        for slots in rounds:
            for study, slot in zip(studies, slots, strict=True):
                if slot is not None:
                    yield _Start(study=study, role=Role.SEARCH, number=slot)

    def _repeats(self, studies: Sequence[ConditionStudy]) -> Iterator[_Start]:
        """Give the best configuration of each study again, with the seeds that follow."""
        for number in range(1, self._config.repeats + 1):
            for study in studies:
                yield _Start(study=study, role=Role.REPEAT, number=number)

    def _run(self) -> Iterator[SweepEvent]:
        while self._agenda or self._jobs:
            while len(self._jobs) < self._worker.slots and (start := self._agenda.take()):
                with self._shield():
                    self._guard()
                    job = self._begin(start)
                if job is not None:
                    yield TrialStarted(job.trial)
            if self._jobs:
                event = self._worker.next_event()
                with self._shield():
                    self._guard()
                    happened = self._handle(event)
                yield from happened

    def _begin(self, start: _Start) -> _Job | None:
        """Begin a trial; None where there is nothing to train after all."""
        return self._begin_search(start) if start.role is Role.SEARCH else self._begin_repeat(start)

    def _begin_search(self, start: _Start) -> _Job | None:
        study, slot = start.study, start.number
        ask = study.ask(slot)
        config = self._trial_config(study, ask.params, seed=self._config.seed)
        trial = Trial(name=f"{study.condition} trial {slot}", config=config, role=Role.SEARCH)
        try:
            known = self._tracker.finished(config)
            log = None if known is not None else self._log_of(trial)
        except BaseException:
            with suppress(AeSweepError):  # the first error says what went wrong
                study.fail(ask, reason="not started: the tracker failed")
            raise
        if log is not None:
            return self._submit(_Job(start=start, trial=trial, log=log, ask=ask))
        if known is not None:
            # Finished by a process that was killed before the study heard of it.
            study.complete(ask, val_objective=known)
        return None

    def _begin_repeat(self, start: _Start) -> _Job | None:
        study, number = start.study, start.number
        best = study.best()
        if best is None:
            return None
        config = self._trial_config(study, best.params, seed=self._config.seed + number)
        if self._tracker.finished(config) is not None:
            return None
        if not study.may_repeat(config.hyperparameters, seed=config.seed):
            return None
        name = f"{study.condition} repeat {number}"
        trial = Trial(name=name, config=config, role=Role.REPEAT)
        return self._submit(_Job(start=start, trial=trial, log=self._log_of(trial)))

    def _log_of(self, trial: Trial) -> TrialLog:
        return self._tracker.start_trial(trial.config, name=trial.name, role=trial.role)

    def _submit(self, job: _Job) -> _Job:
        number = next(self._numbers)
        self._jobs[number] = job
        self._agenda.begin(job.trial.config.condition, job.trial.role)
        self._worker.submit(number, job.trial.config)
        return job

    def _handle(self, event: WorkerEvent) -> list[SweepEvent]:
        job = self._jobs[event.job]
        match event:
            case JobValidated(result=result):
                return [TrialValidated(job.trial, result), *self._prune(event.job, job, result)]
            case JobFinished(result=result):
                return [self._finish(event.job, job, result)]
            case JobFailed():
                return [self._fail(event, job)]

    def _prune(self, number: int, job: _Job, result: EpochResult) -> list[SweepEvent]:
        job.log.log_epoch(result)
        if job.ask is None or result.quarter is None:
            return []
        hopeless = job.study.report(
            job.ask, quarter=result.quarter, val_objective=result.val_objective
        )
        if not hopeless or result.quarter == QUARTERS:
            return []
        self._worker.stop(number)
        job.log.prune()
        job.study.prune(job.ask)
        self._end(number)
        return [TrialEnded(job.trial, Outcome.PRUNED)]

    def _finish(self, number: int, job: _Job, result: TrialResult) -> SweepEvent:
        job.log.finish(result)
        if job.ask is not None:
            job.study.complete(job.ask, val_objective=result.val_objective)
        self._end(number)
        return TrialEnded(job.trial, Outcome.FINISHED, result=result)

    def _fail(self, failed: JobFailed, job: _Job) -> SweepEvent:
        reason, diverged = failed.reason, failed.diverged
        job.log.fail(reason)
        if job.ask is not None:
            job.study.fail(job.ask, reason=reason, diverged=diverged)
        else:
            config = job.trial.config
            job.study.fail_repeat(config.hyperparameters, seed=config.seed, diverged=diverged)
        self._end(failed.job, forget=not failed.killed)
        again = not diverged and self._may_go_again(job)
        if again:
            # Before all others, so that the study suggests to those what it would have suggested.
            self._agenda.put_first(job.start)
        return TrialEnded(job.trial, Outcome.FAILED, reason=reason, again=again)

    def _may_go_again(self, job: _Job) -> bool:
        """Return whether a trial has failed less often than it may, in earlier runs as well.

        What diverged is not asked for: this machine would compute the same numbers once more.
        """
        if job.ask is not None:
            return job.study.may_try(job.start.number)
        config = job.trial.config
        return job.study.may_repeat(config.hyperparameters, seed=config.seed)

    def _end(self, number: int, *, forget: bool = True) -> None:
        trial = self._jobs.pop(number).trial
        if forget and self._forget is not None:
            self._forget(trial.config)
        self._agenda.end(trial.config.condition, trial.role)

    def _abandon(self) -> None:
        jobs, self._jobs = self._jobs, {}
        # The stack carries all of it out in reverse order, whatever part of it fails.
        with ExitStack() as stack:
            for number in jobs:
                stack.callback(self._worker.stop, number)
            self._guard()
            stack.callback(self._worker.save)
            for job in jobs.values():
                if job.ask is not None:
                    stack.callback(job.study.fail, job.ask, reason="interrupted")
                stack.callback(job.log.interrupt)

    def _trial_config(
        self, study: ConditionStudy, hyperparameters: Hyperparameters, *, seed: int
    ) -> TrialConfig:
        return TrialConfig(
            latent_dim=study.condition.latent_dim,
            hyperparameters=hyperparameters,
            seed=seed,
            model=study.condition.model,
            recipe=self._config.recipe,
        )
