"""What a user deletes in MLflow's UI is trained again, or freed by `ae-sweep delete`."""

from __future__ import annotations

import contextlib
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import SMALL, faking
from fakes import FakeTraining, optuna_trials

import ae_sweep
from ae_sweep import sweep, tracking
from ae_sweep.errors import ConflictError, NotStoredError, TrainingFailedError
from ae_sweep.records import Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

    from ae_sweep.locations import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("faked_sweeps")]

ADVISED = re.compile(r"`(ae-sweep .*?)`")
SETTINGS = {"dims": [2, 4], "trials": 2, "repeats": 1, "lr": [4e-3, 1e-2], "epochs": 1, **SMALL}


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ae_sweep.runner.engine.local_engine", lambda *_, **__: faking(FakeTraining())
    )


def run(fake: FakeTraining | None = None, **changes: Any) -> Any:
    engine = faking(fake or FakeTraining())
    settings = {} if changes.get("resume") else SETTINGS
    return ae_sweep.run_sweep("r", engine=engine, progress=False, **{**settings, **changes})


def resume(fake: FakeTraining | None = None) -> Any:
    return run(fake, resume=True)


def measured(sweep: Any) -> set[tuple[str, float | None]]:
    return {(trial.point.key, trial.test_mse) for trial in sweep.trials}


def parent_of(client: MlflowClient, name: str = "r") -> str:
    experiment = client.get_experiment_by_name("ae-sweep")
    (run,) = client.search_runs(
        [experiment.experiment_id], f"tags.kind = 'sweep' AND tags.sweep = '{name}'"
    )
    return str(run.info.run_id)


def test_trials_deleted_in_the_ui_are_trained_again_and_no_others(client: MlflowClient) -> None:
    whole = run()
    gone = [trial for trial in whole.trials if trial.point.latent_dim == 2]
    for trial in gone:
        client.delete_run(trial.run_id)
    assert ae_sweep.plan_sweep("r", resume=True).trials == len(gone) == 3
    fake = FakeTraining()
    again = resume(fake)
    assert len(fake.started) == 3
    assert {config.latent_dim for config in fake.started} == {2}
    assert measured(again) == measured(whole)
    assert _points(again) == _points(whole)
    nothing = FakeTraining()
    assert measured(resume(nothing)) == measured(whole)
    assert nothing.started == []


def _points(sweep: Any) -> list[Any]:
    return [(point.hyperparameters, point.test_mse) for point in sweep.frontier.points]


def test_the_repeats_of_a_best_trial_that_is_gone_are_those_of_what_is_trained_again(
    client: MlflowClient,
) -> None:
    whole = run()
    best = min(
        (t for t in whole.trials if t.role is Role.SEARCH and t.point.latent_dim == 4),
        key=lambda trial: trial.val_objective,
    )
    client.delete_run(best.run_id)
    fake = FakeTraining()
    again = resume(fake)
    assert [config.hyperparameters for config in fake.started] == [best.point.hyperparameters]
    assert measured(again) == measured(whole)


def test_a_pruned_trial_that_is_gone_is_trained_again(client: MlflowClient) -> None:
    whole = run(repeats=0)
    trial = whole.trials[0]
    client.set_tag(trial.run_id, "outcome", "pruned")
    client.set_terminated(trial.run_id, status="KILLED")
    study = f"r/d={trial.point.latent_dim}"
    before = len(optuna_trials(whole.store.optuna_path, study))
    assert ae_sweep.plan_sweep("r", resume=True).trials == 0
    client.delete_run(trial.run_id)
    resume()
    assert len(optuna_trials(whole.store.optuna_path, study)) > before


def test_a_deleted_model_is_named_and_its_point_trained_again_by_the_advised_command(
    client: MlflowClient, cli: Callable[..., Any], store: Store
) -> None:
    whole = run()
    trial = whole.trials[-1]
    (output,) = client.get_run(trial.run_id).outputs.model_outputs
    client.delete_logged_model(output.model_id)
    with pytest.raises(NotStoredError) as caught, whole.runs.model_file(trial.run_id):
        pass
    assert (
        f"the model of '{trial.name}' of the sweep 'r' (run '{trial.run_id}') was deleted"
        in str(caught.value)
    )
    assert ae_sweep.plan_sweep("r", resume=True).trials == 1
    (advice,) = ADVISED.findall(str(caught.value))
    done = cli(*shlex.split(advice)[1:])
    assert done.code == 0, done.err
    again = ae_sweep.load_sweep("r")
    assert measured(again) == measured(whole)
    for each in again.trials:
        if each.outcome is Outcome.FINISHED:
            with again.runs.model_file(each.run_id) as file:
                assert file.exists()


def test_a_model_whose_files_are_gone_is_trained_again_too(
    client: MlflowClient, store: Store
) -> None:
    whole = run()
    trial = whole.trials[0]
    with whole.runs.model_file(trial.run_id) as file:
        file.unlink()
    with pytest.raises(NotStoredError, match="was deleted"), whole.runs.model_file(trial.run_id):
        pass
    fake = FakeTraining()
    assert measured(resume(fake)) == measured(whole)
    assert len(fake.started) == 1


