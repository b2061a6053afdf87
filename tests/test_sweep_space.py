"""A search space in Optuna's words, and the plan of a sweep, before anything is trained."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import optuna
import pytest
from fakes import of_conv, sweep_config

from ae_sweep.config import Choices, Hyperparameters, Range, SearchSpace
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.records import Outcome, Role, TrialIdentity, TrialRecord
from ae_sweep.sweep import count_filled, finished_repeats, make_plan
from ae_sweep.sweep.plan import PRUNED_SHARE
from ae_sweep.sweep.space import (
    all_params,
    derive_seed,
    distributions,
    draw,
    known_good,
    make_pruner,
    make_sampler,
)


def space(lr: Any, epochs: Any) -> SearchSpace:
    return SearchSpace(lr=lr, epochs=epochs)


def test_choices_are_categorical_and_a_range_of_lr_is_log_uniform() -> None:
    finite = distributions(space(Choices((1e-3, 4e-3)), Choices((4, 2))))
    assert finite == {
        "lr": optuna.distributions.CategoricalDistribution((1e-3, 4e-3)),
        "epochs": optuna.distributions.CategoricalDistribution((4, 2)),
    }
    spans = distributions(space(Range(1e-3, 1e-2), Range(2, 8)))
    assert spans == {
        "lr": optuna.distributions.FloatDistribution(1e-3, 1e-2, log=True),
        "epochs": optuna.distributions.IntDistribution(2, 8),
    }


@pytest.mark.parametrize(
    ("lr", "expected"),
    [
        (Choices((1e-3,)), 1e-3),
        (Choices((1e-4, 6e-3, 2e-2)), 6e-3),
        (Choices((1e-3, 1e-2)), 1e-2),
        (Choices((0.004, 0.0162)), 0.004),
        (Range(1e-3, 1e-2), GOOD_LR),
        (Range(1e-5, 1e-3), 1e-3),
        (Range(1e-2, 1.0), 1e-2),
    ],
)
def test_the_good_start_is_the_nearest_lr_by_its_factor_and_all_epochs(
    lr: Any, expected: float
) -> None:
    assert known_good(space(lr, Choices((2, 8, 4)))) == Hyperparameters(lr=expected, epochs=8)
    assert known_good(space(lr, Range(2, 5))) == Hyperparameters(lr=expected, epochs=5)


def test_a_sweep_of_an_older_recipe_has_its_good_start_and_its_grid() -> None:
    both = space(Choices((1e-3, 4e-3, 1e-2)), Choices((2,)))
    assert known_good(both, recipe="2").lr == 4e-3
    assert [each.lr for each in all_params(both, recipe="2")] == [4e-3, 1e-3, 1e-2]
    assert [each.lr for each in all_params(both)] == [1e-2, 1e-3, 4e-3]


def test_all_configurations_are_listed_once_with_the_good_start_first() -> None:
    finite = space(Choices((1e-3, 4e-3)), Choices((4, 2)))
    assert all_params(finite) == [
        Hyperparameters(lr=4e-3, epochs=4),
        Hyperparameters(lr=1e-3, epochs=4),
        Hyperparameters(lr=1e-3, epochs=2),
        Hyperparameters(lr=4e-3, epochs=2),
    ]
    steps = all_params(space(Choices((1e-3,)), Range(2, 5)))
    assert [params.epochs for params in steps] == [5, 2, 3, 4]


def test_a_continuous_space_has_no_list() -> None:
    assert all_params(space(Range(1e-3, 1e-2), Choices((2,)))) == []


def test_drawing_from_a_space_stays_within_it_and_spreads_lr_by_its_factor() -> None:
    rng = random.Random(0)
    drawn = [draw(space(Range(1e-5, 1e-1), Range(2, 4)), rng) for _ in range(400)]
    rates = [params.lr for params in drawn]
    assert 1e-5 <= min(rates) < 1e-4
    assert 1e-2 < max(rates) <= 1e-1
    assert -3.3 < sum(map(math.log10, rates)) / 400 < -2.7
    assert {params.epochs for params in drawn} == {2, 3, 4}
    picked = [draw(space(Range(1e-5, 1e-1), Choices((2, 9))), rng) for _ in range(40)]
    assert {params.epochs for params in picked} == {2, 9}


def test_seeds_differ_with_each_part_and_are_the_same_in_every_process() -> None:
    seeds = {derive_seed(*parts) for parts in [(0, 2, 1), (1, 2, 0), (0, 1, 2), (0, 21, 0)]}
    assert len(seeds) == 4
    assert derive_seed(0, 2, 1) == 401_361_509  # pinned: another would resume differently
    assert all(0 <= derive_seed(0, 2, slot) < 2**32 for slot in range(100))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", optuna.samplers.TPESampler),
        ("gp", optuna.samplers.GPSampler),
        ("random", optuna.samplers.RandomSampler),
    ],
)
def test_a_sampler_is_what_its_name_says_and_never_shared(name: Any, kind: type) -> None:
    made = [make_sampler(name, seed=1, space=sweep_config().space) for _ in range(2)]
    assert isinstance(made[0], kind)
    assert made[0] is not made[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "searched",
    [
        space(Range(1e-4, 1e-1), Range(2, 9)),
        space(Range(1e-4, 1e-1), Choices((4,))),
        space(Choices((1e-3, 4e-3, 1e-2)), Range(2, 9)),
    ],
    ids=["ranges", "fixed epochs", "chosen lr"],
)
def test_tpe_that_is_told_its_space_suggests_what_optunas_own_does(
    searched: SearchSpace, seed: int
) -> None:
    def suggest(sampler: Any) -> list[dict[str, Any]]:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study()
        for number in range(25):  # of which the first ten are random
            study.sampler = sampler(derive_seed(seed, number))
            trial = study.ask(distributions(searched))
            study.tell(trial, abs(trial.params["lr"] - 4e-3) + 1 / trial.params["epochs"])
        return [trial.params for trial in study.trials]

    own = suggest(lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=False))
    assert suggest(lambda seed: make_sampler("tpe", seed=seed, space=searched)) == own


def test_pruners_are_what_their_names_say() -> None:
    assert type(make_pruner("median")) is optuna.pruners.MedianPruner
    assert type(make_pruner("none")) is optuna.pruners.NopPruner
    assert "Hyperband" in type(make_pruner("hyperband")).__name__


def seconds(dim: int, epochs: int) -> float:
    return dim * epochs


def test_a_plan_counts_trials_and_epochs_at_most() -> None:
    plan = make_plan(sweep_config(trials=3, repeats=2), filled={})
    assert plan.open_trials == of_conv({2: 3, 8: 3})
    assert plan.trials == 6 + 4
    assert plan.max_epochs == 10 * 4
    assert plan.most_seconds(seconds) == (3 + 2) * 4 * (2 + 8)


def test_a_plan_wants_no_more_trials_than_there_are_configurations() -> None:
    plan = make_plan(sweep_config(trials=50), filled={})
    assert plan.open_trials == of_conv({2: 6, 8: 6})


def test_a_resumed_plan_counts_what_is_missing() -> None:
    plan = make_plan(sweep_config(trials=3), filled=of_conv({2: 1}))
    assert plan.open_trials == of_conv({2: 2, 8: 3})
    # The one of d=2 that is done was its first, the longest; the others are of middling length.
    assert plan.expected_seconds(seconds) == pytest.approx(
        2 * 2 * 3 * PRUNED_SHARE + 8 * (4 + 2 * 3 * PRUNED_SHARE)
    )


def test_a_plan_expects_pruning_only_where_there_is_a_pruner() -> None:
    pruned = make_plan(sweep_config(trials=3, repeats=1), filled={})
    whole = make_plan(sweep_config(trials=3, repeats=1, pruner="none"), filled={})
    assert whole.expected_seconds(seconds) == (2 * 4 + 2 * 3) * 10
    assert pruned.expected_seconds(seconds) == pytest.approx((2 * 4 + 2 * 3 * PRUNED_SHARE) * 10)
    assert pruned.expected_seconds(seconds) < pruned.most_seconds(seconds)


@pytest.mark.parametrize("seed", range(200))
def test_no_plan_expects_more_time_than_it_allows_at_most(seed: int) -> None:
    rng = random.Random(seed)
    low = rng.randint(1, 12)
    chosen = tuple(sorted(rng.sample(range(1, 40), rng.randint(1, 4))))
    epochs = rng.choice([Range(low, low + rng.randint(1, 300)), Choices(chosen)])
    epoch_seconds, validation_seconds, rest = (10 ** rng.uniform(-3, 3) for _ in range(3))

    def costs(dim: int, epochs: int) -> float:
        assert isinstance(epochs, int), "a training has whole epochs"
        validations = epochs + 4 - math.gcd(epochs, 4)
        return epochs * epoch_seconds * dim + validations * validation_seconds + rest

    config = sweep_config(
        space=space(Range(1e-3, 1e-2), epochs),
        trials=rng.randint(1, 6),
        repeats=rng.randint(0, 2),
        pruner=rng.choice(["none", "median"]),
    )
    plan = make_plan(config, filled=of_conv({2: rng.randint(0, config.trials)}))
    assert plan.expected_seconds(costs) <= plan.most_seconds(costs) * (1 + 1e-9)


def test_a_trials_constant_cost_is_foretold_once_a_trial() -> None:
    config = sweep_config(space=space(Range(1e-3, 1e-2), Range(5, 9)), pruner="none", dims=(2,))
    plan = make_plan(config, filled={})
    assert plan.expected_seconds(lambda _dim, _epochs: 10.0) == pytest.approx(3 * 10.0)


def test_the_time_over_a_range_of_a_hundred_thousand_epochs_is_foretold_at_once() -> None:
    config = sweep_config(space=space(Range(1e-3, 1e-2), Range(1, 100_000)), pruner="none")
    asked: list[int] = []
    plan = make_plan(config, filled=of_conv({2: 1, 8: 1}))
    plan.expected_seconds(lambda _dim, epochs: asked.append(epochs) or 1.0)
    assert len(asked) < 300
    assert sum(asked) / len(asked) == pytest.approx(50_000, rel=0.05)


def record(dim: int, val_mse: float, *, seed: int = 0, **changes: Any) -> TrialRecord:
    point = TrialIdentity(
        dataset_digest="x",
        model="conv",
        latent_dim=dim,
        hyperparameters=Hyperparameters(lr=4e-3, epochs=4),
        seed=seed,
        recipe="1",
    )
    trial = TrialRecord(
        run_id="r",
        sweep="first",
        name="n",
        point=point,
        role=Role.REPEAT if seed else Role.SEARCH,
        outcome=Outcome.FINISHED,
        pixels=784,
        compression_ratio=1.0,
        val_mse=val_mse,
    )
    return replace(trial, **changes)


def test_a_resumed_plan_counts_only_the_repeats_that_are_missing() -> None:
    config = sweep_config(repeats=2, dims=(2, 8, 32))
    other = replace(
        record(2, 0.1).point, hyperparameters=Hyperparameters(lr=1e-3, epochs=4), seed=1
    )
    stored = [
        record(2, 0.1),
        record(2, 0.05, point=replace(other, seed=0)),
        record(2, 0.06, seed=1),  # of what was the best once
        record(2, 0.06, point=other, role=Role.REPEAT),
        record(2, 0.06, point=other, role=Role.REPEAT, run_id="again"),
        record(8, 0.1),
        record(8, 0.1, seed=1, outcome=Outcome.INTERRUPTED),
        record(8, 0.1, seed=9),
        record(32, 0.1),
        record(32, 0.1, seed=1),
        record(32, 0.1, seed=2),
    ]
    done = finished_repeats(config, stored)
    assert done == of_conv({2: 1, 32: 2})
    plan = make_plan(config, filled=of_conv({2: 3, 8: 3, 32: 3}), repeated=done)
    assert plan.open_repeats == of_conv({2: 1, 8: 2, 32: 0})
    assert plan.trials == 3
    assert plan.most_seconds(seconds) == 4 * (2 * 1 + 8 * 2)
    assert finished_repeats(config, []) == {}


def test_what_a_server_holds_is_not_planned_again_where_the_studies_are_missing() -> None:
    config = sweep_config(dims=(2, 8, 32), trials=3)
    other = replace(record(2, 0.1).point, hyperparameters=Hyperparameters(lr=1e-3, epochs=4))
    stored = [
        record(2, 0.1),
        record(2, 0.1, run_id="the same point again"),
        record(2, 0.1, point=other),
        record(2, 0.1, seed=1),  # a repeat fills no slot of the search
        *(record(8, 0.1, point=replace(record(8, 0.1).point, seed=seed)) for seed in range(5)),
        record(32, 0.1, outcome=Outcome.FAILED),
    ]
    assert count_filled(config, {}, stored) == of_conv({2: 2, 8: 3, 32: 0})
    assert count_filled(config, of_conv({2: 3, 32: 1}), stored) == of_conv({2: 3, 8: 3, 32: 1})
    assert count_filled(config, {}, []) == of_conv({2: 0, 8: 0, 32: 0})
