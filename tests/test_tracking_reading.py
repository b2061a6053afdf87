"""Sweeps and trials come back as they were written; what is no result is passed over."""

from __future__ import annotations

import gc
import math
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from mlflow.entities import Metric, Param

from ae_sweep import ownership, tracking
from ae_sweep.config import Choices, SearchSpace
from ae_sweep.errors import ConfigError, ConflictError, NotStoredError
from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from ae_sweep.locations import Store


@pytest.fixture
def sweep(opened: tracking.TrackingStore, store: Store) -> Iterator[tracking.SweepWriter]:
    with ownership.hold(store.running("first"), take_over_command=""):
        yield opened.start_sweep(
            support.config(), card=support.CARD, environment=support.ENVIRONMENT
        )


def test_a_trial_comes_back_as_it_was_written(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore
) -> None:
    point = support.point(lr=0.1 + 0.2, seed=2**31 - 1)
    trial = support.start(sweep, point)
    support.finish(trial)
    [record] = opened.trials("first")
    assert record.point == point
    assert record.point.key == point.key
    assert record.run_id == trial.run_id
    assert (record.sweep, record.name, record.role) == ("first", "d=8 trial 0", Role.SEARCH)
    assert (record.pixels, record.compression_ratio) == (784, 98.0)
    assert (record.val_mse, record.test_mse, record.test_psnr) == (0.005, 0.0051, 22.9)
    assert record.train_seconds == 12.5
    assert tracking.finished_points(opened.trials("first")) == {point.key: 0.005}


def test_a_running_trial_tells_its_validation_but_no_result(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore
) -> None:
    trial = support.start(sweep)
    [before] = opened.trials("first")
    assert before.val_mse is None
    trial.log_epoch(support.epoch())
    [record] = opened.trials("first")
    assert record.val_mse == 0.01
    assert (record.test_mse, record.train_seconds) == (None, None)
    assert record.compression_ratio == 98.0


@pytest.mark.parametrize("missing", ["val_mse", "test_mse"])
def test_a_finished_trial_without_a_measurement_has_failed(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, store: Store, missing: str
) -> None:
    support.finish(support.start(sweep))
    with sqlite3.connect(store.root / "mlflow.db") as connection:
        connection.execute("DELETE FROM latest_metrics WHERE key = ?", (missing,))
    connection.close()
    [record] = opened.trials("first")
    assert record.outcome is Outcome.FAILED
    assert tracking.finished_points(opened.trials("first")) == {}


def test_an_infinity_that_another_program_logged_is_no_measurement(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    trial = support.start(sweep)
    client.log_batch(trial.run_id, metrics=[Metric("val_mse", math.inf, 1, 1)])
    assert client.get_run(trial.run_id).data.metrics["val_mse"] > 1e307
    [record] = opened.trials("first")
    assert record.val_mse is None


def test_a_run_that_tells_no_point_is_passed_over(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    tags = {"sweep": "first", "kind": "trial", "role": "search"}
    client.create_run(opened.experiment_id, tags=tags)
    lost = client.create_run(opened.experiment_id, tags=tags)
    client.log_param(lost.info.run_id, "latent_dim", "eight")
    support.finish(support.start(sweep))
    assert len(opened.trials("first")) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("latent_dim", "1" + "0" * 400), ("lr", "nan"),
     *(pytest.param(*each, marks=pytest.mark.slow) for each in
       (("latent_dim", "-5"), ("lr", "inf"), ("epochs", "0"), ("pixels", "0")))],
)  # fmt: skip
def test_a_run_of_a_training_that_cannot_be_is_passed_over(
    sweep: tracking.SweepWriter,
    opened: tracking.TrackingStore,
    client: MlflowClient,
    key: str,
    value: str,
) -> None:
    trial = support.start(sweep)
    support.finish(trial)
    told = client.get_run(trial.run_id)
    tags = {name: text for name, text in told.data.tags.items() if not name.startswith("mlflow.")}
    for params in ({}, {key: value}):
        run = client.create_run(opened.experiment_id, tags=tags)
        logged = {**told.data.params, **params}
        client.log_batch(run.info.run_id, params=[Param(*each) for each in logged.items()])
    assert len(opened.trials("first")) == 2, "the one that was finished, and its copy"


def test_hostile_texts_come_back_as_they_are(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    hostile = "[bold]d=8[/bold] ' OR 1=1 -- <script>\x1b[31m é \U0001f600"
    trial = support.start(sweep, support.point(model=hostile), name=hostile)
    trial.fail(hostile)
    [record] = opened.trials("first")
    assert (record.name, record.point.model) == (hostile, hostile)
    assert client.get_run(trial.run_id).data.tags["failure"] == hostile


def test_a_sweep_of_that_name_is_a_conflict(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore
) -> None:
    with pytest.raises(ConflictError, match=r"first is stored already; .*--resume.*--name"):
        opened.start_sweep(support.config(), card=support.CARD, environment={})
    assert len(opened.sweeps()) == 1


def test_a_resumed_sweep_goes_on_with_what_it_has_grown_to(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    support.finish(support.start(sweep))
    abandoned = support.start(sweep, support.point(seed=1))
    sweep.interrupt()
    assert opened.sweep("first").outcome is Outcome.INTERRUPTED
    grown = support.config(dims=(2, 8, 32), trials=9, repeats=2)
    resumed = opened.resume_sweep(grown, card=support.CARD)
    assert resumed.run_id == sweep.run_id
    record = opened.sweep("first")
    assert record.outcome is Outcome.RUNNING
    assert (record.config["dims"], record.config["trials"]) == ("2 8 32", "9")
    assert client.get_run(abandoned.run_id).info.status == "KILLED"
    support.finish(support.start(resumed, support.point(32)))
    support.finish_sweep(resumed)
    assert client.get_run(sweep.run_id).info.status == "FINISHED"
    assert len(tracking.finished_points(opened.trials("first"))) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"model": "mlp"},
        {"sampler": "random"},
        {"train_limit": 100},
        {"space": SearchSpace(lr=Choices((1e-3,)), epochs=Choices((2, 4)))},
    ],
)
def test_a_sweep_with_other_settings_cannot_be_resumed(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, changes: dict[str, Any]
) -> None:
    sweep.interrupt()
    with pytest.raises(ConflictError, match=r"first is stored with .*--name") as told:
        opened.resume_sweep(support.config(**changes), card=support.CARD)
    assert opened.sweep().outcome is Outcome.INTERRUPTED, "it stays as it was"
    option = next(iter(changes)).replace("space", "lr").replace("_", "-")
    assert f"settings: {option} is " in str(told.value)


