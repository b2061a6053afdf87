"""The driver's storage returns what Optuna's own would, without reading again what it knows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from ae_sweep.sweep.driver_storage import DriverStorage
from ae_sweep.sweep.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.storages import BaseStorage

DISTRIBUTIONS = {
    "lr": optuna.distributions.FloatDistribution(1e-3, 1e-2, log=True),
    "epochs": optuna.distributions.IntDistribution(2, 8),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


def new_study(storage: BaseStorage, name: str) -> optuna.Study:
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
    )


def drive(study: optuna.Study, *, trials: int, seats: int) -> list[Any]:
    """Run trials side by side that end in every way, and return what the study said meanwhile."""
    rng = random.Random(0)
    running: list[optuna.Trial] = []
    said: list[Any] = []
    for _ in range(trials):
        while len(running) < seats:
            study.enqueue_trial({}, user_attrs={"slot": len(study.trials)})
            running.append(study.ask(DISTRIBUTIONS))
            said.append(running[-1].params)
        trial = running.pop(rng.randrange(len(running)))
        for quarter in range(1, 5):
            trial.report(trial.params["lr"] / quarter, step=quarter)
            said.append(trial.should_prune())
        way = rng.choice(["complete", "prune", "fail"])
        if way == "complete":
            study.tell(trial, trial.params["lr"])
        elif way == "prune":
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("failure", "loss nan")
            study.tell(trial, state=TrialState.FAIL)
        said.append([seen(each) for each in study.get_trials(deepcopy=False)])
    return said


def seen(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    hidden = ("_trial_id", "datetime_start", "datetime_complete", "_datetime_start")
    return {key: value for key, value in vars(trial).items() if key not in hidden}


def test_a_study_goes_as_with_optunas_own_storage(path: Path) -> None:
    ours = new_study(DriverStorage(open_storage(path)), "ours")
    theirs = new_study(open_storage(path), "theirs")
    assert drive(ours, trials=6, seats=3) == drive(theirs, trials=6, seats=3)
    again = optuna.load_study(study_name="ours", storage=open_storage(path))
    assert [seen(each) for each in again.trials] == [seen(each) for each in ours.trials]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return the readings of trials since the last call, by name."""
    noted: list[str] = []

    def spy(name: str) -> None:
        original = getattr(optuna.storages.RDBStorage, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            noted.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(optuna.storages.RDBStorage, name, call)

    spy("get_all_trials")
    spy("get_trial")

    def since() -> list[str]:
        found = list(noted)
        noted.clear()
        return found

    return since


def test_a_trial_is_read_once_after_it_was_made_however_many_run(
    path: Path, reads: Callable[[], list[str]]
) -> None:
    study = new_study(DriverStorage(open_storage(path)), "many")
    study.get_trials()
    assert reads() == ["get_all_trials"]
    trials = [study.ask(DISTRIBUTIONS) for _ in range(10)]
    assert reads() == ["get_trial"] * 10
    before = study.get_trials(deepcopy=False)
    trials[3].report(2.0, step=1)
    trials[3].set_user_attr("pair", (1, 2))
    study.tell(trials[3], 1.0)
    after = study.get_trials(deepcopy=False)
    assert (after[3].intermediate_values, after[3].values) == ({1: 2.0}, [1.0])
    assert after[3].user_attrs == {"pair": [1, 2]}, "as JSON gives it back"
    assert (before[3].intermediate_values, before[3].values) == ({}, None), "a value stays as it is"
    assert reads() == []


def test_a_trial_is_read_again_after_a_write_that_failed(
    path: Path, reads: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(DriverStorage(open_storage(path)), "failing")
    trial = study.ask(DISTRIBUTIONS)
    original = optuna.storages.RDBStorage.set_trial_intermediate_value

    def write_and_fail(*args: Any) -> None:
        original(*args)
        raise optuna.exceptions.StorageInternalError("the answer was lost")

    reads()
    with monkeypatch.context() as patch:
        patch.setattr(optuna.storages.RDBStorage, "set_trial_intermediate_value", write_and_fail)
        with pytest.raises(optuna.exceptions.StorageInternalError):
            trial.report(1.0, step=1)
    assert study.get_trials(deepcopy=False)[0].intermediate_values == {1: 1.0}
    assert reads() == ["get_trial"]


def test_a_trial_that_another_process_has_ended_cannot_be_written(path: Path) -> None:
    study = new_study(DriverStorage(open_storage(path)), "taken over")
    trial = study.ask(DISTRIBUTIONS)
    other = optuna.load_study(study_name="taken over", storage=open_storage(path))
    other.tell(trial.number, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.tell(trial, 1.0)
    assert study.get_trials()[0].state == TrialState.FAIL, "it is read again after the failed write"


def test_what_a_caller_changes_is_not_what_is_known(path: Path) -> None:
    storage = DriverStorage(open_storage(path))
    study = new_study(storage, "copies")
    trial = study.ask(DISTRIBUTIONS)
    storage.get_trial(trial._trial_id).params["lr"] = -1.0
    study.get_trials()[0].params["lr"] = -1.0
    assert study.get_trials(deepcopy=False)[0].params == trial.params
    optuna.delete_study(study_name="copies", storage=storage)
    assert new_study(storage, "copies").trials == []
