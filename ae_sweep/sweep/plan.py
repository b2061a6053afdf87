"""Plan of a sweep: how much is to be trained, and how long it should take."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ae_sweep.config import Range
from ae_sweep.records import QUARTERS, Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ae_sweep.config import Condition, Hyperparameters, SearchSpace, SweepConfig
    from ae_sweep.records import TrialRecord

TrialSeconds: TypeAlias = "Callable[[int, int], float]"

PRUNED_SHARE = 0.4
"""Share of its schedule that a trial trains on average where a pruner may stop it (docs/LOG.md)."""
MAX_SCHEDULES = 100
"""Of a range of epochs, at most this many evenly spaced ones stand for all."""


@dataclass(frozen=True)
class ExpectedTrial:
    """A trial that has not begun."""

    seconds: float
    """Expected, with pruning."""
    share: float
    """Of its schedule, what it trains on average."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is about to train."""

    config: SweepConfig
    open_trials: dict[Condition, int]
    """Trials of its study that are wanted and not finished."""
    open_repeats: dict[Condition, int]
    """Repeats of its best trial that are wanted and not finished. Where dims are chosen, those of
    other dims may come in the place of these, and fewer."""

    @property
    def trials(self) -> int:
        """Trials to train, repeats included."""
        return sum(self.open_trials.values()) + sum(self.open_repeats.values())

    @property
    def max_epochs(self) -> int:
        """Epochs if no trial is pruned and each takes the longest schedule."""
        return self.trials * self.config.space.max_epochs

    def most_seconds(
        self, trial_seconds: TrialSeconds, *, workers: int = 1, in_turn: bool = False
    ) -> float:
        """Estimate the longest this can take.

        Parameters
        ----------
        trial_seconds
            Gives the seconds of a whole trial for a latent_dim and a number of epochs.
        workers
            How many trials run at a time, each as fast as ``trial_seconds`` says.
        in_turn
            Whether the searches of a study run one after the other.
        """
        costliest = _costliest(self.config.space)
        seconds = {
            each: max(trial_seconds(each.latent_dim, epochs) for epochs in costliest)
            for each, count in self.open_trials.items()
            if count + self.open_repeats[each]
        }
        return shared_seconds(
            sum(
                (self.open_trials[each] + self.open_repeats[each]) * of_one
                for each, of_one in seconds.items()
            ),
            longest=max(
                (of_one * self._chain(each, in_turn=in_turn) for each, of_one in seconds.items()),
                default=0.0,
            ),
            workers=workers,
        )

    def expected_seconds(
        self, trial_seconds: TrialSeconds, *, workers: int = 1, in_turn: bool = False
    ) -> float:
        """Estimate how long this takes, with pruning; never longer than ``most_seconds``."""
        groups = self.expected_trials(trial_seconds)
        seconds = {key: [each.seconds for each in group] for key, group in groups.items()}
        longest = max(itertools.chain.from_iterable(seconds.values()), default=0.0)
        if in_turn:
            chains = (
                sum(seconds[each, Role.SEARCH]) + max(seconds[each, Role.REPEAT], default=0.0)
                for each in self.open_trials
            )
            longest = max(chains, default=0.0)
        total = sum(map(sum, seconds.values()))
        return shared_seconds(total, longest=longest, workers=workers)

    def _chain(self, condition: Condition, *, in_turn: bool) -> int:
        """Count the trials of a condition that wait for each other."""
        if not in_turn:
            return 1
        return self.open_trials[condition] + min(self.open_repeats[condition], 1)

    def expected_trials(
        self, trial_seconds: TrialSeconds
    ) -> dict[tuple[Condition, Role], list[ExpectedTrial]]:
        """List the trials by condition and role, in the order in which they begin.

        The first trial of a study takes the longest schedule and is not pruned. Repeats take the
        schedule of the best trial, which is counted as the longest, and are not pruned either. All
        others take a schedule of middling length.
        """
        schedules = _schedules(self.config.space)
        share = 1.0 if self.config.pruner == "none" else PRUNED_SHARE
        trials = {}
        for each, count in self.open_trials.items():
            dim = each.latent_dim
            first = 1 if count == self.config.wanted_trials else 0
            longest = ExpectedTrial(trial_seconds(dim, self.config.space.max_epochs), share=1.0)
            middling = statistics.fmean(trial_seconds(dim, epochs) for epochs in schedules)
            others = [ExpectedTrial(share * middling, share=share)] * (count - first)
            trials[each, Role.SEARCH] = [longest] * first + others
            trials[each, Role.REPEAT] = [longest] * self.open_repeats[each]
        return trials

    @property
    def complete_dims(self) -> frozenset[int]:
        """Planned dims of which nothing is left to train."""
        left = {
            each.latent_dim
            for counts in (self.open_trials, self.open_repeats)
            for each, count in counts.items()
            if count > 0
        }
        return frozenset(each.latent_dim for each in self.open_trials) - left

    def of_dims(self, dims: Collection[int]) -> Plan:
        """Return the plan for some of the dims."""
        return dataclasses.replace(
            self,
            open_trials={e: n for e, n in self.open_trials.items() if e.latent_dim in dims},
            open_repeats={e: n for e, n in self.open_repeats.items() if e.latent_dim in dims},
        )


