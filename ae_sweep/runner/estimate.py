"""Estimated time and size of a sweep before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ae_sweep import training
from ae_sweep.config import first_dims
from ae_sweep.records import Role
from ae_sweep.sweep import ExpectedTrial, Forecast
from ae_sweep.sweep.plan import shared_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.locations import Store
    from ae_sweep.runner.engine import Engine
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Plan, Trial

SECONDS_PER_TRIAL = 1.0
"""Tracking, pictures and the model of one trial, in round numbers; `make bench` measures them."""


@runtime_checkable
class Closable(Protocol):
    """An engine that has started something before its worker is opened."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a sweep is about to train and how long it should take."""

    plan: Plan
    setup: SweepSetup
    engine: Engine
    store: Store
    cluster: str | None = None
    """Address of the cluster that trains; None if this machine does."""
    in_turn: bool = False
    """Whether the searches of a study run one after the other."""

    @property
    def trials(self) -> int:
        """Trainings that are still to be done."""
        return self.plan.trials

    @property
    def device(self) -> str:
        """Names of the devices that train."""
        return str(self._place["device"])

    @property
    def device_name(self) -> str:
        """The devices that train, in words."""
        return str(self._place["device_name"])

    @property
    def _place(self) -> Mapping[str, str | int]:
        return {**self.setup.seat, **self.engine.parameters()}

    def close(self) -> None:
        """End what the engine has started to measure; a sweep that has ended has done so."""
        if isinstance(self.engine, Closable):
            self.engine.close()

    @property
    def expected_seconds(self) -> float:
        """Estimated duration with pruning."""
        return self.plan.expected_seconds(
            self._trial_seconds, workers=self.engine.workers, in_turn=self.in_turn
        )

    @property
    def most_seconds(self) -> float:
        """Estimated duration if nothing is pruned."""
        return self.plan.most_seconds(
            self._trial_seconds, workers=self.engine.workers, in_turn=self.in_turn
        )

    @property
    def max_epochs(self) -> int:
        """Epochs if nothing is pruned; of a nested sweep, an equal share of the network's each."""
        if self.plan.config.method == "separate":
            return self.plan.max_epochs
        share = self.plan.config.space.max_epochs / len(self.plan.config.dims)
        return math.ceil(self.plan.trials * (share + training.FINE_TUNING_EPOCHS))

    def document(self) -> dict[str, object]:
        """Return the plan as a JSON-able document."""
        config, setup = self.plan.config, self.setup
        return {
            "sweep": config.name,
            "dims": list(config.dims),
            "trials_per_dim": config.wanted_trials,
            "repeats": config.repeats,
            "auto": self._auto_document(),
            "trials_to_train": self.plan.trials,
            "max_epochs": self.max_epochs,
            "method": config.method,
            **{name: str(domain) for name, domain in config.space.written.items()},
            "sampler": config.sampler,
            "pruner": config.pruner,
            "seed": config.seed,
            "dataset": config.dataset,
            "dataset_digest": setup.card.digest,
            "recipe": config.recipe,
            "model": config.model,
            "models": list(config.models),
            "device": self.device,
            "precision": setup.precision.name,
            "workers": self.engine.workers,
            "threads_per_worker": self.engine.threads,
            "cluster": self.cluster,
            "store": str(self.store.root),
            "tracking_uri": self.store.redacted_tracking_uri,
            "expected_seconds": round(self.expected_seconds, 1),
            "most_seconds": round(self.most_seconds, 1),
        }

    def _auto_document(self) -> dict[str, object] | None:
        config = self.plan.config
        if config.auto is None:
            return None
        question = config.auto.question
        return {
            "question": str(question.kind),
            "target": question.value,
            "first_dims": list(first_dims(config.dims)),
            "most_dims": config.most_dims,
            "most_trainings": config.most_dims * config.trainings_per_dim,
            "minutes": config.auto.minutes,
        }

    def forecast(self) -> Forecast:
        """Return the estimate of the time left, which the sweep's events correct."""
        if self.plan.config.method == "nested":
            return self._nested_forecast()
        return Forecast(
            self.plan.expected_trials(self._trial_seconds),
            trial_seconds=lambda trial: self._trial_seconds(
                trial.config.latent_dim, trial.config.hyperparameters.epochs
            ),
            workers=self.engine.workers,
            in_turn=self.in_turn,
            chosen=self.plan.config.auto is not None,
        )

    def dim_seconds(self, dim: int) -> float:
        """Return the estimated seconds of all trainings of a dim that has none."""
        plan = self.plan
        seconds = self._trial_seconds(dim, plan.config.space.max_epochs)
        per_dim = plan.config.trainings_per_dim
        return shared_seconds(per_dim * seconds, longest=seconds, workers=self.engine.workers)

    def _nested_forecast(self) -> Forecast:
        """Count a network's training for the first dim with its seed, which waits for it."""
        speeds, plan = self.engine.speeds, self.plan
        network = training.nested_network_seconds(speeds, plan.config.space.max_epochs)
        own = {
            dim: training.fine_tuning_seconds(speed) + SECONDS_PER_TRIAL
            for dim, speed in speeds.items()
        }
        expected = {}
        for role, counts in ((Role.SEARCH, plan.open_trials), (Role.REPEAT, plan.open_repeats)):
            first = max(counts, key=lambda condition: counts[condition])
            for each, count in counts.items():
                seconds = own[each.latent_dim] + (network if each == first else 0.0)
                expected[each, role] = [ExpectedTrial(seconds, share=1.0)] * count
        seeds: set[int] = set()

        def trial_seconds(trial: Trial) -> float:
            first = trial.config.seed not in seeds
            seeds.add(trial.config.seed)
            return own[trial.config.latent_dim] + (network if first else 0.0)

        return Forecast(expected, trial_seconds=trial_seconds)

    def _trial_seconds(self, dim: int, epochs: int) -> float:
        speeds = self.engine.speeds
        if self.plan.config.method == "nested":
            return training.nested_trial_seconds(speeds, dim, epochs) + SECONDS_PER_TRIAL
        return speeds[dim].trial_seconds(epochs) + SECONDS_PER_TRIAL
