"""A sweep from Python: the same settings, checks and stored results as from the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import own_sources
import pytest
import tracking_support as support
from conftest import ROOT
from fake_engine import SMALL, faking
from fakes import FakeTraining

import ae_sweep
from ae_sweep import tracking
from ae_sweep.errors import (
    ConfigError,
    ConflictError,
    NotStoredError,
    StoreError,
    TrainingDivergedError,
)
from ae_sweep.locations import open_at
from ae_sweep.records import Outcome
from ae_sweep.runner.execution import SweepPlanned
from ae_sweep.runner.request import make_request
from ae_sweep.sweep import TrialEnded, TrialStarted, TrialValidated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done


@pytest.fixture
def place(tmp_path: Path, plain_pictures: None) -> None:
    """Make the default store beforehand: MLflow takes seconds to make one."""
    support.fresh_store(tmp_path)


@pytest.fixture(autouse=True)
def quick(no_probe: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_sweep_is_run_and_opened_by_one_call(tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    fake = FakeTraining()
    sweep = ae_sweep.run_sweep(
        "some", dims=np.array([8, 2]), lr=ae_sweep.Range(1e-3, 1e-2), epochs="2:4", trials=2,
        engine=faking(fake), progress=False, **SMALL,
    )  # fmt: skip
    assert sweep.name == "some"
    assert sweep.record.config["lr"] == "0.001:0.01"
    assert sweep.record.config["epochs"] == "2:4"
    assert sweep.frontier_table()["latent_dim"].tolist() == [2, 8]
    assert len(sweep.trials) == len(fake.started)
    assert [record.name for record in ae_sweep.list_sweeps()] == ["some"]
    assert ae_sweep.load_sweep().trials == sweep.trials
    assert store.artifact_root is not None
    (figure,) = store.artifact_root.rglob("frontier.png")
    assert figure.stat().st_size > 10_000


@pytest.mark.usefixtures("place")
def test_the_trials_of_a_sweep_that_has_ended_are_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = []
    read = tracking.TrackingStore.sweep_with_trials

    def counted(runs: tracking.TrackingStore, name: str | None = None, **settings: Any) -> Any:
        readings.append(name)
        return read(runs, name, **settings)

    monkeypatch.setattr(tracking.TrackingStore, "sweep_with_trials", counted)
    sweep = ae_sweep.run_sweep(
        "some", dims=[2, 4], trials=1, engine=faking(FakeTraining()), progress=False, **SMALL
    )
    assert readings == ["some"]
    stored = ae_sweep.load_sweep("some")
    assert (sweep.record, sweep.trials) == (stored.record, stored.trials)
    assert sweep.record.outcome is Outcome.FINISHED


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_an_option_that_changes_no_pixel_is_not_stored_when_a_sweep_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.save(tmp_path / "some.npy", own_sources.images(300, side=8))
    settings: dict[str, Any] = {
        "dataset": tmp_path / "some.npy", "epochs": 1, "progress": False,
        "engine": faking(FakeTraining()),
    }  # fmt: skip
    first = ae_sweep.run_sweep("some", dims=2, trials=1, **settings)
    grown = ae_sweep.run_sweep(
        "some", dims=[2, 4], resume=True, colour="grey", background="white", **settings
    )
    assert grown.record.config == {**first.record.config, "dims": "2 4"}
    elsewhere = {**settings, "dataset": tmp_path / "floats.npy"}
    np.save(elsewhere["dataset"], own_sources.images(300, side=8) / np.float32(255))
    moved = ae_sweep.run_sweep("some", resume=True, scale=True, **elsewhere)
    assert moved.record.config["scale"] == "True", "without it these floats are refused"


@pytest.mark.usefixtures("place")
def test_a_name_that_is_left_out_is_made_of_data_set_and_time() -> None:
    sweep = ae_sweep.run_sweep(
        dims=2, trials=1, engine=faking(FakeTraining()), progress=False, **SMALL
    )
    assert re.fullmatch(r"shapes-\d{8}-\d{6}", sweep.name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": []}, "--dims is empty"),
        ({"dims": [2.5]}, r"--dims '2.5' is not a whole number"),
        ({"dims": True}, r"--dims 'True' is not a whole number"),
        ({"trials": 1.5}, "trials must be a whole number, got 1.5"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"lr": (1e-3, -1)}, "lr must be a positive finite number"),
        ({"lr": "x"}, r"--lr 'x' is not a number"),
        ({"model": "convv"}, r"did you mean 'conv'"),
        ({"workers": 0}, r"--workers '0' is not a whole number from 1"),
        ({"resume": True}, r"--resume needs the sweep's --name"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_stored(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        ae_sweep.run_sweep(progress=False, **{**SMALL, **settings})
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_setting_is_refused_with_the_nearest_name() -> None:
    wrong: dict[str, Any] = {"trails": 3}
    with pytest.raises(TypeError, match=r"no setting 'trails'.*did you mean 'trials'"):
        ae_sweep.run_sweep(progress=False, **wrong)


def test_a_plan_is_a_value_and_stores_nothing(tmp_path: Path) -> None:
    plan = ae_sweep.plan_sweep("some", dims=[2, 8], trials=2, repeats=1, **SMALL)
    assert plan.trials == 6
    assert 0 < plan.expected_seconds <= plan.most_seconds
    assert plan.document()["sweep"] == "some"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("place")
def test_events_come_one_by_one_after_the_plan() -> None:
    events = ae_sweep.iter_sweep(
        "some", dims=2, trials=1, epochs=2, engine=faking(FakeTraining()), **SMALL
    )
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            sweep = end.value
            break
    assert [type(event) for event in seen] == [
        SweepPlanned, TrialStarted, *[TrialValidated] * 4, TrialEnded,
    ]  # fmt: skip
    assert seen[0].estimate.trials == 1
    assert sweep.frontier.points[0].latent_dim == 2


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_a_caller_that_stops_early_leaves_a_sweep_that_can_be_resumed() -> None:
    settings: dict[str, Any] = {**SMALL, "dims": [2, 4], "trials": 1}
    fake = FakeTraining()
    with contextlib.closing(ae_sweep.iter_sweep("some", engine=faking(fake), **settings)) as events:
        for event in events:
            if isinstance(event, TrialValidated) and event.trial.config.latent_dim == 4:
                break
    stopped = ae_sweep.load_sweep("some")
    assert stopped.record.outcome is Outcome.INTERRUPTED
    assert [trial.outcome for trial in stopped.trials] == [Outcome.FINISHED, Outcome.INTERRUPTED]
    again = FakeTraining()
    sweep = ae_sweep.run_sweep("some", resume=True, engine=faking(again), progress=False)
    assert [config.latent_dim for config in again.started] == [4], "only what is missing"
    assert sweep.record.outcome is Outcome.FINISHED


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_ctrl_c_leaves_a_sweep_that_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeTraining(interrupt_at=6)
    with pytest.raises(KeyboardInterrupt):
        ae_sweep.run_sweep("some", dims=[2, 4], trials=1, engine=faking(fake), **SMALL)
    advice = capsys.readouterr().err.rpartition("complete it with: ")[2]
    assert advice == "ae_sweep.run_sweep('some', resume=True) with the same engine\n"
    stopped = ae_sweep.load_sweep("some")
    assert Outcome.RUNNING not in {stopped.record.outcome, *(t.outcome for t in stopped.trials)}
    with pytest.raises(ConflictError, match="stored already"):
        ae_sweep.run_sweep("some", engine=faking(fake), progress=False, **SMALL)
    sweep = ae_sweep.run_sweep("some", resume=True, engine=faking(FakeTraining()), progress=False)
    assert len(sweep.frontier.points) == 2


@pytest.mark.usefixtures("place")
def test_a_store_that_fails_does_not_hide_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the store is gone")

    monkeypatch.setattr(tracking.SweepWriter, "interrupt", fail)
    monkeypatch.setattr(tracking.TrialWriter, "interrupt", fail)
    with pytest.raises(KeyboardInterrupt):
        ae_sweep.run_sweep(
            "some", dims=2, trials=1, engine=faking(FakeTraining(interrupt_at=2)), **SMALL
        )


def test_the_advice_to_resume_is_a_call_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(ae_sweep, "run_sweep", lambda name, **given: calls.append((name, given)))
    request = make_request(
        "some",
        {"dims": "2"},
        store=open_at(tmp_path / "it's"),
        now=time.localtime(),
        announce=print,
        data_dir=tmp_path,
        device="cpu",
        workers=None,
    )
    exec(request.resume_call)
    exec(dataclasses.replace(request, store=open_at(), workers=1, data_dir=None).resume_call)
    everything = {"store": str(tmp_path / "it's"), "data_dir": str(tmp_path)}
    assert calls == [
        ("some", {"resume": True, **everything, "device": "cpu", "workers": "auto"}),
        ("some", {"resume": True, "device": "cpu"}),
    ]


@pytest.mark.slow
def test_the_sweep_is_read_from_where_the_environment_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    support.fresh_store(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere / 'mlruns' / 'mlflow.db'}")
    sweep = ae_sweep.run_sweep("some", dims=2, trials=1, engine=faking(FakeTraining()), **SMALL)
    assert sweep.record.outcome is Outcome.FINISHED
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
    assert "explicit --store wins" not in capsys.readouterr().err


def test_a_setting_that_is_none_has_its_default(tmp_path: Path) -> None:
    given: dict[str, Any] = {"workers": None, "device": None, "resume": None, "trials": None}
    planned = ae_sweep.plan_sweep(
        "some", store=tmp_path, dims=2, engine=faking(FakeTraining()), **given, **SMALL
    )
    assert planned.plan.config.trials == 3


def test_an_engine_cannot_train_a_nested_sweep() -> None:
    with pytest.raises(ConfigError, match="an engine is given; leave engine out"):
        ae_sweep.run_sweep("some", method="nested", engine=faking(FakeTraining()), **SMALL)


def test_numbers_of_numpy_are_numbers() -> None:
    low, high = np.array([1e-3, 1e-2])
    assert str(ae_sweep.Range(low, high)) == "0.001:0.01"
    assert str(ae_sweep.Choices(tuple(np.array([2, 4])))) == "2 4"


@pytest.mark.usefixtures("place")
def test_a_sweep_that_lacks_a_dim_is_stored_and_refused() -> None:
    diverges = FakeTraining(
        error=lambda config: (
            TrainingDivergedError("loss nan at step 7") if config.latent_dim == 4 else None
        )
    )
    with pytest.raises(NotStoredError, match=r"no trial finished for d=4; .* `ae-sweep ui`"):
        ae_sweep.run_sweep(
            "some", dims=[2, 4], trials=1, engine=faking(diverges), progress=False, **SMALL
        )
    assert len(ae_sweep.load_sweep("some").frontier.points) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_progress_is_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {**SMALL, "dims": 2, "trials": 1, "epochs": 2}
    ae_sweep.run_sweep("some", engine=faking(FakeTraining()), **settings)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert re.search(r"^some: 1 to train, about \d+ s$", streams.err, re.MULTILINE)
    assert re.search(r"^d=2 trial 0: finished .* test MSE ", streams.err, re.MULTILINE)
    assert "\r" not in streams.err
    ae_sweep.run_sweep("other", engine=faking(FakeTraining()), progress=False, **settings)
    silent = capsys.readouterr()
    assert (silent.out, silent.err) == ("", "")


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_the_engine_of_the_document_trains_a_sweep() -> None:
    section = (ROOT / "docs/extending.md").read_text().partition("## An engine")[2]
    module: dict[str, Any] = {"__name__": __name__}
    code, use = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    exec(code, module)
    exec(use.replace("engine=known_speed", "engine=known_speed, progress=False"), module)
    sweep = module["sweep"]
    assert sweep.frontier_table()["latent_dim"].tolist() == [2, 4]
    assert sweep.runs.parameters(sweep.trials[0].run_id)["device_name"] == "this thread"


@pytest.mark.slow
def test_command_line_and_python_store_the_same(cli: Callable[..., Done], tmp_path: Path) -> None:
    words = ["--dataset", "shapes", "--train-limit", "256", "--dims", "2", "4", "--trials", "2",
             "--epochs", "1:2", "--repeats", "1", "--name", "same"]  # fmt: skip
    done = cli("run", *words, "--store", str(tmp_path / "line"))
    assert done.code == 0, done.err
    by_line = ae_sweep.load_sweep("same", store=tmp_path / "line")
    by_python = ae_sweep.run_sweep(
        "same", dims=[2, 4], trials=2, epochs="1:2", repeats=1, store=tmp_path / "python",
        progress=False, **SMALL,
    )  # fmt: skip

    def timeless(sweep: ae_sweep.Sweep) -> list[dict[str, Any]]:
        rows = [dataclasses.asdict(trial) for trial in sweep.trials]
        return [
            {key: row[key] for key in row if key not in ("run_id", "train_seconds")} for row in rows
        ]

    assert timeless(by_python) == timeless(by_line)
    assert by_python.record.config == by_line.record.config
    for one, other in zip(by_python.trials, by_line.trials, strict=True):
        assert by_python.runs.parameters(one.run_id) == by_line.runs.parameters(other.run_id)