def test_mlflow_shows_one_run_per_point_with_its_number_of_tries(client: MlflowClient) -> None:
    def fail(config: Any) -> Exception | None:
        return TrainingFailedError("out of memory") if config.latent_dim == 4 else None

    with pytest.raises(NotStoredError):
        run(FakeTraining(error=fail), repeats=0, trials=1, retries=1)
    (failed,) = [t for t in ae_sweep.load_sweep("r").trials if t.outcome is Outcome.FAILED]
    tags = client.get_run(failed.run_id).data.tags
    assert (tags["try"], tags["earlier_failure"]) == ("2", "out of memory")
    earlier = client.get_run(tags["earlier_try"])
    assert earlier.info.lifecycle_stage == "deleted"
    whole = run(resume=True, retries=2)
    assert [trial.outcome for trial in whole.trials] == [Outcome.FINISHED] * 2
    (third,) = [trial for trial in whole.trials if trial.point.latent_dim == 4]
    tags = client.get_run(third.run_id).data.tags
    assert (tags["try"], tags["earlier_try"]) == ("3", failed.run_id)
    (first,) = [trial for trial in whole.trials if trial.point.latent_dim == 2]
    assert "try" not in client.get_run(first.run_id).data.tags


def test_what_failed_too_often_is_said_before_the_rest_is_trained(
    cli: Callable[..., Any], store: Store
) -> None:
    def fail(config: Any) -> Exception | None:
        return TrainingFailedError("out of memory") if config.latent_dim == 4 else None

    with contextlib.suppress(NotStoredError):
        run(FakeTraining(error=fail), repeats=0, trials=1, retries=0)
    planned = cli("run", "--name", "r", "--resume", "--dry-run")
    assert planned.code == 0, planned.err
    assert "1 trial of d=4 failed too often to be tried again; --retries N" in planned.err
    assert "0 to train" in planned.out
    more = cli("run", "--name", "r", "--resume", "--dry-run", "--retries", "1")
    assert "1 to train" in more.out


@pytest.mark.parametrize("deleted", ["nothing", "the sweep's run", "every run"])
def test_a_name_is_free_once_its_sweep_is_deleted_whatever_was_left_of_it(
    client: MlflowClient, cli: Callable[..., Any], store: Store, deleted: str
) -> None:
    whole = run()
    if deleted != "nothing":
        client.delete_run(parent_of(client))
    if deleted == "every run":
        for trial in whole.trials:
            client.delete_run(trial.run_id)
    if deleted != "nothing":
        for words in (["--resume"], ["--dataset", "shapes"]):
            refused = cli("run", "--name", "r", *words)
            assert refused.code == 4, refused.err
            assert "the run of the sweep r was deleted from MLflow" in refused.err
            (advice,) = ADVISED.findall(refused.err)
            assert advice == "ae-sweep delete r --yes"
    asked = cli("delete", "r")
    assert asked.code == 2
    assert "this would delete the sweep r: " in asked.err
    assert sweep.has_studies_of(store.optuna_path, "r")
    (advice,) = ADVISED.findall(asked.err)
    done = cli(*shlex.split(advice)[1:])
    assert (done.code, done.out) == (0, "")
    assert not sweep.has_studies_of(store.optuna_path, "r")
    assert tracking.open_for_reading(store).count_runs("r") == (0, 0)
    fake = FakeTraining()
    assert len(run(fake).trials) == len(whole.trials) == len(fake.started)
    assert cli("delete", "other", "--yes").code == 3


def test_other_sweeps_are_left_as_they_are(store: Store) -> None:
    run()
    for name in ("r2", "r.more"):
        ae_sweep.run_sweep(
            name, engine=faking(FakeTraining()), progress=False, dims=2, trials=1, **SMALL
        )
    parts = ae_sweep.delete_sweep("r")
    assert (parts.runs, parts.trials, parts.has_studies) == (1, 6, True)
    assert [record.name for record in ae_sweep.list_sweeps()] == ["r.more", "r2"]
    assert sweep.has_studies_of(store.optuna_path, "r.more")


@pytest.mark.parametrize("name", ["..", "a/b", "", "x' OR 'a' = 'a", "none"])
def test_a_name_that_nothing_has_deletes_nothing(store: Store, name: str) -> None:
    run(repeats=0, trials=1)
    with pytest.raises(NotStoredError, match="no sweep is named"):
        ae_sweep.delete_sweep(name)
    assert len(ae_sweep.load_sweep("r").trials) == 2


def test_a_sweep_that_runs_is_not_deleted(store: Store, cli: Callable[..., Any]) -> None:
    events = ae_sweep.iter_sweep("r", engine=faking(FakeTraining()), **SETTINGS)
    with contextlib.closing(events):
        for _ in range(3):
            next(events)
        refused = cli("delete", "r", "--yes")
        assert refused.code == 4
        assert "is being run by process" in refused.err
        with pytest.raises(ConflictError):
            ae_sweep.delete_sweep("r")
        list(events)
    assert len(ae_sweep.load_sweep("r").trials) == 6
