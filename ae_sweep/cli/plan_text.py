"""The plan of a sweep as lines of text, printed before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import training
from ae_sweep.config import CURRENT_RECIPE, first_dims
from ae_sweep.messages import counted, in_words
from ae_sweep.runner.event_text import counted_at_most
from ae_sweep.runner.schedule import schedule_text

if TYPE_CHECKING:
    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.runner.engine import Engine
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Plan


def plan_lines(estimate: Estimate) -> list[str]:
    """Write the plan for a reader, one line per topic."""
    plan, setup, engine = estimate.plan, estimate.setup, estimate.engine
    config, card = plan.config, setup.card
    seeds = counted(config.repeats, "other seed")
    repeats = f", each best again with {seeds}" if config.repeats else ""
    return [
        f"sweep    {config.name}",
        (
            f"plan     {_studies(config)} × "
            f"{counted(config.wanted_trials, 'trial')}{repeats}: {_to_train(plan)}, "
            f"at most {counted(estimate.max_epochs, 'epoch')}"
        ),
        *_auto_lines(config),
        f"model    {config.model}",
        *_method_lines(config),
        (
            f"search   {config.space}; "
            f"sampler {config.sampler}, pruner {config.pruner}, seed {config.seed}"
        ),
        *_recipe_lines(config),
        *_schedule_lines(setup),
        (
            f"data     {card.name}: {card.train_images:,} training, "
            f"{card.val_images:,} validation, {card.test_images:,} test images; {card.source}"
        ),
        (f"device   {estimate.device_name}, {setup.precision.name} ({setup.precision.reason})"),
        *_workers_lines(engine),
        f"store    {estimate.store.root}{_runs_elsewhere(estimate.store)}",
        (
            f"time     about {in_words(estimate.expected_seconds)}, "
            f"at most {in_words(estimate.most_seconds)} at the speed just measured"
        ),
    ]


def _studies(config: SweepConfig) -> str:
    dims = f"d = {', '.join(map(str, config.dims))}{_settings(config)}"
    if config.auto is None:
        return f"{counted(len(config.conditions), 'study', 'studies')} ({dims})"
    first = ", ".join(map(str, first_dims(config.dims)))
    return (
        f"at most {counted(config.most_dims, 'study', 'studies')} of {len(config.conditions)} "
        f"({dims}), first d = {first},"
    )


def _to_train(plan: Plan) -> str:
    return counted_at_most(plan.trials, chosen=plan.config.auto is not None) + " to train"


def _auto_lines(config: SweepConfig) -> list[str]:
    if config.auto is None:
        return []
    minutes = config.auto.minutes
    limit = "" if minutes is None else f", or until {minutes:g} minutes are over"
    return [
        (
            f"question {config.auto.question.sought}; dims are added until it is known to one step "
            f"of the grid{limit}"
        )
    ]


def _settings(config: SweepConfig) -> str:
    return "".join(
        f"; {setting.name} = {', '.join(str(setting).split())}" for setting in config.settings
    )


def _method_lines(config: SweepConfig) -> list[str]:
    if config.method == "separate":
        return []
    return [
        (
            "method   nested: one network is trained for all dims, and what is cut out for "
            f"each is fine-tuned for {training.FINE_TUNING_EPOCHS:g} of an epoch"
        )
    ]


def _recipe_lines(config: SweepConfig) -> list[str]:
    if config.recipe == CURRENT_RECIPE:
        return []
    return [f"recipe   {config.recipe}, with which the sweep began; a new one has {CURRENT_RECIPE}"]


def _schedule_lines(setup: SweepSetup) -> list[str]:
    if not setup.chosen:
        return []
    text = schedule_text(setup.config, chosen=setup.chosen, train_images=setup.card.train_images)
    return [f"chosen   {text}"]


def _workers_lines(engine: Engine) -> list[str]:
    described = getattr(engine, "described", None)  # of a cluster's
    if described is not None:
        return [f"workers  {described}; their speed was measured together"]
    if engine.workers == 1:
        return []
    each = counted(engine.threads, "thread")
    return [f"workers  {engine.workers} processes of {each}, a trial in each"]


def _runs_elsewhere(store: Store) -> str:
    return f" for the studies; runs go to {store.runs_place}" if store.tracking_override else ""
