"""Time left of a running sweep: the plan's estimate, corrected by how long its trials take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ae_sweep.records import Outcome, Role
from ae_sweep.sweep.driver import TrialEnded, TrialStarted, TrialValidated
from ae_sweep.sweep.plan import shared_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.config import Condition
    from ae_sweep.records import EpochResult
    from ae_sweep.sweep.driver import SweepEvent, Trial
    from ae_sweep.sweep.plan import ExpectedTrial

PLAN_SHARE = 0.02
"""Weight of the plan's speed, as a share of all planned work. The plan measured for seconds: once a
fiftieth of the work is done, the pace seen since counts as much."""


class Forecast:
    """Estimates the time left of a sweep.

    Trials are weighed by their planned seconds, so that one of latent_dim 1,024 counts for more
    than one of 2, and a pruned one for what it trained. What is uncertain is the pace: real seconds
    per planned second. Its estimate is the posterior mean of a gamma-distributed pace, (prior +
    seconds worked) / (prior + planned seconds of that work), whose prior expects 1 with the weight
    of ``PLAN_SHARE``. Seconds in which the first process of each worker starts, a checkpoint is
    loaded, or a trial hangs until it is given up are no work.

    Parameters
    ----------
    expected
        Trials to train by condition and role, in the order in which they begin.
    trial_seconds
        Returns the planned seconds of a whole trial that has begun.
    workers
        How many trials run at a time.
    in_turn
        Whether the searches of a study run one after the other.
    chosen
        Whether the dims are chosen while the sweep runs: one that is not expected takes the place
        of one that is and has not begun.
    """

    def __init__(
        self,
        expected: Mapping[tuple[Condition, Role], Sequence[ExpectedTrial]],
        *,
        trial_seconds: Callable[[Trial], float],
        workers: int = 1,
        in_turn: bool = False,
        chosen: bool = False,
    ) -> None:
        self._in_turn = in_turn
        self._chosen = chosen
        self._waiting = {key: _Waiting(trials) for key, trials in expected.items()}
        self._trial_seconds = trial_seconds
        self._workers = workers
        self._prior = PLAN_SHARE * sum(each.seconds for each in self._waiting.values())
        self._running: dict[str, _Running] = {}
        self._new_processes = workers if workers > 1 else 0  # that have been given no trial yet
        self._worked_seconds = self._planned_seconds = 0.0  # of trials that have ended

    def take(self, event: SweepEvent, *, now: float) -> None:
        """Note what has happened.

        Parameters
        ----------
        now
            In seconds of any monotonic clock, the same for all events.
        """
        trial = event.trial
        match event:
            case TrialStarted():
                self._running[trial.name] = self._started(trial, now)
            case TrialValidated(result=result):
                epochs = trial.config.hyperparameters.epochs
                self._running[trial.name].note(result, epochs=epochs, now=now)
            case TrialEnded(outcome=outcome, again=again):
                ended = self._running.pop(trial.name)
                waiting = self._waiting.get((trial.config.condition, trial.role))
                if again and waiting is not None:
                    waiting.put_back()
                share = (1.0 if outcome is Outcome.FINISHED else ended.done) - ended.restored
                if share > 0:  # one that trained nothing says nothing of the pace
                    end = ended.noted if outcome is Outcome.FAILED else now
                    self._worked_seconds += end - ended.started
                    self._planned_seconds += share * ended.planned_seconds

    @property
    def pace(self) -> float:
        """Real seconds per planned second of work, 1 where the plan is right."""
        running = self._running.values()
        worked = self._worked_seconds + sum(each.noted - each.started for each in running)
        planned = self._planned_seconds + sum(
            (each.done - each.restored) * each.planned_seconds for each in running
        )
        weight = self._prior + planned
        return (self._prior + worked) / weight if weight > 0 else 1.0

    @property
    def seconds_left(self) -> float:
        """Estimated seconds from the last event to the end of the sweep."""
        waiting, running = self._waiting.values(), self._running.values()
        total = sum(each.seconds for each in waiting) + sum(each.left_seconds for each in running)
        longest = max(
            [*(each.longest for each in waiting), *(each.left_seconds for each in running)],
            default=0.0,
        )
        if self._in_turn:
            longest = max(longest, *self._chains(), 0.0)
        return self.pace * shared_seconds(total, longest=longest, workers=self._workers)

    def _chains(self) -> list[float]:
        """Return the planned seconds of each study's searches that are left, and of a repeat."""
        left = dict.fromkeys((condition for condition, _ in self._waiting), 0.0)
        for (condition, role), waiting in self._waiting.items():
            left[condition] += waiting.seconds if role is Role.SEARCH else waiting.longest
        for each in self._running.values():
            left[each.condition] = left.get(each.condition, 0.0) + each.left_seconds
        return list(left.values())

    def _started(self, trial: Trial, now: float) -> _Running:
        condition = trial.config.condition
        if self._chosen and (condition, Role.SEARCH) not in self._waiting:
            self._take_a_place(condition)
        if trial.role is Role.REPEAT and (searches := self._waiting.get((condition, Role.SEARCH))):
            searches.drop()  # those that wait still were found to be finished
        waiting = self._waiting.get((condition, trial.role))
        in_new_process = self._new_processes > 0
        self._new_processes -= in_new_process
        return _Running(
            condition=condition,
            planned_seconds=self._trial_seconds(trial),
            expected_share=waiting.begin() if waiting else 1.0,
            started=now,
            noted=now,
            in_new_process=in_new_process,
        )

    def _take_a_place(self, condition: Condition) -> None:
        """Expect the trials of a condition instead of those of one that has not begun."""
        free = [
            other
            for other, role in self._waiting
            if role is Role.SEARCH and self._waiting[other, role].untouched
        ]
        for role in Role if free else ():
            if (waiting := self._waiting.pop((free[-1], role), None)) is not None:
                self._waiting[condition, role] = waiting


