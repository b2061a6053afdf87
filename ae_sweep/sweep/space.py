"""A search space in Optuna's terms: distributions, samplers, pruners, and the first trial."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from ae_sweep.config import (
    CURRENT_RECIPE,
    PARAMETERS,
    Choices,
    Hyperparameters,
    Range,
    digest,
)
from ae_sweep.config.hyperparameters import GOOD_LR_OF_RECIPE_2
from ae_sweep.records import QUARTERS

if TYPE_CHECKING:
    import random

    from ae_sweep.config import (
        Domain,
        Parameter,
        PrunerName,
        RecipeVersion,
        SamplerName,
        SearchSpace,
    )


MAX_LISTED = 10**6
"""Configurations that are worth a list, which takes memory and seconds."""


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return a space as Optuna's distributions by name; what is at its default is left out."""
    return {name: _distribution(PARAMETERS[name], domain) for name, domain in space.written.items()}


def known_good(space: SearchSpace, *, recipe: RecipeVersion = CURRENT_RECIPE) -> Hyperparameters:
    """Return the first trial of a study: of each parameter the value nearest to a good one."""
    good = {name: parameter.good for name, parameter in PARAMETERS.items()}
    if recipe == "2":
        good["lr"] = GOOD_LR_OF_RECIPE_2
    return Hyperparameters(
        **{name: _nearest(PARAMETERS[name], domain, good[name]) for name, domain in space.domains}
    )


def all_params(
    space: SearchSpace, *, recipe: RecipeVersion = CURRENT_RECIPE
) -> list[Hyperparameters]:
    """List every configuration of a finite space, the known good one first.

    A space with a continuous range, or of more than a million, has no such list: it is empty.
    """
    if space.size is None or space.size > MAX_LISTED:
        return []
    names = [name for name, _ in space.domains]
    product = [
        Hyperparameters(**dict(zip(names, values, strict=True)))
        for values in itertools.product(*(_values(domain) for _, domain in space.domains))
    ]
    first = known_good(space, recipe=recipe)
    return [first, *(each for each in product if each != first)]


def draw(space: SearchSpace, rng: random.Random) -> Hyperparameters:
    """Draw a configuration at random, each parameter by its scale."""
    drawn = {
        name: _draw(PARAMETERS[name], domain, rng)
        for name, domain in space.domains
        if not space.is_default(name)  # no number is drawn for it
    }
    return Hyperparameters(**drawn)


def _distribution(parameter: Parameter, domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.values)
    log = parameter.scale == "log"
    if parameter.kind is int:
        return IntDistribution(domain.low, domain.high, log=log)
    return FloatDistribution(domain.low, domain.high, log=log)


def _nearest(parameter: Parameter, domain: Domain, good: float) -> Any:
    if isinstance(domain, Range):
        return parameter.kind(min(max(good, domain.low), domain.high))
    if parameter.scale == "log" and good > 0 and all(value > 0 for value in domain.values):
        return min(domain.values, key=lambda value: abs(math.log(value / good)))
    return min(domain.values, key=lambda value: abs(value - good))


def _draw(parameter: Parameter, domain: Domain, rng: random.Random) -> Any:
    if isinstance(domain, Choices):
        return rng.choice(domain.values)
    low, high = domain.low, domain.high
    if parameter.kind is int and parameter.scale == "linear":
        return rng.choice(range(low, high + 1))
    if parameter.kind is int:  # every integer gets the share of the logarithmic axis around it
        low, high = low - 0.5, high + 0.5
    share = rng.random()
    value = low * (high / low) ** share if parameter.scale == "log" else low + share * (high - low)
    return min(
        max(parameter.kind(round(value) if parameter.kind is int else value), domain.low),
        domain.high,
    )


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
    """TPE that is given its space.

    Optuna's own finds it by comparing the distributions of all trials of the study, at every ask of
    a fresh sampler: a third of an ask with 2,000 trials. Those of one study are all the same.
    """

    def __init__(self, space: SearchSpace, *, seed: int, parallel: bool = False) -> None:
        # One ask at a time needs no liar, and without one Optuna reads its trials from a cache.
        super().__init__(seed=seed, constant_liar=parallel)
        ordered = sorted(distributions(space).items())
        self._searched = {name: found for name, found in ordered if not found.single()}

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: optuna.trial.FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return what is suggested together: everything that is not one fixed value."""
        return dict(self._searched)


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


def _values(domain: Domain) -> tuple[Any, ...] | range:
    if isinstance(domain, Choices):
        return domain.values
    return range(int(domain.low), int(domain.high) + 1)
