"""A study suggests what an undisturbed one would, trains nothing twice, compares like with like."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from driver_support import CONTINUOUS, ENDS
from fakes import fresh_optuna_file, of_conv, optuna_trials, sweep_config
from optuna.trial import TrialState
from study_support import error_of, fill, open_one

from ae_sweep.config import Hyperparameters, Range, SearchSpace
from ae_sweep.sweep import filled_slots, open_studies, studies
from ae_sweep.sweep.space import all_params, distributions, known_good

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("careless")


SAMPLERS = ["tpe", "random", "gp"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


def test_there_is_one_study_per_dim_under_the_sweeps_name(path: Path) -> None:
    config = sweep_config(name="my-sweep", dims=(2, 8, 1024))
    opened = open_studies(path, config, identity=config.identity())
    assert [study.condition.latent_dim for study in opened] == [2, 8, 1024]
    storage = f"sqlite:///{path}"
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == ["my-sweep/d=1024", "my-sweep/d=2", "my-sweep/d=8"]
    study = optuna.load_study(study_name="my-sweep/d=8", storage=storage)
    assert study.direction.name == "MINIMIZE"
    assert study.user_attrs["latent_dim"] == 8


@pytest.mark.parametrize("sampler", [*SAMPLERS, "grid"])
def test_the_first_trial_is_the_known_good_configuration(
    in_memory: None, path: Path, sampler: str
) -> None:
    study = open_one(path, sampler=sampler)
    assert study.ask(0).params == Hyperparameters(lr=1e-2, epochs=4)


def test_a_study_reads_the_same_with_plain_optuna(path: Path) -> None:
    study = open_one(path, pruner="none")
    done, stopped, broken = (study.ask(slot) for slot in range(3))
    study.report(done, quarter=1, val_objective=0.5)
    study.report(done, quarter=2, val_objective=0.25)
    study.complete(done, val_objective=0.125)
    study.prune(stopped)
    study.fail(broken, reason="loss nan at step 3")
    trials = optuna_trials(path, "first/d=2")
    first, second, third = (t for t in trials if "duplicate_of" not in t.user_attrs)
    assert (first.state.name, first.value, first.params) == (
        "COMPLETE",
        0.125,
        done.params.written(),
    )
    assert first.intermediate_values == {1: 0.5, 2: 0.25}
    assert (second.state.name, third.state.name) == ("PRUNED", "FAIL")
    assert third.user_attrs["failure"] == "loss nan at step 3"
    assert [trial.user_attrs["slot"] for trial in (first, second, third)] == [0, 1, 2]


def test_the_grid_is_exactly_the_product_with_the_good_start_first(
    in_memory: None, path: Path
) -> None:
    study = open_one(path, sampler="grid", trials=1)
    suggested = fill(study)
    assert suggested == all_params(sweep_config().space)
    assert suggested[0] == known_good(sweep_config().space)
    assert study.open_slots() == []


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("seed", range(3))
def test_a_finite_space_is_exhausted_without_training_anything_twice(
    in_memory: None, path: Path, sampler: str, seed: int
) -> None:
    suggested = fill(open_one(path, sampler=sampler, trials=99, seed=seed))
    assert sorted(map(repr, suggested)) == sorted(map(repr, all_params(sweep_config().space)))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_stay_within_the_ranges_and_never_repeat(
    in_memory: None, path: Path, sampler: str
) -> None:
    # Sixteen: past the samplers' ten random starts, where the Gaussian process asks for the very
    # bound, again and again.
    narrow = SearchSpace(lr=Range(1e-5, 1e-3), epochs=Range(2, 4))
    suggested = fill(open_one(path, sampler=sampler, space=narrow, trials=16))
    assert suggested[0] == Hyperparameters(lr=1e-3, epochs=4)
    assert all(1e-5 <= params.lr <= 1e-3 for params in suggested)
    assert {params.epochs for params in suggested} == {2, 3, 4}
    assert all(type(params.epochs) is int for params in suggested)
    assert len(set(map(repr, suggested))) == 16


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_depend_on_seed_and_dim_and_on_nothing_else(
    monkeypatch: pytest.MonkeyPatch, path: Path, sampler: str
) -> None:
    def suggest(**changes: Any) -> list[Hyperparameters]:
        storage = optuna.storages.InMemoryStorage()
        monkeypatch.setattr(studies, "open_storage", lambda _path: storage)
        settings = {"sampler": sampler, "space": CONTINUOUS, "trials": 12} | changes
        return fill(open_one(path, **settings))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first = suggest()
    assert suggest() == first
    assert suggest(name="another-name") == first
    assert suggest(trials=14)[:12] == first
    for other in (suggest(seed=1), suggest(dims=(3,))):
        assert other[0] == first[0]
        # A Gaussian process comes to the corners of the space whatever its seed was.
        inner = {repr(params) for params in first[1:] if params.lr not in ENDS}
        assert len(inner) > 6
        assert not {repr(params) for params in other[1:]} & inner


def test_no_point_is_replayed_within_a_study(in_memory: None, path: Path) -> None:
    # A sampler that is seeded alike for each ask would suggest one point over and over.
    suggested = fill(open_one(path, sampler="random", space=CONTINUOUS, trials=20))
    assert len({params.lr for params in suggested}) == 20


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pruned_configuration_is_not_suggested_again(
    in_memory: None, path: Path, sampler: str
) -> None:
    study = open_one(path, sampler=sampler, trials=6)
    suggested = []
    for slot in study.open_slots():
        ask = study.ask(slot)
        suggested.append(ask.params)
        if slot == 0:
            study.complete(ask, val_objective=1.0)
        else:
            study.report(ask, quarter=1, val_objective=2.0)
            study.prune(ask)
    assert len(set(map(repr, suggested))) == 6
    assert study.open_slots() == []


def test_a_failed_trial_leaves_its_slot_open_and_is_asked_again_as_it_was(
    in_memory: None, path: Path
) -> None:
    study = open_one(path, space=CONTINUOUS)
    study.complete(study.ask(0), val_objective=1.0)
    failed = study.ask(1)
    study.fail(failed, reason="loss nan")
    later = study.ask(2)
    study.complete(later, val_objective=2.0)
    again = open_one(path, space=CONTINUOUS)
    assert again.open_slots() == [1]
    assert again.ask(1).params == failed.params


def test_a_configuration_that_failed_stays_with_its_slot(in_memory: None, path: Path) -> None:
    for seed in range(5):
        study = open_one(path, trials=6, sampler="random", seed=seed, name=f"seed-{seed}")
        study.complete(study.ask(0), val_objective=1.0)
        failed = {slot: study.ask(slot) for slot in (1, 2)}
        for ask in failed.values():
            study.fail(ask, reason="out of memory")
        trained = {0: known_good(sweep_config().space)}
        for slot in (3, 4, 5, 1, 2):
            ask = study.ask(slot)
            trained[slot] = ask.params
            study.complete(ask, val_objective=2.0)
        assert len(set(map(repr, trained.values()))) == 6
        assert [trained[slot] for slot in failed] == [ask.params for ask in failed.values()]


def test_what_a_killed_process_left_running_is_failed_and_asked_again(
    in_memory: None, path: Path
) -> None:
    study = open_one(path)
    study.complete(study.ask(0), val_objective=1.0)
    left = study.ask(1)
    study.report(left, quarter=1, val_objective=0.5)
    again = open_one(path)
    trials = again._study.get_trials()
    assert [t.state.name for t in trials if "duplicate_of" not in t.user_attrs] == [
        "COMPLETE",
        "FAIL",
    ]
    assert again.open_slots() == [1, 2]
    assert again.ask(1).params == left.params


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die at the so-manieth write of Optuna's storage from now on."""
    writes = itertools.count()

    def deadly(method: Any) -> Any:
        def write(*arguments: Any, **named: Any) -> Any:
            if next(writes) == step:
                raise Killed
            return method(*arguments, **named)

        return write

    storage = optuna.storages.InMemoryStorage
    for name in (
        "create_new_trial",
        "set_trial_param",
        "set_trial_state_values",
        "set_trial_user_attr",
        "set_trial_system_attr",
    ):
        monkeypatch.setattr(storage, name, deadly(getattr(storage, name)))