def shared_seconds(total: float, *, longest: float, workers: int) -> float:
    """Return when the last of some trials ends, at the latest, if no worker is idle without need.

    The longest trial, or chain of trials that wait for each other, may begin last, and run while
    the others have nothing left to do (Graham 1966, "Bounds for certain multiprocessing
    anomalies").

    Parameters
    ----------
    total
        Seconds of all trials.
    longest
        Seconds of the longest trial or chain.
    """
    return (total - longest) / workers + longest


def make_plan(
    config: SweepConfig,
    *,
    filled: Mapping[Condition, int],
    repeated: Mapping[Condition, int] | None = None,
) -> Plan:
    """Count what is wanted and not finished, of all dims.

    Parameters
    ----------
    filled
        Of each condition: wanted trials that are finished already.
    repeated
        Of each condition: wanted repeats that are finished already.
    """
    done = repeated or {}
    return Plan(
        config=config,
        open_trials={
            each: config.wanted_trials - filled.get(each, 0) for each in config.conditions
        },
        open_repeats={each: config.repeats - done.get(each, 0) for each in config.conditions},
    )


def count_filled(
    config: SweepConfig, in_studies: Mapping[Condition, int], trials: Sequence[TrialRecord]
) -> dict[Condition, int]:
    """Count, of each condition, the slots that need no training.

    A study that is missing, because the tracking server is used from another directory, is
    searched anew: it is asked the same points, and those that are finished are not trained again.

    Parameters
    ----------
    in_studies
        Filled slots by condition, as `filled_slots` counts them.
    trials
        Of the sweep, as stored.
    """
    points = {
        trial.point.key: trial.point.condition
        for trial in trials
        if trial.outcome is Outcome.FINISHED and trial.role is Role.SEARCH
    }
    stored = Counter(points.values())
    return {
        each: max(in_studies.get(each, 0), min(stored[each], config.wanted_trials))
        for each in config.conditions
    }


def held_configurations(
    config: SweepConfig, trials: Sequence[TrialRecord]
) -> dict[Condition, set[Hyperparameters]]:
    """Return, by condition, the configurations of searches whose results are stored.

    Parameters
    ----------
    trials
        Of the sweep, as stored.
    """
    held: dict[Condition, set[Hyperparameters]] = {each: set() for each in config.conditions}
    for trial in trials:
        if trial.outcome in (Outcome.FINISHED, Outcome.PRUNED) and trial.point.seed == config.seed:
            held.setdefault(trial.point.condition, set()).add(trial.point.hyperparameters)
    return held


def finished_repeats(config: SweepConfig, trials: Sequence[TrialRecord]) -> dict[Condition, int]:
    """Count, of each condition, the wanted repeats among a sweep's stored trials.

    Repeats of what was the best once, and no longer is are not wanted. Where a study is to be
    gone on with, its best may change, so that this is what is known by now.
    """
    finished = [trial for trial in trials if trial.outcome is Outcome.FINISHED]
    best = _best_settings(trial for trial in finished if trial.role is Role.SEARCH)
    wanted = range(config.seed + 1, config.seed + config.repeats + 1)
    repeats = {
        (trial.point.condition, trial.point.seed)
        for trial in finished
        if trial.role is Role.REPEAT
        and trial.point.seed in wanted
        and best.get(trial.point.condition) == trial.point.hyperparameters
    }
    return dict(Counter(condition for condition, _ in repeats))


def _best_settings(searched: Iterable[TrialRecord]) -> dict[Condition, Hyperparameters]:
    """Return what the lowest objective was reached with by condition, the earlier if equal."""
    lowest: dict[Condition, float] = {}
    best: dict[Condition, Hyperparameters] = {}
    for trial in searched:
        condition, objective = trial.point.condition, trial.val_objective
        if objective is not None and objective < lowest.get(condition, float("inf")):
            lowest[condition] = objective
            best[condition] = trial.point.hyperparameters
    return best


def _schedules(space: SearchSpace) -> Sequence[int]:
    """List epochs that stand for all of a space."""
    epochs = space["epochs"]
    if not isinstance(epochs, Range):
        return epochs.values
    step = -(-(epochs.high - epochs.low + 1) // MAX_SCHEDULES)
    return range(epochs.high, epochs.low - 1, -step)


def _costliest(space: SearchSpace) -> Sequence[int]:
    """List epochs of which one takes the longest.

    It need not be the last one: each quarter of a schedule ends with a validation, so that three
    epochs have more of them than four.
    """
    epochs = space["epochs"]
    if not isinstance(epochs, Range):
        return epochs.values
    return range(max(epochs.low, epochs.high - QUARTERS + 1), epochs.high + 1)
