"""One study: what to train next under one condition, and what came of it.

A study of n wanted trials has n slots. A slot is filled once a trial of it is complete or pruned;
a failed or interrupted one leaves it open, for a resumed sweep to train the same point again.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from ae_sweep.config import Hyperparameters
from ae_sweep.errors import ConflictError
from ae_sweep.sweep.space import (
    all_params,
    derive_seed,
    distributions,
    draw,
    known_good,
    make_sampler,
)
from ae_sweep.sweep.storage import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import optuna

    from ae_sweep.config import Condition, SweepConfig

P = ParamSpec("P")
T = TypeVar("T")

FILLED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Ask:
    """A suggested trial whose end is reported to the study."""

    trial: optuna.Trial
    params: Hyperparameters


@dataclass(frozen=True)
class Best:
    """The complete trial of the lowest validation objective."""

    params: Hyperparameters
    val_objective: float


def _stored(
    method: Callable[Concatenate[ConditionStudy, P], T],
) -> Callable[Concatenate[ConditionStudy, P], T]:
    """Raise what goes wrong with the database as `StoreError`, another driver as a conflict."""

    @functools.wraps(method)
    def call(self: ConditionStudy, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with storage_errors(self.path):
            try:
                return method(self, *args, **kwargs)
            except UpdateFinishedTrialError as error:
                raise ConflictError(
                    f"a trial of {self.condition} that runs here was ended by another process, "
                    "which has taken the sweep over; this process ends"
                ) from error

    return call


class ConditionStudy:
    """One Optuna study, of one condition.

    Every method raises `StoreError` where the database fails: a full disk, another program's lock.

    Parameters
    ----------
    path
        Optuna's database, to be named in messages.
    """

    def __init__(
        self, study: optuna.Study, config: SweepConfig, *, condition: Condition, path: Path
    ) -> None:
        self._study = study
        self._config = config
        self.condition = condition
        self.path = path

    @_stored
    def open_slots(self) -> list[int]:
        """List which of the wanted slots are not filled, in order."""
        filled = {_slot(trial) for trial in self._trials(*FILLED)}
        return [slot for slot in range(self._config.wanted_trials) if slot not in filled]

    @_stored
    def filled(self) -> int:
        """Count the wanted slots that are filled."""
        return self._config.wanted_trials - len(self.open_slots())

    @_stored
    def ask(self, slot: int) -> Ask:
        """Suggest a trial for a slot.

        Depends on the sweep's seed, the latent dimension, the slot, the filled slots and the
        running trials alone. A configuration that the study has seen, or that is being trained, is
        not suggested again.
        """
        seed = derive_seed(self._config.seed, self.condition.latent_dim, slot)
        trials = self._trials(*TrialState)
        self._study.sampler = make_sampler(
            self._config.sampler,
            seed=seed,
            space=self._config.space,
            parallel=any(trial.state == TrialState.RUNNING for trial in trials),
        )
        ask = self._ask(slot, self._planned(slot, trials))
        twin = _twin(ask, slot, trials)
        if twin is None:
            return ask
        ask.trial.set_user_attr("duplicate_of", twin.number)
        value = twin.value if twin.state == TrialState.COMPLETE else None
        state = twin.state if twin.state in FILLED else TrialState.FAIL
        self._study.tell(ask.trial, value, state=state)
        return self._ask(slot, self._unseen(seed, trials))

    @_stored
    def report(self, ask: Ask, *, quarter: int, val_objective: float) -> bool:
        """Take a validation objective at the end of a quarter; return whether to stop the trial."""
        ask.trial.report(val_objective, step=quarter)
        return ask.trial.should_prune()

    @_stored
    def complete(self, ask: Ask, *, val_objective: float) -> None:
        """Fill the slot with a result."""
        self._study.tell(ask.trial, val_objective)

    @_stored
    def prune(self, ask: Ask) -> None:
        """Fill the slot with a trial that was stopped."""
        self._study.tell(ask.trial, state=TrialState.PRUNED)

    @_stored
    def fail(self, ask: Ask, *, reason: str) -> None:
        """Leave the slot open: the trial failed or was interrupted."""
        ask.trial.set_user_attr("failure", reason)
        self._study.tell(ask.trial, state=TrialState.FAIL)

    @_stored
    def reap(self) -> None:
        """Fail the trials that a killed process left running, or waiting to be asked for."""
        while self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._study.ask()  # the next ask would train it, in whatever slot
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)

    @_stored
    def best(self) -> Best | None:
        """Return the complete trial of the lowest objective, the earlier one if equal."""
        complete = [t for t in self._trials(TrialState.COMPLETE) if t.value is not None]
        if not complete:
            return None
        best = min(complete, key=lambda trial: (cast("float", trial.value), trial.number))
        return Best(_configuration(best), cast("float", best.value))

    def _planned(self, slot: int, trials: Sequence[FrozenTrial]) -> Hyperparameters | None:
        """Return what a slot trains by plan: what it had before, the grid's, or the good start."""
        for trial in reversed(trials):
            if trial.state == TrialState.FAIL and _slot(trial) == slot and self._is_whole(trial):
                return _configuration(trial)
        if self._config.sampler == "grid":
            return all_params(self._config.space)[slot]
        return known_good(self._config.space) if slot == 0 else None

    def _ask(self, slot: int, planned: Hyperparameters | None) -> Ask:
        # Enqueued even without a plan: so a trial has its slot from the first moment, whenever the
        # process is killed.
        params = {} if planned is None else self._config.space.values_of(planned)
        self._study.enqueue_trial(params, user_attrs={"slot": slot})
        trial = self._study.ask(distributions(self._config.space))
        return Ask(trial, Hyperparameters(**trial.params))

    def _unseen(self, seed: int, trials: Sequence[FrozenTrial]) -> Hyperparameters:
        rng = random.Random(seed)  # noqa: S311 - no secret
        space = self._config.space
        every = all_params(space)
        if not every:
            return draw(space, rng)
        seen = [_configuration(trial) for trial in trials if self._is_whole(trial)]
        taken = [
            _configuration(trial)
            for trial in trials
            if self._is_whole(trial) and trial.state in (*FILLED, TrialState.RUNNING)
        ]
        return rng.choice(
            [each for each in every if each not in seen]
            or [each for each in every if each not in taken]
        )

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self._config.space.written.keys()

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False, states=states)
        return [trial for trial in trials if "duplicate_of" not in trial.user_attrs]


def _twin(ask: Ask, slot: int, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    # Parameters first: of thousands of trials, hardly any has those of the new one.
    params = ask.trial.params  # read from the database each time
    return next((t for t in trials if t.params == params and _slot(t) != slot), None)


def _slot(trial: FrozenTrial) -> int:
    return cast("int", trial.user_attrs.get("slot", -1))


def _configuration(trial: FrozenTrial) -> Hyperparameters:
    return Hyperparameters(**trial.params)
