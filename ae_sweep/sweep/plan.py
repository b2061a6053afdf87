"""Owns the plan of a sweep: how much is to be trained, before any of it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.config import SweepConfig

TrialSeconds: TypeAlias = "Callable[[int, int], float]"

PRUNED_SHARE = 0.4
"""Share of its schedule that a trial trains on average where a pruner may stop it (docs/LOG.md)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is about to train."""

    config: SweepConfig
    open_trials: dict[int, int]
    """By latent_dim: trials of its study that are wanted and not finished."""

    @property
    def trials(self) -> int:
        """Trials to train, repeats included (those of an earlier call are found on the way)."""
        return sum(self.open_trials.values()) + self.config.repeats * len(self.config.dims)

    @property
    def max_epochs(self) -> int:
        """Epochs if no trial is pruned and each takes the longest schedule."""
        return self.trials * self.config.space.max_epochs

    def most_seconds(self, trial_seconds: TrialSeconds, *, workers: int = 1) -> float:
        """Foretell the longest this can take.

        Parameters
        ----------
        trial_seconds
            Tells the seconds of a whole trial, given latent_dim and epochs.
        workers
            How many trials run at a time, each as fast as told.
        """
        longest = self.config.space.max_epochs
        trials = [
            (count + self.config.repeats, trial_seconds(dim, longest))
            for dim, count in self.open_trials.items()
        ]
        return _shared(trials, workers)

    def expected_seconds(self, trial_seconds: TrialSeconds, *, workers: int = 1) -> float:
        """Foretell how long this takes, with schedules of middling length and pruning.

        The first trial of a study and its repeats take the longest schedule and are not pruned.
        """
        epochs = self.config.space.mean_epochs
        share = 1.0 if self.config.pruner == "none" else PRUNED_SHARE
        longest = self.config.space.max_epochs
        trials = []
        for dim, count in self.open_trials.items():
            whole = self.config.repeats + (1 if count == self.config.wanted_trials else 0)
            others = count + self.config.repeats - whole
            trials.append((whole, trial_seconds(dim, longest)))
            trials.append((others, share * trial_seconds(dim, 1) * epochs))
        return _shared(trials, workers)


def _shared(trials: Sequence[tuple[int, float]], workers: int) -> float:
    """Foretell when the last of some trials ends, at the latest, if no worker waits for another.

    The longest trial may begin last, and run while the others have nothing left to do (Graham 1966,
    "Bounds for certain multiprocessing anomalies").

    Parameters
    ----------
    trials
        How many there are, and the seconds of each.
    """
    total = sum(count * seconds for count, seconds in trials)
    longest = max((seconds for count, seconds in trials if count), default=0.0)
    return (total - longest) / workers + longest


def make_plan(config: SweepConfig, *, filled: Mapping[int, int]) -> Plan:
    """Count what is wanted and not finished.

    Parameters
    ----------
    filled
        By latent_dim: wanted trials that are finished already.
    """
    return Plan(
        config=config,
        open_trials={dim: config.wanted_trials - filled.get(dim, 0) for dim in config.dims},
    )
