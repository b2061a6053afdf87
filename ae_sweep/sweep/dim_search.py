"""Dims of a sweep that are chosen while it runs, from the results that are stored so far."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.analysis.dim_choice import MOST_AT_ONCE, answer_of, next_dims
from ae_sweep.config import first_dims
from ae_sweep.messages import ignore, in_words
from ae_sweep.records import Outcome, Role
from ae_sweep.sweep.driver import TrialEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ae_sweep.analysis.dim_choice import DimAnswer
    from ae_sweep.config import AutoDims, Hyperparameters, SweepConfig
    from ae_sweep.records import TrialRecord
    from ae_sweep.sweep.driver import SweepEvent


@dataclass(frozen=True, kw_only=True)
class _Result:
    """A finished training of one dim."""

    hyperparameters: Hyperparameters
    seed: int
    role: Role
    val_objective: float
    test_mse: float


class DimSearch:
    """Chooses the dims of a sweep, a round at a time.

    The first round is the first grid. Each further one has the dims that most reduce the
    uncertainty of the answer, and is chosen when all trainings of the rounds before have ended. So
    a choice depends on stored results alone, not on which of several workers was faster, and a
    resumed sweep, which goes through the rounds again, comes to the dims of an undisturbed one.

    Where stored dims are not those of such rounds, since another question, grid or number of
    workers was given, those that are unfinished are completed first, and all count from then on.

    Parameters
    ----------
    config
        A sweep whose dims are chosen.
    trials
        Of the sweep, as stored.
    complete
        Stored dims of which nothing is left to train.
    at_once
        Dims of a round, at most.
    dim_seconds
        Returns the estimated seconds of all trainings of a dim.
    announce
        Called with a line on each choice, and on why there is none.
    clock
        Returns seconds; the budget in minutes begins when this is made.
    """

    def __init__(
        self,
        config: SweepConfig,
        *,
        trials: Iterable[TrialRecord] = (),
        complete: Collection[int] = (),
        at_once: int = 1,
        dim_seconds: Callable[[int], float] = lambda _dim: 0.0,
        announce: Callable[[str], None] = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert config.auto is not None, "its dims are listed"  # noqa: S101
        self._config = config
        self._auto: AutoDims = config.auto
        self._at_once = at_once
        self._dim_seconds = dim_seconds
        self._announce = announce
        self._clock = clock
        self._started = clock()
        self._results: dict[int, list[_Result]] = defaultdict(list)
        self._begun: set[int] = set()
        self._complete = set(complete)
        self._round: tuple[int, ...] = ()
        self._chosen: dict[object, tuple[int, ...]] = {}
        """By what was known."""
        for trial in trials:
            self._note_stored(trial)

    def take(self, event: SweepEvent) -> None:
        """Note what has happened to a trial."""
        if isinstance(event, TrialEnded) and event.result is not None:
            config, result = event.trial.config, event.result
            self._results[config.latent_dim].append(
                _Result(
                    hyperparameters=config.hyperparameters,
                    seed=config.seed,
                    role=event.trial.role,
                    val_objective=result.val_objective,
                    test_mse=result.test_mse,
                )
            )

    @property
    def begun(self) -> frozenset[int]:
        """Dims with trainings, finished or not."""
        return frozenset(self._begun)

    @property
    def measured(self) -> dict[int, float]:
        """Mean test MSE of the best configuration of each dim of which nothing is left to train."""
        values = {dim: _test_mse(self._results[dim]) for dim in sorted(self._complete)}
        return {dim: value for dim, value in values.items() if value is not None}

    @property
    def answer(self) -> DimAnswer | None:
        """The answer by what is measured; None before anything is."""
        known = self.measured
        return answer_of(self._usable(), known, self._auto.question) if known else None

    def next_round(self) -> tuple[int, ...]:
        """Choose the dims to train next, ascending; none where the sweep has come to its end.

        All trainings of those that were chosen last have ended by now, whatever failed of them.
        """
        self._complete |= set(self._round)
        chosen = self.peek()
        answer = self.answer
        if answer is not None and (chosen or self._begun):
            then = f"next d={', '.join(map(str, chosen))}" if chosen else self._reason(answer)
            self._announce(f"{answer.sentence}; {then}")
        self._begun |= set(chosen)
        self._round = chosen
        return chosen

    def peek(self) -> tuple[int, ...]:
        """Return what would be chosen next."""
        replayed, following = self._replay()
        if self._begun <= replayed | set(following):
            chosen = tuple(dim for dim in following if dim not in self._complete)
        elif unfinished := self._begun - self._complete:
            return tuple(sorted(unfinished))
        else:
            chosen = self._choose(self._complete)
        return self._affordable(chosen)

    def _replay(self) -> tuple[set[int], tuple[int, ...]]:
        """Go through the rounds that are complete; return their dims, and the next round."""
        done: set[int] = set()
        following = self._choose(done)
        while following and self._complete.issuperset(following):
            done |= set(following)
            following = self._choose(done)
        return done, following

    def _choose(self, known: Collection[int]) -> tuple[int, ...]:
        """Choose a round by the results of some dims, as if there were no others."""
        measured = {dim: mse for dim, mse in self.measured.items() if dim in known}
        room = self._config.most_dims - len(known)
        failed = frozenset(known).difference(measured)
        if room <= 0:
            return ()
        key = frozenset(measured.items()), failed, room
        if key not in self._chosen:  # each round is gone through again at every choice
            self._chosen[key] = next_dims(
                self._config.dims,
                measured,
                self._auto.question,
                count=min(self._at_once, room),
                unusable=failed,
            )
        return self._chosen[key]

    def _affordable(self, chosen: tuple[int, ...]) -> tuple[int, ...]:
        """Leave out dims that would end behind the last minute; the first grid never."""
        first = first_dims(self._config.dims)
        if self._auto.minutes is None or not self._complete.issuperset(first):
            return chosen
        left = 60 * self._auto.minutes - (self._clock() - self._started)
        return tuple(dim for dim in chosen if dim in self._begun or self._dim_seconds(dim) <= left)

    def _reason(self, answer: DimAnswer) -> str:
        if answer.settled:
            return "no further dim is needed"
        if len(self._begun) >= self._config.most_dims:
            if len(self._begun) == len(self._config.dims):
                return "all dims of the grid are trained"
            return (
                f"the budget of {self._config.most_dims * self._config.trainings_per_dim} "
                "trainings is used; --resume --trainings N goes on"
            )
        if self._auto.minutes is not None:
            return (
                f"no further dim ends within {in_words(60 * self._auto.minutes)}; --resume goes on"
            )
        return "no further dim can be trained"

    def _usable(self) -> tuple[int, ...]:
        failed = self._complete - self.measured.keys()
        return tuple(dim for dim in self._config.dims if dim not in failed)

    def _note_stored(self, trial: TrialRecord) -> None:
        dim = trial.point.latent_dim
        if dim not in self._config.dims:
            return
        self._begun.add(dim)
        objective = trial.val_objective
        if trial.outcome is Outcome.FINISHED and objective is not None:
            if trial.test_mse is None:
                return
            self._results[dim].append(
                _Result(
                    hyperparameters=trial.point.hyperparameters,
                    seed=trial.point.seed,
                    role=trial.role,
                    val_objective=objective,
                    test_mse=trial.test_mse,
                )
            )


def dims_at_once(config: SweepConfig, workers: int) -> int:
    """Return of how many dims the trainings keep some workers at work."""
    return min(math.ceil(workers / config.trainings_per_dim), MOST_AT_ONCE)


def _test_mse(results: Sequence[_Result]) -> float | None:
    """Return the test MSE of the best search by validation, the mean over its seeds.

    As `ae_sweep.analysis.frontier` reports it.
    """
    searched = [each for each in results if each.role is Role.SEARCH]
    if not searched:
        return None
    best = min(
        searched,
        key=lambda each: (each.val_objective, each.hyperparameters.epochs, each.hyperparameters.lr),
    )
    by_seed: Mapping[int, float] = {
        each.seed: each.test_mse for each in results if each.hyperparameters == best.hyperparameters
    }
    return statistics.fmean(mse for _, mse in sorted(by_seed.items()))
