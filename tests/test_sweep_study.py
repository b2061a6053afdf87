"""A study suggests what an undisturbed one would, trains nothing twice, compares like with like."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from fakes import careless_sqlite, fresh_optuna_file, of_conv, optuna_trials, sweep_config
from optuna.trial import TrialState

from ae_sweep.config import Choices, Hyperparameters, Range, SearchSpace
from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.sweep import ConditionStudy, check_conflict, filled_slots, open_studies, studies
from ae_sweep.sweep.space import all_params, distributions, known_good

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ae_sweep.config import SweepConfig
    from ae_sweep.sweep.study import Ask

CONTINUOUS = SearchSpace(lr=Range(1e-4, 1e-1), epochs=Range(2, 9))
SAMPLERS = ["tpe", "random", "gp"]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with careless_sqlite():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage without a file, for tests of many trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    monkeypatch.setattr(studies, "open_storage", lambda _path: storage)


def open_one(path: Path, **changes: Any) -> ConditionStudy:
    config = sweep_config(**{"dims": (2,)} | changes)
    (study,) = open_studies(path, config, identity=config.identity())
    return study


def error_of(ask: Ask) -> float:
    """Lowest at the highest lr and the most epochs, so that a model is drawn to the bounds."""
    return 1 / ask.params.lr + 1 / ask.params.epochs


def fill(study: ConditionStudy, *, error: Any = error_of) -> list[Hyperparameters]:
    """Train every open slot; tell what was suggested."""
    suggested = []
    for slot in study.open_slots():
        ask = study.ask(slot)
        study.complete(ask, val_objective=error(ask))
        suggested.append(ask.params)
    return suggested


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
    assert study.ask(0).params == Hyperparameters(lr=4e-3, epochs=4)


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
        assert not {repr(params) for params in other[1:]} & {repr(params) for params in first[1:]}


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


@pytest.mark.parametrize("sampler", ["tpe", "random"])
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


def test_pruner_never_compares_two_latent_dims(in_memory: None, path: Path) -> None:
    config = sweep_config(pruner="median")
    low, high = open_studies(path, config, identity=config.identity())
    good = high.ask(0)
    for quarter in range(1, 5):
        assert not high.report(good, quarter=quarter, val_objective=0.001)
    high.complete(good, val_objective=0.001)
    # A hundred times worse than anything at d=8, and the best there is at d=2.
    only = low.ask(0)
    assert not any(low.report(only, quarter=quarter, val_objective=0.1) for quarter in range(1, 5))
    low.complete(only, val_objective=0.1)
    worse = high.ask(1)
    assert high.report(worse, quarter=1, val_objective=0.01)
    better = low.ask(1)
    assert not low.report(better, quarter=1, val_objective=0.09)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_is_compared_at_equal_quarters_alone(
    in_memory: None, path: Path, pruner: str
) -> None:
    # Errors fall from quarter to quarter. Were last values compared with first ones, the second
    # trial, better at each quarter, would look hopeless.
    study = open_one(path, pruner=pruner, trials=6)
    for slot, factor in enumerate((1.0, 0.9, 0.8)):
        ask = study.ask(slot)
        for quarter, error in enumerate((1.0, 0.5, 0.3, 0.2), start=1):
            assert not study.report(ask, quarter=quarter, val_objective=error * factor)
        study.complete(ask, val_objective=0.2 * factor)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruner_stops_what_is_worse_at_each_quarter(
    in_memory: None, path: Path, pruner: str
) -> None:
    space = SearchSpace(lr=Range(1e-4, 1e-1), epochs=Choices((2,)))
    study = open_one(path, pruner=pruner, trials=40, space=space)
    stopped_at = []
    for slot in range(20):
        ask = study.ask(slot)
        for quarter in range(1, 5):
            if study.report(ask, quarter=quarter, val_objective=slot + 1 / quarter) and quarter < 4:
                study.prune(ask)
                stopped_at.append(quarter)
                break
        else:
            study.complete(ask, val_objective=slot)
    assert stopped_at
    if pruner == "median":
        assert stopped_at == [1] * 19
    else:
        assert set(stopped_at) == {1, 2}
        assert len(stopped_at) < 19, "a bracket of hyperband stops nothing early"


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_that_failed_is_nothing_to_be_compared_with(
    in_memory: None, path: Path, pruner: str
) -> None:
    study = open_one(path, pruner=pruner, trials=6)
    first = study.ask(0)
    assert not any(
        study.report(first, quarter=quarter, val_objective=1.0) for quarter in range(1, 5)
    )
    study.complete(first, val_objective=1.0)
    failed = study.ask(2)
    study.report(failed, quarter=1, val_objective=0.1)
    study.fail(failed, reason="interrupted")
    better_than_the_first = study.ask(3)
    assert not study.report(better_than_the_first, quarter=1, val_objective=0.9)


def test_without_a_pruner_nothing_is_stopped(in_memory: None, path: Path) -> None:
    study = open_one(path, pruner="none", trials=6)
    for slot in range(6):
        ask = study.ask(slot)
        for quarter in range(1, 5):
            assert not study.report(ask, quarter=quarter, val_objective=10.0**slot)
        study.complete(ask, val_objective=10.0**slot)


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


def test_two_hundred_trials_are_asked_and_told(in_memory: None, path: Path) -> None:
    study = open_one(path, space=CONTINUOUS, trials=200)
    assert len(set(map(repr, fill(study)))) == 200


def conflict(path: Path, config: SweepConfig, *, resume: bool = True, **identity: Any) -> str:
    with pytest.raises(ConflictError) as refusal:
        check_conflict(path, config, identity=config.identity() | identity, resume=resume)
    assert refusal.value.exit_code == 4
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_stored_name_is_refused_unless_it_is_resumed(path: Path) -> None:
    open_one(path)
    assert "'first' is stored already; add --resume" in conflict(path, sweep_config(), resume=False)
    check_conflict(path, sweep_config(), identity=sweep_config().identity(), resume=True)


def test_another_space_under_one_name_is_refused_with_the_setting_named(path: Path) -> None:
    open_one(path)
    other = SearchSpace(lr=Choices((1e-3,)), epochs=Choices((2, 4)))
    message = conflict(path, sweep_config(space=other))
    assert "settings: lr is 0.001 0.004 0.01, not 0.001;" in message
    assert "epochs" not in message
    message = conflict(path, sweep_config(seed=3, train_limit=100))
    assert "seed is 0, not 3" in message
    assert "train-limit is not given, not 100" in message
    assert "recipe is not given, not 2" in conflict(path, sweep_config(), recipe="2")


def _as_version_0_1_0_wrote_it(config: SweepConfig) -> dict[str, str | int | None]:
    flat = config.identity()
    return {
        "space_lr": flat["lr"],
        "space_epochs": flat["epochs"],
        "seed": config.seed,
        "train_limit": config.train_limit,
        **{key: flat[key] for key in ("dataset", "model", "sampler", "pruner")},
        "recipe": "1",
    }


@pytest.mark.parametrize("limit", [None, 100])
def test_a_sweep_that_an_older_version_stored_is_resumed_and_compared(
    path: Path, limit: int | None
) -> None:
    config = sweep_config(dims=(2,), train_limit=limit)
    study = optuna.create_study(study_name="first/d=2", storage=f"sqlite:///{path}")
    study.set_user_attr("identity", _as_version_0_1_0_wrote_it(config))
    identity = config.identity() | {"recipe": "1"}
    check_conflict(path, config, identity=identity, resume=True)
    message = conflict(path, replace(config, train_limit=7, seed=3), recipe="2")
    assert "recipe is 1, not 2; seed is 0, not 3; train-limit is " in message
    open_studies(path, config, identity=identity)
    check_conflict(path, config, identity=identity, resume=True)


def test_dims_trials_and_repeats_may_grow_under_one_name(path: Path) -> None:
    open_one(path)
    grown = sweep_config(dims=(2, 8, 32), trials=9, repeats=2)
    check_conflict(path, grown, identity=grown.identity(), resume=True)
    assert len(open_studies(path, grown, identity=grown.identity())) == 3


def test_a_name_is_not_taken_by_one_that_begins_alike(path: Path) -> None:
    open_one(path, name="first-2")
    check_conflict(path, sweep_config(), identity={}, resume=False)


def test_a_study_that_was_cut_off_while_it_was_made_is_no_conflict(path: Path) -> None:
    optuna.create_study(study_name="first/d=2", storage=f"sqlite:///{path}")
    check_conflict(path, sweep_config(), identity=sweep_config().identity(), resume=True)


def test_checking_writes_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "store" / "optuna.db"
    check_conflict(missing, sweep_config(), identity={}, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told_in_one_line_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    file.write_text("my holiday diary, and nothing that SQLite could read\n" * 40)
    before = file.read_bytes()
    for use in (
        lambda: check_conflict(file, sweep_config(), identity={}, resume=False),
        lambda: open_studies(file, sweep_config(), identity={}),
    ):
        with pytest.raises(StoreError, match=r"optuna\.db cannot be used as .*database") as told:
            use()
        assert "not a database" in str(told.value)
        assert "--store" in str(told.value)
        assert "\n" not in str(told.value)
    assert file.read_bytes() == before


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "optuna.db", tmp_path):
        with pytest.raises(StoreError, match="cannot be used as Optuna's database"):
            open_studies(path, sweep_config(), identity={})


def test_a_sweep_leaves_other_studies_of_the_file_alone(path: Path) -> None:
    own = optuna.create_study(study_name="my own", storage=f"sqlite:///{path}")
    own.enqueue_trial({"x": 1.0})
    trial = own.ask()
    fill(open_one(path))
    (mine,) = optuna_trials(path, "my own")
    assert (mine.number, mine.state.name) == (trial.number, "RUNNING")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _foreign(place: Path) -> Path:
    file = place / "optuna.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")
    connection.close()
    return file


def test_a_database_of_another_program_is_refused_and_kept_as_it_is(tmp_path: Path) -> None:
    file = _foreign(tmp_path)
    before = file.read_bytes()
    for use in (
        lambda: check_conflict(file, sweep_config(), identity={}, resume=False),
        lambda: filled_slots(file, sweep_config()),
        lambda: open_studies(file, sweep_config(), identity={}),
    ):
        with pytest.raises(StoreError, match=r"is a database, but not Optuna's.*--store"):
            use()
    assert file.read_bytes() == before


def test_an_empty_file_counts_as_no_database_until_a_study_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    file.touch()
    check_conflict(file, sweep_config(), identity={}, resume=False)
    assert filled_slots(file, sweep_config()) == {}
    assert file.read_bytes() == b""
    open_one(file)
    assert filled_slots(file, sweep_config()) == of_conv({2: 0})


def test_a_database_that_was_cut_off_while_it_was_made_is_completed(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE version_info")
        connection.execute("DROP TABLE trial_values")
    connection.close()
    before = path.read_bytes()
    assert filled_slots(path, sweep_config()) == {}
    assert path.read_bytes() == before
    assert open_one(path).filled() == 0


@pytest.mark.parametrize(
    ("write", "reason", "name", "advice"),
    [
        ("create_new_trial", "database or disk is full", "SQLITE_FULL", "free some space"),
        ("set_trial_user_attr", "database is locked", "SQLITE_BUSY", "end the other program"),
        ("set_trial_state_values", "disk I/O error", "SQLITE_IOERR_WRITE", "check the disk"),
    ],
)
def test_a_database_that_fails_during_a_sweep_is_an_error_of_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch, write: str, reason: str, name: str, advice: str
) -> None:
    study = open_one(path)
    broken = study.ask(0)

    def break_down(*_: object, **__: object) -> None:
        cause = sqlite3.OperationalError(reason)
        cause.sqlite_errorname = name
        raise optuna.exceptions.StorageInternalError("An exception is raised") from cause

    monkeypatch.setattr(optuna.storages.RDBStorage, write, break_down)
    monkeypatch.setattr(type(study._study._storage), write, break_down)

    def go_on() -> None:
        study.fail(broken, reason="loss nan")
        study.ask(0)

    with pytest.raises(StoreError) as told:
        go_on()
    assert str(path) in str(told.value)
    assert reason in str(told.value)
    assert advice in str(told.value)
    assert told.value.exit_code == 3


class Gone:
    """Stands for whatever needs a database that is not to be had any more."""

    def __getattr__(self, name: str) -> Any:
        raise optuna.exceptions.StorageInternalError("gone")


def test_every_public_method_of_a_study_translates_the_errors_of_its_database(path: Path) -> None:
    study = open_one(path)
    ask = replace(study.ask(0), trial=Gone())
    study._study = Gone()  # type: ignore[assignment]
    calls: dict[str, dict[str, Any]] = {
        "open_slots": {}, "filled": {}, "ask": {"slot": 1}, "best": {}, "reap": {},
        "report": {"ask": ask, "quarter": 1, "val_objective": 1.0},
        "complete": {"ask": ask, "val_objective": 1.0},
        "prune": {"ask": ask},
        "fail": {"ask": ask, "reason": "x"},
    }  # fmt: skip
    assert set(calls) == {name for name in vars(ConditionStudy) if not name.startswith("_")}
    for name, arguments in calls.items():
        with pytest.raises(StoreError, match="gone"):
            getattr(study, name)(**arguments)