@pytest.mark.parametrize("sampler", [pytest.param("tpe", marks=pytest.mark.slow), "random"])
@pytest.mark.parametrize("space", [sweep_config().space, CONTINUOUS], ids=["finite", "continuous"])
def test_a_process_killed_at_any_write_of_an_ask_is_resumed(
    in_memory: None, path: Path, monkeypatch: pytest.MonkeyPatch, space: SearchSpace, sampler: str
) -> None:
    settings: dict[str, Any] = {"space": space, "sampler": sampler, "trials": 6}
    expected = fill(open_one(path, name="calm", **settings))
    killed = 0
    for write, slot in itertools.product(range(14), range(1, 5)):
        name = f"killed-{write}-{slot}"
        study = open_one(path, name=name, **settings)
        for done in range(slot):
            ask = study.ask(done)
            study.complete(ask, val_objective=error_of(ask))
        with monkeypatch.context() as patch:
            kill_at(write, patch)
            try:
                study.ask(slot)
            except Killed:
                killed += 1
        again = open_one(path, name=name, **settings)
        assert again.open_slots() == list(range(slot, 6))
        assert fill(again) == expected[slot:]
        trials = again._study.get_trials(deepcopy=False)
        assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert killed >= 16


def test_a_trial_of_someone_elses_that_failed_leaves_a_finite_study_something_to_train(
    in_memory: None, path: Path
) -> None:
    study = open_one(path, trials=6)
    for params in all_params(sweep_config().space):
        study._study.enqueue_trial(params.written())
        trial = study._study.ask(distributions(sweep_config().space))
        study._study.tell(trial, state=TrialState.FAIL)
    assert len(set(map(repr, fill(study)))) == 6