class _Waiting:
    """Trials of one condition and role that have not begun."""

    def __init__(self, trials: Sequence[ExpectedTrial]) -> None:
        backwards = [each.seconds for each in reversed(trials)]
        self._shares = [each.share for each in trials]
        self._left = [*accumulate(backwards, initial=0.0)][::-1]
        self._longest = [*accumulate(backwards, max, initial=0.0)][::-1]
        self._begun = 0

    @property
    def seconds(self) -> float:
        """Planned seconds of all."""
        return self._left[self._begun]

    @property
    def longest(self) -> float:
        """Planned seconds of the longest."""
        return self._longest[self._begun]

    @property
    def untouched(self) -> bool:
        """Whether there are some, and none has begun."""
        return self._begun == 0 < len(self._shares)

    def begin(self) -> float:
        """Return the share of its schedule that the next one trains on average; it has begun."""
        if self._begun == len(self._shares):
            return 1.0
        self._begun += 1
        return self._shares[self._begun - 1]

    def put_back(self) -> None:
        """Expect the one that began last once more."""
        self._begun = max(self._begun - 1, 0)

    def drop(self) -> None:
        """Expect no more of them."""
        self._begun = len(self._shares)


@dataclass
class _Running:
    """A trial that runs; times are those of the caller's clock."""

    condition: Condition
    planned_seconds: float
    """Of all of it, if it is not pruned."""
    expected_share: float
    started: float
    noted: float
    """When ``done`` was measured."""
    in_new_process: bool = False
    """Whether it may have waited for its process to start, until its first validation."""
    done: float = 0.0
    """Share of its schedule that was trained."""
    restored: float = 0.0
    """Share of its schedule that was trained before an interruption."""

    @property
    def left_seconds(self) -> float:
        """Planned seconds that are left of it on average."""
        return (1 - self.done) * self.expected_share * self.planned_seconds

    def note(self, result: EpochResult, *, epochs: int, now: float) -> None:
        """Note how far it is; fine-tuning behind the schedule's end is not part of it."""
        if result.restored:
            self.started = now
        elif self.in_new_process:
            # The seconds of that validation are left out with those of the start.
            self.started = max(self.started, now - result.epoch * result.epoch_seconds)
        self.in_new_process = False
        share = result.epoch / epochs
        if share < 1 or result.quarter is not None:
            self.done, self.noted = min(share, 1.0), now
        if result.restored:
            self.restored = self.done
