"""Owns how a plan is told before a sweep begins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep import training
from ae_sweep.cli.console import counted, in_words

if TYPE_CHECKING:
    from ae_sweep.cli.crew import Crew
    from ae_sweep.locations import Store
    from ae_sweep.sweep import Plan

SECONDS_PER_TRIAL = 1.0
"""Tracking, pictures and the model of one trial, in round numbers; `make bench` measures them."""


class Outlook:
    """What a sweep is about to do and how long it should take."""

    def __init__(self, plan: Plan, crew: Crew, *, store: Store) -> None:
        self._plan = plan
        self._prepared = crew.prepared
        self._store = store
        self.crew = crew

    @property
    def trials(self) -> int:
        """How many trainings there are to come."""
        return self._plan.trials

    @property
    def expected_seconds(self) -> float:
        """How long the sweep should take, with pruning."""
        return self._plan.expected_seconds(self._trial_seconds, workers=self.crew.workers)

    @property
    def most_seconds(self) -> float:
        """How long the sweep would take if nothing were pruned."""
        return self._plan.most_seconds(self._trial_seconds, workers=self.crew.workers)

    def lines(self) -> list[str]:
        """Write the plan for a reader."""
        config, plan = self._plan.config, self._plan
        card = self._prepared.card
        seeds = counted(config.repeats, "other seed")
        repeats = f", each best again with {seeds}" if config.repeats else ""
        return [
            f"sweep    {config.name}",
            (
                f"plan     {counted(len(config.conditions), 'study', 'studies')} "
                f"(d = {', '.join(map(str, config.dims))}{self._setting()}) × "
                f"{counted(config.wanted_trials, 'trial')}{repeats}: {plan.trials} to train, "
                f"at most {counted(self._max_epochs, 'epoch')}"
            ),
            f"model    {config.model}",
            *self._method_lines(),
            (
                f"search   lr {config.space.lr}, epochs {config.space.epochs}; "
                f"sampler {config.sampler}, pruner {config.pruner}, seed {config.seed}"
            ),
            (
                f"data     {card.name}: {card.train_images:,} training, "
                f"{card.val_images:,} validation, {card.test_images:,} test images; {card.source}"
            ),
            (
                f"device   {self.crew.parameters()['device_name']}, "
                f"{self._prepared.precision.name} ({self._prepared.precision.reason})"
            ),
            *self._workers_lines(),
            f"store    {self._store.root}{self._runs_elsewhere()}",
            (
                f"time     about {in_words(self.expected_seconds)}, "
                f"at most {in_words(self.most_seconds)} at the speed just measured"
            ),
        ]

    @property
    def _max_epochs(self) -> int:
        plan = self._plan
        if plan.config.method == "separate":
            return plan.max_epochs
        share = plan.config.space.max_epochs / len(plan.config.dims)
        return math.ceil(plan.trials * (share + training.FINE_TUNING_EPOCHS))

    def _setting(self) -> str:
        setting = self._plan.config.setting
        if setting is None:
            return ""
        return f"; {setting.name} = {', '.join(str(setting).split())}"

    def _method_lines(self) -> list[str]:
        if self._plan.config.method == "separate":
            return []
        return [
            (
                "method   nested: one network is trained for all dims, and what is cut out for "
                f"each is fine-tuned for {training.FINE_TUNING_EPOCHS:g} of an epoch"
            )
        ]

    def _workers_lines(self) -> list[str]:
        count = self.crew.workers
        if count == 1:
            return []
        return [f"workers  {count} processes, a trial in each; their speed was measured together"]

    def document(self) -> dict[str, object]:
        """Return the plan as a JSON-able document."""
        config, plan = self._plan.config, self._plan
        return {
            "sweep": config.name,
            "dims": list(config.dims),
            "trials_per_dim": config.wanted_trials,
            "repeats": config.repeats,
            "trials_to_train": plan.trials,
            "max_epochs": self._max_epochs,
            "method": config.method,
            "lr": str(config.space.lr),
            "epochs": str(config.space.epochs),
            "sampler": config.sampler,
            "pruner": config.pruner,
            "seed": config.seed,
            "dataset": config.dataset,
            "dataset_digest": self._prepared.card.digest,
            "model": config.model,
            "models": list(config.models),
            "device": self.crew.parameters()["device"],
            "precision": self._prepared.precision.name,
            "workers": self.crew.workers,
            "threads_per_worker": self.crew.threads,
            "store": str(self._store.root),
            "tracking_uri": self._store.told_tracking_uri,
            "expected_seconds": round(self.expected_seconds, 1),
            "most_seconds": round(self.most_seconds, 1),
        }

    def _runs_elsewhere(self) -> str:
        store = self._store
        return f" for the studies; runs go to {store.runs_place}" if store.tracking_override else ""

    def _trial_seconds(self, dim: int, epochs: int) -> float:
        speeds = self.crew.speeds
        if self._plan.config.method == "nested":
            return training.nested_trial_seconds(speeds, dim, epochs) + SECONDS_PER_TRIAL
        return speeds[dim].trial_seconds(epochs) + SECONDS_PER_TRIAL
