"""Sweeps and trials are written, and come back as they were; what is unfinished is told so."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tracking_support as support

from ae_sweep import ownership, tracking
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.locations import Store


@pytest.fixture
def sweep(opened: tracking.TrackingStore, store: Store) -> Iterator[tracking.SweepWriter]:
    with ownership.hold(store.running("first"), take_over_command=""):
        yield opened.start_sweep(
            support.config(), card=support.CARD, environment=support.ENVIRONMENT
        )


def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_a_sweep_is_a_parent_run_with_its_settings_and_its_data_set(
    sweep: tracking.SweepWriter, client: MlflowClient
) -> None:
    run = client.get_run(sweep.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"
    assert run.data.params["dims"] == "2 8"
    assert run.data.params["lr"] == "0.001:0.01"
    assert run.data.params["torch"] == "2.14.1"
    assert run.data.tags["sweep"] == "first"
    assert run.data.tags["kind"] == "sweep"
    assert run.data.tags["outcome"] == "running"
    assert run.data.tags["mlflow.source.git.commit"] == support.ENVIRONMENT["git_commit"]
    [dataset_input] = run.inputs.dataset_inputs
    assert dataset_input.dataset.name == "mnist"
    assert dataset_input.dataset.digest == support.CARD.digest
    assert json.loads(dataset_input.dataset.source) == {"description": "local files in /data"}
    assert dataset_input.dataset.source_type == "ae-sweep", "MLflow's own types promise an address"
    assert json.loads(dataset_input.dataset.profile)["train_images"] == 55_000


def test_a_trial_is_a_child_run_with_all_that_decides_its_result(
    sweep: tracking.SweepWriter, client: MlflowClient
) -> None:
    trial = support.start(sweep, role=Role.REPEAT)
    run = client.get_run(trial.run_id)
    expected = {
        "latent_dim": "8",
        "lr": "0.004",
        "epochs": "2",
        "batch_size": "128",
        "seed": "0",
        "model": "conv",
        "dataset": "mnist",
        "dataset_digest": support.CARD.digest,
        "recipe": "1",
        "precision": "bf16",
        "device": "cpu",
        "torch": "2.14.1",
        "python": "3.11.7",
        "git_commit": support.ENVIRONMENT["git_commit"],
    }
    assert {key: run.data.params.get(key) for key in expected} == expected
    tags = {
        "mlflow.parentRunId": sweep.run_id,
        "mlflow.source.git.commit": support.ENVIRONMENT["git_commit"],
        "sweep": "first",
        "kind": "trial",
        "point": support.point().key,
        "role": "repeat",
        "method": "separate",
        "outcome": "running",
    }
    assert {key: run.data.tags.get(key) for key in tags} == tags
    assert run.info.run_name == "d=8 trial 0"
    assert [item.dataset.digest for item in run.inputs.dataset_inputs] == [support.CARD.digest]


def test_a_finished_trial_has_metrics_picture_and_model(
    sweep: tracking.SweepWriter, client: MlflowClient
) -> None:
    trial = support.start(sweep)
    for step in (100, 200):
        trial.log_epoch(support.epoch(step))
    model_id = support.finish(trial)
    run = client.get_run(trial.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["outcome"] == "finished"
    assert run.data.metrics == {
        "epoch": 2.0,
        "train_mse": 0.01,
        "val_mse": 0.005,
        "val_psnr": 20.0,
        "images_per_second": 1_000.0,
        "epoch_seconds": 55.0,
        "test_mse": 0.0051,
        "test_psnr": 22.9,
        "compression_ratio": 98.0,
        "parameters": 292_493.0,
        "train_seconds": 12.5,
    }
    history = client.get_metric_history(trial.run_id, "val_mse")
    assert [(metric.step, metric.value) for metric in history] == [(100, 0.01), (200, 0.005)]
    assert (artifacts(run) / "reconstructions.png").read_bytes() == support.png()
    [output] = run.outputs.model_outputs
    assert (output.model_id, output.step) == (model_id, 200)
    model = client.get_logged_model(model_id)
    assert model.status == "READY"
    assert model.source_run_id == trial.run_id
    assert model.params["latent_dim"] == "8"
    linked = {metric.key: (metric.value, metric.step) for metric in model.metrics}
    assert linked["test_mse"] == (0.0051, 200)
    assert linked["val_mse"] == (0.005, 200)


def test_each_validation_is_one_commit(
    sweep: tracking.SweepWriter, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = support.start(sweep)
    calls: list[str] = []
    monkeypatch.setattr(
        trial._client,
        "log_batch",
        lambda run_id, metrics: calls.extend(metric.key for metric in metrics),
    )
    trial.log_epoch(support.epoch())
    assert sorted(calls) == sorted(
        ["epoch", "train_mse", "val_mse", "val_psnr", "images_per_second", "epoch_seconds"]
    )


def test_the_psnr_of_a_perfect_reconstruction_is_left_out(
    sweep: tracking.SweepWriter, client: MlflowClient, opened: tracking.TrackingStore
) -> None:
    trial = support.start(sweep)
    trial.log_epoch(support.epoch(100, val_mse=0.0, val_psnr=None))
    support.finish(trial, val_mse=0.0, test_mse=0.0, test_psnr=None)
    metrics = client.get_run(trial.run_id).data.metrics
    assert not {"val_psnr", "test_psnr"} & set(metrics)
    [record] = opened.trials("first")
    assert (record.test_mse, record.test_psnr) == (0.0, None)
    assert record.outcome is Outcome.FINISHED


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_never_written(
    sweep: tracking.SweepWriter, client: MlflowClient, value: float
) -> None:
    trial = support.start(sweep)
    with pytest.raises(TrainingDivergedError, match=r"train_mse is -?(nan|inf) at step 100"):
        trial.log_epoch(support.epoch(train_mse=value))
    with pytest.raises(TrainingDivergedError, match="test_mse"):
        support.finish(trial, test_mse=value)
    run = client.get_run(trial.run_id)
    assert run.data.metrics == {}
    assert run.outputs.model_outputs == []
    assert run.info.status == "RUNNING"


def test_pruned_failed_and_interrupted_trials_are_told_apart(
    sweep: tracking.SweepWriter, client: MlflowClient, opened: tracking.TrackingStore
) -> None:
    trials = [support.start(sweep, support.point(seed=seed), name=f"t{seed}") for seed in range(5)]
    trials[0].prune()
    trials[1].fail("val_mse is nan at step 3\nwith lr 0.1")
    trials[2].interrupt()
    support.finish(trials[3])
    runs = [client.get_run(trial.run_id) for trial in trials]
    assert [(run.info.status, run.data.tags["outcome"]) for run in runs] == [
        ("KILLED", "pruned"),
        ("FAILED", "failed"),
        ("KILLED", "interrupted"),
        ("FINISHED", "finished"),
        ("RUNNING", "running"),
    ]
    assert runs[1].data.tags["failure"] == "val_mse is nan at step 3\nwith lr 0.1"
    outcomes = {record.name: record.outcome for record in opened.trials("first")}
    assert outcomes == {
        "t0": Outcome.PRUNED,
        "t1": Outcome.FAILED,
        "t2": Outcome.INTERRUPTED,
        "t3": Outcome.FINISHED,
        "t4": Outcome.RUNNING,
    }
    assert opened.sweep("first").counts == dict.fromkeys(Outcome, 1)
    assert [record.counts for record in opened.sweeps()] == [dict.fromkeys(Outcome, 1)]


def test_an_ended_run_stays_as_it_ended(sweep: tracking.SweepWriter, client: MlflowClient) -> None:
    trial = support.start(sweep)
    trial.prune()
    trial.interrupt()
    trial.fail("late")
    run = client.get_run(trial.run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("KILLED", "pruned")
    assert "failure" not in run.data.tags


def test_a_trial_cut_off_before_its_status_is_no_point(
    sweep: tracking.SweepWriter,
    opened: tracking.TrackingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = support.start(sweep)

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial._client, "set_terminated", cut_off)
        with pytest.raises(KeyboardInterrupt):
            support.finish(trial)
    [record] = opened.trials("first")
    assert record.outcome is Outcome.RUNNING
    assert record.test_mse is None
    assert tracking.finished_points(opened.trials("first")) == {}


def test_a_run_cut_off_at_its_start_leaves_nothing(
    opened: tracking.TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(opened._client, "log_inputs", cut_off)
        with pytest.raises(KeyboardInterrupt):
            opened.start_sweep(support.config(), card=support.CARD, environment={})
    assert opened.sweeps() == []
    opened.start_sweep(support.config(), card=support.CARD, environment={})


def test_a_finished_sweep_has_figure_table_and_document(
    sweep: tracking.SweepWriter, client: MlflowClient
) -> None:
    support.finish_sweep(sweep)
    run = client.get_run(sweep.run_id)
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "finished")
    folder = artifacts(run)
    assert (folder / "frontier.png").read_bytes() == support.png()
    assert support.read_json(folder / "frontier.json") == {"points": [8]}
    assert support.read_json(folder / "frontier_table.json") == {
        "columns": ["Latent dim", "Test MSE", "PSNR (dB)"],
        "data": [[8, 0.0051, None]],
    }
    assert (folder / "frontier_table.csv").read_text() == (
        "Latent dim,Test MSE,PSNR (dB)\n8,0.0051,\n"
    )
    table = client.get_run(sweep.run_id).data.tags["mlflow.loggedArtifacts"]
    assert json.loads(table) == [{"path": "frontier_table.json", "type": "table"}]


def test_a_sweep_finished_twice_has_one_table(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    support.finish_sweep(sweep)
    resumed = opened.resume_sweep(support.config(), card=support.CARD)
    support.finish_sweep(resumed)
    folder = artifacts(client.get_run(sweep.run_id))
    assert len(support.read_json(folder / "frontier_table.json")["data"]) == 1


def test_a_failed_sweep_tells_why(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    sweep.fail("x" * 10_000)
    assert opened.sweep().outcome is Outcome.FAILED
    assert client.get_run(sweep.run_id).data.tags["failure"] == "x" * 8_000


def test_a_file_outside_the_run_is_refused(sweep: tracking.SweepWriter) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        sweep.finish(figures={"../escape.png": b""}, table=[], document={})


def test_a_document_with_nan_is_refused(sweep: tracking.SweepWriter, client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="JSON"):
        sweep.finish(figures={}, table=[], document={"mse": math.nan})
    assert client.get_run(sweep.run_id).info.status == "RUNNING"


def test_the_global_state_of_mlflow_is_left_alone(sweep: tracking.SweepWriter) -> None:
    import mlflow
    from mlflow.tracking._tracking_service import utils

    support.finish(support.start(sweep))
    assert mlflow.active_run() is None
    assert utils._tracking_uri is None


def test_every_outcome_but_running_has_a_status() -> None:
    assert set(runs.RUN_STATUS) == set(Outcome) - {Outcome.RUNNING}
