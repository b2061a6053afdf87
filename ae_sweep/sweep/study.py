"""One study: what to train next under one condition, and what came of it.

A study of n wanted trials has n slots. A slot is filled once a trial of it is complete or pruned
and as long as the tracking store has its result. A failed or interrupted one leaves it open, for a
resumed sweep to train the same point again, until it has failed too often.
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
from ae_sweep.sweep.tries import (
    DIVERGED,
    FAILED_REPEATS,
    FAILURE,
    FILLED,
    LOST,
    configuration,
    given_up_slots,
    is_duplicate,
    lost_numbers,
    repeat_key,
    slot_of,
    with_failed_repeat,
    worth_trying,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    import optuna

    from ae_sweep.config import Condition, SweepConfig

    Held = Collection[Hyperparameters]

P = ParamSpec("P")
T = TypeVar("T")


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
    held
        Configurations whose results the tracking store has; None does not ask it.
    """

    def __init__(
        self,
        study: optuna.Study,
        config: SweepConfig,
        *,
        condition: Condition,
        path: Path,
        held: Held | None = None,
    ) -> None:
        self._study = study
        self._config = config
        self.condition = condition
        self.path = path
        with storage_errors(path):
            self._lost = frozenset(
                lost_numbers(
                    study.get_trials(deepcopy=False, states=FILLED),
                    held=held,
                    known=study.user_attrs.get(LOST, ()),
                )
            )

    @_stored
    def open_slots(self) -> list[int]:
        """List which of the wanted slots are to be trained, in order."""
        closed = {slot_of(trial) for trial in self._trials(*FILLED)} | self._given_up()
        return [slot for slot in range(self._config.wanted_trials) if slot not in closed]

    @_stored
    def filled(self) -> int:
        """Count the wanted slots that need no training: filled, or given up."""
        return self._config.wanted_trials - len(self.open_slots())

    @_stored
    def given_up(self) -> int:
        """Count the wanted slots that are not filled and have failed too often."""
        filled = {slot_of(trial) for trial in self._trials(*FILLED)}
        return len((self._given_up() - filled) & set(range(self._config.wanted_trials)))

    @_stored
    def may_try(self, slot: int) -> bool:
        """Return whether a slot has not failed too often to be tried again."""
        return slot not in self._given_up()

    def _given_up(self) -> frozenset[int]:
        return given_up_slots(self._trials(TrialState.FAIL), retries=self._config.retries)

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
        ask = self._ask(slot, self._planned(slot))
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
        self._tell(ask, val_objective)

    @_stored
    def prune(self, ask: Ask) -> None:
        """Fill the slot with a trial that was stopped."""
        self._tell(ask, state=TrialState.PRUNED)

    @_stored
    def fail(self, ask: Ask, *, reason: str, diverged: bool = False) -> None:
        """Leave the slot open: the trial failed or was interrupted."""
        ask.trial.set_user_attr(FAILURE, reason)
        if diverged:
            ask.trial.set_user_attr(DIVERGED, True)
        self._tell(ask, state=TrialState.FAIL)

    def _tell(
        self, ask: Ask, val_objective: float | None = None, *, state: TrialState | None = None
    ) -> None:
        try:
            self._study.tell(ask.trial, val_objective, state=state)
        except ValueError as error:
            if not str(error).endswith(" trial."):
                raise
            raise UpdateFinishedTrialError(str(error)) from error

    @_stored
    def fail_repeat(self, params: Hyperparameters, *, seed: int, diverged: bool) -> None:
        """Note that a repeat of the best trial has failed."""
        failures = self._study.user_attrs.get(FAILED_REPEATS, {})
        key = repeat_key(params, seed=seed)
        self._study.set_user_attr(
            FAILED_REPEATS, with_failed_repeat(failures, key, diverged=diverged)
        )

    @_stored
    def may_repeat(self, params: Hyperparameters, *, seed: int) -> bool:
        """Return whether a repeat has not failed too often."""
        failures = self._study.user_attrs.get(FAILED_REPEATS, {})
        failed, diverged = failures.get(repeat_key(params, seed=seed), (0, 0))
        return worth_trying(failed, diverged, retries=self._config.retries)

    @_stored
    def reap(self) -> None:
        """Fail the trials that a killed process left running, or waiting to be asked for.

        Those whose results are gone from the tracking store are noted.
        """
        if set(self._study.user_attrs.get(LOST, ())) != self._lost:
            self._study.set_user_attr(LOST, sorted(self._lost))
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
        return Best(configuration(best), cast("float", best.value))

    def _planned(self, slot: int) -> Hyperparameters | None:
        """Return what a slot trains by plan: what it had before, the grid's, or the good start."""
        for trial in reversed(self._study.get_trials(deepcopy=False)):
            if slot_of(trial) != slot or is_duplicate(trial) or not self._is_whole(trial):
                continue
            if trial.state == TrialState.FAIL or trial.number in self._lost:
                return configuration(trial)
        if self._config.sampler == "grid":
            return all_params(self._config.space, recipe=self._config.recipe)[slot]
        if slot > 0:
            return None
        return known_good(self._config.space, recipe=self._config.recipe)

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
        seen = [configuration(trial) for trial in trials if self._is_whole(trial)]
        taken = [
            configuration(trial)
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
        return [
            trial for trial in trials if not is_duplicate(trial) and trial.number not in self._lost
        ]


def _twin(ask: Ask, slot: int, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    # Parameters first: of thousands of trials, hardly any has those of the new one.
    params = ask.trial.params  # read from the database each time
    return next((t for t in trials if t.params == params and slot_of(t) != slot), None)
