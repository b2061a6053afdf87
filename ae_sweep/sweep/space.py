"""Owns how a search space is told to Optuna: distributions, samplers, pruners, the good start."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, TypedDict, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from ae_sweep.config import Choices, Range, SearchSpace, digest
from ae_sweep.records import QUARTERS

if TYPE_CHECKING:
    import random

    from ae_sweep.config import PrunerName, SamplerName

Number = TypeVar("Number", int, float)

GOOD_LR = 4e-3
"""A learning rate known to train every latent_dim well with the recipe (docs/LOG.md)."""


class Params(TypedDict):
    """What a study chooses for one trial."""

    lr: float
    epochs: int


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return a space in Optuna's words: choices are categorical, lr's range is log-uniform."""
    lr: BaseDistribution = (
        optuna.distributions.FloatDistribution(space.lr.low, space.lr.high, log=True)
        if isinstance(space.lr, Range)
        else CategoricalDistribution(space.lr.values)
    )
    epochs: BaseDistribution = (
        optuna.distributions.IntDistribution(space.epochs.low, space.epochs.high)
        if isinstance(space.epochs, Range)
        else CategoricalDistribution(space.epochs.values)
    )
    return {"lr": lr, "epochs": epochs}


def known_good(space: SearchSpace) -> Params:
    """Choose the first trial of a study: the learning rate nearest the good one, all epochs."""
    lr = space.lr
    if isinstance(lr, Range):
        return Params(lr=min(max(GOOD_LR, lr.low), lr.high), epochs=space.max_epochs)
    nearest = min(lr.values, key=lambda value: abs(math.log(value / GOOD_LR)))
    return Params(lr=nearest, epochs=space.max_epochs)


def all_params(space: SearchSpace) -> list[Params]:
    """List every configuration of a finite space, the known good one first.

    A learning rate that is a range has no such list: it is empty.
    """
    if isinstance(space.lr, Range):
        return []
    epochs = _values(space.epochs)
    product = [Params(lr=lr, epochs=n) for lr, n in itertools.product(space.lr.values, epochs)]
    first = known_good(space)
    return [first, *(params for params in product if params != first)]


def draw(space: SearchSpace, rng: random.Random) -> Params:
    """Draw a configuration at random, lr log-uniformly from a range."""
    lr = space.lr
    if isinstance(lr, Range):
        value = min(max(lr.low * (lr.high / lr.low) ** rng.random(), lr.low), lr.high)
    else:
        value = rng.choice(lr.values)
    return Params(lr=value, epochs=rng.choice(_values(space.epochs)))


def make_sampler(
    name: SamplerName, *, seed: int, space: SearchSpace, parallel: bool = False
) -> optuna.samplers.BaseSampler:
    """Make a fresh sampler for one ask.

    ``grid`` suggests nothing by itself: a study hands it the product of the choices, point by
    point, so that only missing points are run.

    Parameters
    ----------
    parallel
        Whether other trials of the study are running: TPE then keeps away from them.
    """
    if name == "tpe":
        return SpacedTPE(space, seed=seed, parallel=parallel)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


class SpacedTPE(optuna.samplers.TPESampler):
    """TPE that is told its space.

    Optuna's own finds it by comparing the distributions of all trials of the study, at every ask of
    a fresh sampler: a third of an ask with 2,000 trials. Those of one study are all the same.
    """

    def __init__(self, space: SearchSpace, *, seed: int, parallel: bool = False) -> None:
        # One ask at a time needs no liar, and without one Optuna reads its trials from a cache.
        super().__init__(seed=seed, constant_liar=parallel)
        told = sorted(distributions(space).items())
        self._told = {name: found for name, found in told if not found.single()}

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: optuna.trial.FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Tell what is suggested together: everything that is no fixed value."""
        return dict(self._told)


def make_pruner(name: PrunerName) -> optuna.pruners.BasePruner:
    """Make a pruner; its steps are the quarters of a schedule."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=1)
    if name == "hyperband":
        return QuarterHyperband()
    return optuna.pruners.NopPruner()


class QuarterHyperband(optuna.pruners.BasePruner):
    """Asynchronous Hyperband (Li et al. 2018, arXiv:1810.05934) over the quarters of a schedule.

    At each rung, a trial goes on if it is among the better half of those of its bracket that came
    so far. Optuna's own deals brackets out by trial number and counts interrupted trials, so that a
    resumed sweep would stop other trials than an undisturbed one; here they go by slot.
    """

    RUNGS = (1, 2, QUARTERS)
    BRACKETS = (0, 1, 0, 0, 2, 1, 0, 2, 1, 2)
    """How many rungs a trial passes untested, by slot, in Hyperband's proportions of 4 : 3 : 3."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether a trial is to be stopped at the quarter it reported last."""
        quarter, bracket = trial.last_step, self._bracket(trial)
        if quarter not in self.RUNGS[bracket:]:
            return False
        values = [
            other.intermediate_values[quarter]
            for other in study.get_trials(deepcopy=False)
            if other.state != TrialState.FAIL
            and quarter in other.intermediate_values
            and self._bracket(other) == bracket
        ]
        promoted = max(len(values) // 2, 1)
        return trial.intermediate_values[quarter] > sorted(values)[promoted - 1]

    def _bracket(self, trial: optuna.trial.FrozenTrial) -> int:
        slot: int = trial.user_attrs.get("slot", 0)
        return self.BRACKETS[slot % len(self.BRACKETS)]


def derive_seed(*parts: int) -> int:
    """Make one seed of several numbers, the same in every process."""
    return int(digest(parts)[:8], 16)


def _values(values: Choices[Number] | Range[Number]) -> tuple[Number, ...] | range:
    if isinstance(values, Choices):
        return values.values
    return range(int(values.low), int(values.high) + 1)