def test_the_best_is_the_earliest_of_the_lowest_among_complete_trials(
    in_memory: None, path: Path
) -> None:
    study = open_one(path, trials=4)
    assert study.best() is None
    asks = [study.ask(slot) for slot in range(4)]
    study.report(asks[0], quarter=1, val_objective=0.01)
    study.prune(asks[0])
    assert study.best() is None
    for ask, error in zip(asks[1:], (0.5, 0.2, 0.2), strict=True):
        study.complete(ask, val_objective=error)
    best = study.best()
    assert best is not None
    assert (best.params, best.val_objective) == (asks[2].params, 0.2)


def test_more_trials_may_be_wanted_later_and_fewer_harm_nothing(
    in_memory: None, path: Path
) -> None:
    first = fill(open_one(path, trials=2))
    assert len(first) == 2
    assert open_one(path, trials=1).open_slots() == []
    grown = open_one(path, trials=5)
    assert grown.open_slots() == [2, 3, 4]
    assert len(set(map(repr, [*first, *fill(grown)]))) == 5


def test_filled_slots_are_counted_without_writing(path: Path) -> None:
    fill(open_one(path, trials=2))
    open_one(path, name="other")
    left = open_one(path, trials=3).ask(2)
    before = path.read_bytes()
    assert filled_slots(path, sweep_config(trials=4)) == of_conv({2: 2})
    assert filled_slots(path, sweep_config(trials=1, dims=(2,))) == of_conv({2: 1})
    assert path.read_bytes() == before
    assert optuna_trials(path, "first/d=2")[left.trial.number].state.name == "RUNNING"
    assert filled_slots(path.with_name("missing"), sweep_config()) == {}
    assert not path.with_name("missing").exists()


@pytest.mark.slow
def test_two_hundred_trials_are_asked_and_told(in_memory: None, path: Path) -> None:
    study = open_one(path, space=CONTINUOUS, trials=200)
    assert len(set(map(repr, fill(study)))) == 200