def test_a_sweep_on_other_images_cannot_be_resumed(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore
) -> None:
    import dataclasses

    other = dataclasses.replace(support.CARD, digest="f" * 16)
    with pytest.raises(ConflictError, match=r"other images of mnist"):
        opened.resume_sweep(support.config(), card=other)


def test_more_dims_than_mlflow_holds_are_refused_before_anything_is_written(
    opened: tracking.TrackingStore,
) -> None:
    with pytest.raises(ConfigError, match=r"2000 dims.*sweep fewer dims"):
        opened.start_sweep(
            support.config(dims=tuple(range(1, 2_001))), card=support.CARD, environment={}
        )
    assert opened.sweeps() == []


def test_sweeps_come_newest_first_and_the_latest_is_the_default(
    opened: tracking.TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        opened.start_sweep(support.config(name), card=support.CARD, environment={})
    assert [record.name for record in opened.sweeps()] == ["three", "two", "one"]
    assert opened.sweep().name == "three"
    record = opened.sweep("one")
    assert record.dataset_digest == support.CARD.digest
    assert record.experiment_id == opened.experiment_id
    assert record.started_ms > 1_600_000_000_000


def test_an_unknown_sweep_is_told_with_the_nearest_name(opened: tracking.TrackingStore) -> None:
    with pytest.raises(NotStoredError, match="nothing is stored"):
        opened.sweep()
    with pytest.raises(NotStoredError, match="nothing is stored"):
        opened.sweep("any")
    for name in ("mnist-small", "fashion"):
        opened.start_sweep(support.config(name), card=support.CARD, environment={})
    for ask in (opened.sweep, opened.trials, opened.trials_to_keep):
        with pytest.raises(NotStoredError, match=r"'mnist-smal'; did you mean mnist-small\?"):
            ask("mnist-smal")
    with pytest.raises(NotStoredError, match=r"the latest is fashion; `ae-sweep list --store .*`"):
        opened.sweep("zzz")


@pytest.mark.parametrize("name", ["x' OR tags.kind = 'sweep", "", "a/b", "é" * 5_000, "%"])
def test_a_name_that_no_sweep_can_have_is_unknown(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, name: str
) -> None:
    with pytest.raises(NotStoredError, match="no sweep is named") as caught:
        opened.trials(name)
    assert len(str(caught.value)) < 300


def test_reading_goes_through_all_pages(
    sweep: tracking.SweepWriter,
    opened: tracking.TrackingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "PAGE_RUNS", 2)
    for seed in range(5):
        support.start(sweep, support.point(seed=seed), name=str(seed))
    assert [trial.name for trial in opened.trials("first")] == list("01234")
    assert opened.sweep("first").counts[Outcome.RUNNING] == 5
    assert gc.isenabled()


def test_a_sweep_comes_with_its_trials_in_one_reading(
    sweep: tracking.SweepWriter,
    opened: tracking.TrackingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    support.finish(support.start(sweep))
    support.start(sweep, support.point(2))
    filters = []
    search = reader.search

    def counted(*arguments: Any, **named: Any) -> Any:
        filters.append(named["filter_string"])
        return search(*arguments, **named)

    monkeypatch.setattr(reader, "search", counted)
    record, trials = opened.sweep_with_trials()
    assert (record, trials) == (opened.sweep("first"), opened.trials("first"))
    assert [trial.outcome for trial in trials] == [Outcome.FINISHED, Outcome.RUNNING]
    assert len(filters) == 6, "a search for the sweep and one for its trials, each time"


def test_all_abandoned_trials_are_ended_however_many_pages_they_fill(
    sweep: tracking.SweepWriter,
    opened: tracking.TrackingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "PAGE_RUNS", 2)
    for seed in range(5):
        support.start(sweep, support.point(seed=seed))
    opened.resume_sweep(support.config(), card=support.CARD)
    assert {trial.outcome for trial in opened.trials("first")} == {Outcome.INTERRUPTED}


def test_trials_of_other_sweeps_stay_apart(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore
) -> None:
    second = opened.start_sweep(support.config("second"), card=support.CARD, environment={})
    support.finish(support.start(sweep))
    support.finish(support.start(second, support.point(2)))
    assert [trial.point.latent_dim for trial in opened.trials("first")] == [8]
    assert [trial.point.latent_dim for trial in opened.trials("second")] == [2]


def test_a_run_deleted_in_the_ui_is_gone(
    sweep: tracking.SweepWriter, opened: tracking.TrackingStore, client: MlflowClient
) -> None:
    trial = support.start(sweep)
    support.finish(trial)
    client.delete_run(trial.run_id)
    assert opened.trials("first") == []
