"""The file of the studies: which sweeps it takes, and what it is when it fails."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from fakes import fresh_optuna_file, of_conv, optuna_trials, sweep_config
from study_support import fill, open_one

from ae_sweep.config import Choices, SearchSpace
from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.sweep import ConditionStudy, check_conflict, filled_slots, open_studies

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import SweepConfig

pytestmark = pytest.mark.usefixtures("careless")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


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
        "fail_repeat": {"params": ask.params, "seed": 1, "diverged": False},
        "may_repeat": {"params": ask.params, "seed": 1},
        "may_try": {"slot": 0},
        "given_up": {},
    }  # fmt: skip
    assert set(calls) == {name for name in vars(ConditionStudy) if not name.startswith("_")}
    for name, arguments in calls.items():
        with pytest.raises(StoreError, match="gone"):
            getattr(study, name)(**arguments)
