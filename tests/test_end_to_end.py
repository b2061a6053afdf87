"""Whole sweeps through the command line, and what others find of them in MLflow and Optuna."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import REAL_DIMS, ROOT, environment
from process_fakes import wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Done, Sweep

pytestmark = pytest.mark.slow

READER = """
import json, pickle, sys
from collections import defaultdict

import mlflow, optuna
from mlflow import MlflowClient

store, images_file = sys.argv[1:]
mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
client = MlflowClient()
told = {"runs": [], "studies": {}}
(experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
    run_id, data = run.info.run_id, run.data
    told["runs"].append({
        "id": run_id, "name": run.info.run_name, "status": run.info.status,
        "params": data.params, "tags": data.tags, "metrics": data.metrics,
        "history": {
            key: [[m.step, m.value] for m in client.get_metric_history(run_id, key)]
            for key in data.metrics
        },
        "inputs": [
            {"name": i.dataset.name, "digest": i.dataset.digest, "profile": i.dataset.profile}
            for i in run.inputs.dataset_inputs
        ],
        "models": [output.model_id for output in run.outputs.model_outputs] if run.outputs else [],
        "artifacts": [file.path for file in client.list_artifacts(run_id)],
    })
storage = f"sqlite:///{store}/optuna.db"
for name in optuna.get_all_study_names(storage):
    study = optuna.load_study(study_name=name, storage=storage)
    told["studies"][name] = [
        {"state": t.state.name, "value": t.value, "params": t.params,
         "reports": t.intermediate_values}
        for t in study.trials if "duplicate_of" not in t.user_attrs
    ]
assert not [module for module in sys.modules if module.startswith("ae_sweep")]

import torch  # first, since it defines classes on top of what is now broken

def refuse(*_, **__):
    raise AssertionError("pickle was used")

pickle.load = pickle.loads = pickle.Unpickler = pickle._Unpickler = refuse
import cloudpickle
cloudpickle.load = cloudpickle.loads = refuse

import numpy as np
images = np.load(images_file, allow_pickle=False)
told["models"] = {}
for run in told["runs"]:
    for model_id in run["models"]:
        model = mlflow.pyfunc.load_model(f"models:/{model_id}")
        rebuilt = model.predict(images)
        latents = model.predict(images, params={"output": "latent"})
        network = model.get_raw_model()
        with torch.inference_mode():
            x = torch.from_numpy(images)
            halves = network.decoder(network.encoder(x))
            again = network.decode(network.encode(x)).numpy()
        told["models"][run["id"]] = {
            "mse": float(np.mean((rebuilt.astype(np.float64) - images) ** 2)),
            "dtype": str(rebuilt.dtype), "shape": rebuilt.shape, "latents": latents.shape,
            "halves": list(halves.shape), "agrees": float(np.abs(again - rebuilt).max()),
            "status": str(client.get_logged_model(model_id).status),
            "metrics": sorted({m.key for m in client.get_logged_model(model_id).metrics or []}),
        }
json.dump(told, sys.stdout)
"""


def _read(store: Path, *, cwd: Path) -> dict[str, Any]:
    """Read a store in a fresh process that knows mlflow and optuna, and nothing of ours."""
    from ae_sweep import data

    images = data.load("shapes", cache_dir=cwd).test_NCHW.astype(np.float32) / np.float32(255)
    np.save(cwd / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(store), str(cwd / "images.npy")],
        cwd=cwd,
        env=environment(PYTHONPATH=str(ROOT), MLFLOW_DISABLE_TELEMETRY="true"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="session")
def told(real_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _read(real_sweep.store, cwd=tmp_path_factory.mktemp("reader"))


def _parent(told: dict[str, Any]) -> dict[str, Any]:
    (parent,) = [run for run in told["runs"] if "mlflow.parentRunId" not in run["tags"]]
    return parent


def _children(told: dict[str, Any], outcome: str | None = None) -> list[dict[str, Any]]:
    children = [run for run in told["runs"] if "mlflow.parentRunId" in run["tags"]]
    return [run for run in children if outcome in (None, run["tags"]["outcome"])]


def test_the_command_ends_with_the_table_on_stdout_and_the_next_commands_on_stderr(
    real_sweep: Sweep, process: Callable[..., Done]
) -> None:
    header, *rows = real_sweep.done.out.splitlines()
    assert " ".join(header.split()) == "Latent dim Compression Test MSE PSNR (dB) best lr epochs"
    assert [int(row.split()[0]) for row in rows] == list(REAL_DIMS)
    assert "[12/12]" in real_sweep.done.err
    commands = re.findall(r"ae-sweep (?:frontier|ui|show) .*?(?=   )", real_sweep.done.err)
    assert len(commands) == 3
    words = shlex.split(next(line for line in commands if " show " in line))[1:]
    shown = process(*words, cwd=real_sweep.store.parent)
    assert shown.code == 0, shown.err
    assert len(shown.out.splitlines()) == 13


def test_the_parent_run_holds_configuration_data_set_figure_table_and_document(
    told: dict[str, Any], real_sweep: Sweep
) -> None:
    parent = _parent(told)
    assert (parent["name"], parent["status"]) == ("real", "FINISHED")
    assert parent["params"].items() >= {
        "dims": "2 4 8 16", "trials": "2", "repeats": "1", "lr": "0.001:0.01", "epochs": "1:2",
        "seed": "0", "dataset": "shapes", "model": "conv", "sampler": "tpe", "pruner": "median",
    }.items()  # fmt: skip
    (dataset,) = parent["inputs"]
    assert dataset["name"] == "shapes"
    assert dataset["digest"] == _children(told)[0]["params"]["dataset_digest"]
    assert json.loads(dataset["profile"])["train_images"] == 2_200
    assert {"frontier.png", "frontier.svg", "frontier_table.json", "frontier_table.csv",
            "frontier.json"} <= set(parent["artifacts"])  # fmt: skip
    files = real_sweep.store / "artifacts" / parent["id"] / "artifacts"
    document = json.loads((files / "frontier.json").read_text())
    assert [point["latent_dim"] for point in document["points"]] == list(REAL_DIMS)
    table = json.loads((files / "frontier_table.json").read_text())
    assert [row[0] for row in table["data"]] == list(REAL_DIMS)


def test_every_trial_is_a_child_run_with_all_parameters_that_decide_its_result(
    told: dict[str, Any],
) -> None:
    import torch

    children = _children(told)
    assert len(children) == 12
    parent = _parent(told)["id"]
    for run in children:
        assert run["tags"]["mlflow.parentRunId"] == parent
        assert run["tags"]["sweep"] == "real"
        assert {
            "latent_dim", "lr", "epochs", "batch_size", "seed", "model", "dataset",
            "dataset_digest", "recipe", "precision", "device", "threads", "ae_sweep_version",
            "python_version", "torch_version", "mlflow_version", "optuna_version",
        } <= set(run["params"])  # fmt: skip
        assert run["params"]["torch_version"].partition("+")[0] in torch.__version__
        assert run["params"]["threads"] == "1", "that is what these tests allow"
        assert [dataset["name"] for dataset in run["inputs"]] == ["shapes"]
    by_dim = Counter(int(run["params"]["latent_dim"]) for run in children)
    assert by_dim == dict.fromkeys(REAL_DIMS, 3)
    assert len({run["tags"]["point"] for run in children}) == 12, "no point is trained twice"


def test_the_plan_of_a_finished_sweep_counts_no_repeat_again(
    real_sweep: Sweep, process: Callable[..., Done]
) -> None:
    done = process(
        "run", "--name", real_sweep.name, "--resume", "--dry-run", "--json", "--store",
        str(real_sweep.store),
        cwd=real_sweep.store.parent,
    )  # fmt: skip
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert (plan["trials_to_train"], plan["max_epochs"]) == (0, 0)
    assert plan["expected_seconds"] == plan["most_seconds"] == 0


def test_a_checkout_logs_its_git_commit(told: dict[str, Any]) -> None:
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if head.returncode:
        pytest.skip("this is no git checkout")
    logged = _children(told)[0]
    assert re.fullmatch("[0-9a-f]{40}", logged["params"]["git_commit"])
    assert logged["params"]["git_dirty"] == _parent(told)["params"]["git_dirty"]
    assert logged["params"]["git_dirty"] in ("True", "False")
    assert logged["tags"]["mlflow.source.git.commit"] == logged["params"]["git_commit"]


def test_finished_trials_have_metrics_for_every_epoch_and_at_the_end(told: dict[str, Any]) -> None:
    finished = _children(told, "finished")
    assert len(finished) >= 8, "the first trial of each dim, and its repeat"
    for run in finished:
        assert run["status"] == "FINISHED"
        epochs = int(run["params"]["epochs"])
        for key in ("train_mse", "val_mse", "val_psnr", "images_per_second", "epoch_seconds"):
            steps = [step for step, _ in run["history"][key]]
            assert len(steps) >= max(epochs, 4)
            assert len(set(steps)) == len(steps)
            assert all(value > 0 for _, value in run["history"][key])
        metrics = run["metrics"]
        assert {"test_mse", "test_psnr", "compression_ratio"} <= set(metrics)
        assert metrics["compression_ratio"] == 784 / int(run["params"]["latent_dim"])
        assert metrics["test_psnr"] == pytest.approx(-10 * np.log10(metrics["test_mse"]))


def test_pruned_trials_are_told_by_status_and_tag_and_have_no_test_result(
    told: dict[str, Any],
) -> None:
    pruned = _children(told, "pruned")
    assert pruned, "one trial is bad enough with this seed"
    assert len(pruned) + len(_children(told, "finished")) == 12
    for run in pruned:
        assert run["status"] == "KILLED"
        assert "val_mse" in run["metrics"]
        assert not {"test_mse", "test_psnr"} & set(run["metrics"])
        assert run["models"] == run["artifacts"] == []


def test_every_finished_trial_has_a_picture_of_test_images(
    told: dict[str, Any], real_sweep: Sweep
) -> None:
    from PIL import Image

    for run in _children(told, "finished"):
        assert run["artifacts"] == ["reconstructions.png"]
        file = real_sweep.store / "artifacts" / run["id"] / "artifacts" / "reconstructions.png"
        with Image.open(file) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.width >= 400, "large enough to see digits"
            assert picture.height >= 150
            assert np.asarray(picture.convert("L")).std() > 10, "no empty page"


def test_logged_models_load_without_pickle_and_reproduce_the_logged_test_mse(
    told: dict[str, Any],
) -> None:
    finished = _children(told, "finished")
    assert set(told["models"]) == {run["id"] for run in finished}
    for run in finished:
        model = told["models"][run["id"]]
        assert model["status"].upper().endswith("READY")
        assert model["mse"] == pytest.approx(run["metrics"]["test_mse"], rel=1e-4)
        assert model["dtype"] == "float32"
        assert model["shape"] == model["halves"] == [400, 1, 28, 28]
        assert model["latents"] == [400, int(run["params"]["latent_dim"])]
        assert model["agrees"] < 1e-5
        assert {"test_mse", "val_mse"} <= set(model["metrics"])


def test_optuna_holds_a_study_for_each_dim_that_agrees_with_mlflow(told: dict[str, Any]) -> None:
    assert set(told["studies"]) == {f"real/d={dim}" for dim in REAL_DIMS}
    for dim in REAL_DIMS:
        trials = told["studies"][f"real/d={dim}"]
        runs = [
            run
            for run in _children(told)
            if run["params"]["latent_dim"] == str(dim) and run["tags"]["role"] == "search"
        ]
        assert len(trials) == len(runs) == 2
        for trial, run in zip(trials, runs, strict=True):
            assert (trial["state"], run["tags"]["outcome"]) in {
                ("COMPLETE", "finished"), ("PRUNED", "pruned"),
            }  # fmt: skip
            assert float(run["params"]["lr"]) == trial["params"]["lr"]
            assert int(run["params"]["epochs"]) == trial["params"]["epochs"]
            if trial["state"] == "COMPLETE":
                assert trial["value"] == pytest.approx(run["metrics"]["val_mse"], rel=1e-9)
                assert list(trial["reports"]) == ["1", "2", "3", "4"]


def test_optuna_dashboard_shows_the_studies(real_sweep: Sweep) -> None:
    import optuna

    optuna_dashboard = pytest.importorskip("optuna_dashboard")
    storage = optuna.storages.RDBStorage(f"sqlite:///{real_sweep.store}/optuna.db")
    try:
        dashboard = optuna_dashboard.wsgi(storage)
        statuses: list[str] = []
        request = {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "SERVER_NAME": "localhost",
            "SERVER_PORT": "80", "wsgi.url_scheme": "http", "QUERY_STRING": "",
        }  # fmt: skip
        answer = b"".join(dashboard(request, lambda status, *_: statuses.append(status)))
    finally:
        storage.engine.dispose()
    assert statuses == ["200 OK"]
    names = {study["study_name"] for study in json.loads(answer)["study_summaries"]}
    assert names == {f"real/d={dim}" for dim in REAL_DIMS}


SMALL = (
    "--dataset", "shapes", "--train-limit", "512", "--trials", "2", "--repeats", "1",
    "--epochs", "1:2", "--seed", "5", "--name", "small",
)  # fmt: skip
DIMS = ("--dims", "2", "4")


@pytest.fixture(scope="session")
def failing(
    process: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Done, dict[str, Any]]:
    """A sweep of which one trial cannot but fail."""
    place = tmp_path_factory.mktemp("failing")
    done = process(
        "run", "--dataset", "shapes", "--train-limit", "512", "--dims", "2", "--trials", "2",
        "--epochs", "2", "--lr", "4e-3", "1e18", "--pruner", "none", "--store", "store",
        "--name", "failing", "--json",
        cwd=place,
    )  # fmt: skip
    return done, _read(place / "store", cwd=place)


def test_a_failed_trial_is_told_with_step_and_lr_and_the_sweep_goes_on(
    failing: tuple[Done, dict[str, Any]],
) -> None:
    done, told = failing
    assert done.code == 0, done.err
    (failed,) = _children(told, "failed")
    assert failed["status"] == "FAILED"
    assert re.search(r"loss (nan|inf) at step \d+ .*1e\+18", failed["tags"]["failure"])
    assert failed["tags"]["failure"] in done.err
    assert "test_mse" not in failed["metrics"]
    assert failed["models"] == []
    assert len(_children(told, "finished")) == 1
    assert _parent(told)["status"] == "FINISHED"
    assert sorted(trial["state"] for trial in told["studies"]["failing/d=2"]) == [
        "COMPLETE", "FAIL",
    ]  # fmt: skip


def test_json_gives_the_whole_result_as_one_document_on_stdout(
    failing: tuple[Done, dict[str, Any]],
) -> None:
    document = json.loads(failing[0].out)
    assert document["sweep"] == "failing"
    assert Path(document["store"]).is_absolute()
    (point,) = document["frontier"]["points"]
    assert (point["latent_dim"], point["lr"]) == (2, 0.004)


@dataclass(frozen=True)
class Stored:
    """What both stores tell of a sweep, in a form that two sweeps can be compared by."""

    statuses: Counter[str]
    parent: str
    filled: dict[str, tuple[str, float | None]]
    """Outcome and test MSE by point."""
    trials: list[str]
    """States of Optuna's trials."""


def _stored(store: Path, name: str = "small") -> Stored:
    import optuna
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{name}'")
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    children = [run for run in runs if run.data.tags["kind"] == "trial"]
    filled = [run for run in children if run.data.tags["outcome"] in ("finished", "pruned")]
    points = [run.data.tags["point"] for run in filled]
    assert len(set(points)) == len(points), "a point was trained to its end twice"
    return Stored(
        Counter(run.info.status for run in runs),
        parent.info.status,
        {
            run.data.tags["point"]: (run.data.tags["outcome"], run.data.metrics.get("test_mse"))
            for run in filled
        },
        _trial_states(optuna, store),
    )


def _trial_states(optuna: Any, store: Path) -> list[str]:
    if not (store / "optuna.db").exists():
        return []
    storage = optuna.storages.RDBStorage(f"sqlite:///{store}/optuna.db")
    try:
        names = optuna.get_all_study_names(storage)
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        return [trial.state.name for study in studies for trial in study.trials]
    finally:
        storage.engine.dispose()


def _check_databases(store: Path) -> None:
    names = {path.name for path in store.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert names <= {"artifacts", "mlflow.db", "optuna.db"}, "nothing half-made"
    assert names >= {"mlflow.db", "optuna.db"}
    for name in ("mlflow.db", "optuna.db"):
        with contextlib.closing(sqlite3.connect(store / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture(scope="session")
def undisturbed(process: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("undisturbed")
    done = process("run", *SMALL, *DIMS, "--store", "store", cwd=place)
    assert done.code == 0, done.err
    return place / "store"


@contextlib.contextmanager
def _running(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "run", *words],
        cwd=cwd,
        start_new_session=True,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _stop(cwd: Path, marker: str, *, delay_seconds: float, signal_number: int) -> Done:
    """Start the small sweep and signal it some time after a line of its progress."""
    from conftest import Done

    with _running(*SMALL, *DIMS, "--store", "store", cwd=cwd) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if re.match(marker, line):
                break
        else:
            pytest.fail(f"no line matched {marker!r}: {said}")
        time.sleep(delay_seconds)  # the moment is what the test varies
        process.send_signal(signal_number)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, "".join(said) + err)


def _resume(process: Callable[..., Done], cwd: Path, *words: str) -> Done:
    done = process("run", "--name", "small", "--resume", "--store", "store", *words, cwd=cwd)
    assert done.code == 0, done.err
    return done


MOMENTS = {
    "before a first step": (r"d=2 trial 0: lr", 0.0),
    "in mid-trial": (r"d=4 trial 0: epoch 0\.5", 0.0),
    "while a model is logged": (r"d=4 trial 0: epoch 2 of 2", 0.1),
    "between search and repeats": (r"\[4/6\]", 0.1),
    "in the last repeat": (r"d=4 repeat 1: epoch", 0.0),
}


@pytest.mark.parametrize(
    ("moment", "signal_number"),
    [(moment, signal.SIGINT) for moment in MOMENTS] + [("in mid-trial", signal.SIGTERM)],
)
def test_an_interrupted_sweep_is_whole_and_resumes_to_what_an_undisturbed_one_is(
    process: Callable[..., Done],
    undisturbed: Path,
    tmp_path: Path,
    moment: str,
    signal_number: int,
) -> None:
    marker, delay = MOMENTS[moment]
    stopped = _stop(tmp_path, marker, delay_seconds=delay, signal_number=signal_number)
    assert stopped.code == 130, stopped
    assert stopped.out == ""
    assert "Traceback" not in stopped.err
    again = f"ae-sweep run --name small --resume --store {tmp_path / 'store'}"
    assert stopped.err.splitlines()[-1] == f"interrupted; complete it with: {again}"

    left = _stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.parent == "KILLED"
    assert "RUNNING" not in left.trials
    assert "WAITING" not in left.trials
    _check_databases(tmp_path / "store")

    words = shlex.split(again)[1:]
    resumed = process(*words, cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    whole = _stored(tmp_path / "store")
    assert whole.parent == "FINISHED"
    assert whole.filled == _stored(undisturbed).filled, "the same points with the same numbers"
    assert left.filled.items() <= whole.filled.items(), "what was there is left as it was"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.15])
def test_ctrl_c_at_the_very_end_loses_nothing(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path, delay_seconds: float
) -> None:
    stopped = _stop(tmp_path, r"\[6/6\]", delay_seconds=delay_seconds, signal_number=signal.SIGINT)
    # While Python shuts down the signal itself ends it, which a shell tells as 130 too.
    assert stopped.code in (0, 130, -signal.SIGINT), stopped
    assert "Traceback" not in stopped.err
    left = _stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.filled == _stored(undisturbed).filled
    resumed = _resume(process, tmp_path)
    assert "[1/" not in resumed.err, "nothing is trained again"
    assert _stored(tmp_path / "store").parent == "FINISHED"


def test_ctrl_c_before_anything_is_stored_leaves_nothing_and_the_command_can_be_given_again(
    tmp_path: Path,
) -> None:
    stopped = _stop(tmp_path, "measuring", delay_seconds=0.2, signal_number=signal.SIGINT)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in stopped.err
    assert not list(tmp_path.iterdir())


def test_a_second_ctrl_c_does_no_harm(process: Callable[..., Done], tmp_path: Path) -> None:
    with _running(*SMALL, *DIMS, "--store", "store", cwd=tmp_path) as running:
        assert running.stderr is not None
        next(line for line in running.stderr if line.startswith("d=2 trial 0: epoch"))
        for _ in range(3):
            running.send_signal(signal.SIGINT)
            time.sleep(0.01)  # bookkeeping takes longer
        _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert err.count("interrupted") == 1
    assert "Traceback" not in err
    left = _stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert "RUNNING" not in left.trials


def test_a_killed_sweep_resumes_without_training_a_finished_point_and_may_grow(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    killed = _stop(
        tmp_path, r"d=4 trial 0: epoch 0\.5", delay_seconds=0.0, signal_number=signal.SIGKILL
    )
    assert killed.code == -signal.SIGKILL
    left = _stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 2, "the sweep and its trial: nobody could end them"
    assert left.filled, "the first trials were finished"

    plan = process(
        "run", "--name", "small", "--resume", "--dry-run", "--json", "--store", "store",
        cwd=tmp_path,
    )  # fmt: skip
    assert plan.code == 0, plan.err
    assert json.loads(plan.out)["trials_to_train"] == 6 - len(left.filled)
    assert _stored(tmp_path / "store") == left, "a plan changes nothing"

    resumed = _resume(process, tmp_path)
    assert f"/{6 - len(left.filled)}] " in resumed.err
    whole = _stored(tmp_path / "store")
    assert whole.filled == _stored(undisturbed).filled
    assert whole.statuses["RUNNING"] == 0
    assert "RUNNING" not in whole.trials

    grown = _resume(process, tmp_path, "--dims", "2", "4", "8")
    assert re.findall(r"^\[\d/\d\] d=(\d)", grown.err, re.MULTILINE) == ["8"] * 3, grown.err
    assert [line.split()[0] for line in grown.out.splitlines()[1:]] == ["2", "4", "8"]
    after = _stored(tmp_path / "store")
    assert whole.filled.items() < after.filled.items()
    assert len(after.filled) == 9


@pytest.mark.parametrize(
    ("words", "needles"),
    [
        ([], ["'small' is stored already", "--resume"]),
        (["--resume", "--lr", "1e-4:1e-3"], ["lr", "0.0001:0.001", "0.001:0.01", "--name"]),
        (["--resume", "--epochs", "2", "4"], ["epochs", "1:2", "2 4", "--name"]),
        (["--resume", "--seed", "6"], ["seed", "5", "6", "--name"]),
        (["--resume", "--dataset", "mnist"], ["dataset", "shapes", "mnist", "--name"]),
        (["--resume", "--train-limit", "600"], ["train-limit", "512", "600", "--name"]),
        (["--resume", "--pruner", "none"], ["pruner", "median", "none", "--name"]),
    ],
    ids=lambda value: " ".join(value) or "same name" if isinstance(value, list) else "",
)
def test_another_space_under_a_stored_name_is_a_conflict_and_changes_nothing(
    process: Callable[..., Done], undisturbed: Path, words: list[str], needles: list[str]
) -> None:
    before = _stored(undisturbed)
    dataset = [] if "--resume" in words else ["--dataset", "shapes"]
    done = process(
        "run", "--name", "small", "--store", "store", *dataset, *words, cwd=undisturbed.parent
    )
    assert (done.code, done.out) == (4, "")
    assert done.err.count("error: ") == done.err.count("\n") == 1, done.err
    for needle in needles:
        assert needle in done.err
    assert _stored(undisturbed) == before


def test_a_finished_sweep_that_is_resumed_trains_nothing_and_tells_the_same_table(
    process: Callable[..., Done], undisturbed: Path
) -> None:
    before = _stored(undisturbed)
    resumed = _resume(process, undisturbed.parent)
    assert "[1/" not in resumed.err
    shown = process("frontier", "small", "--store", "store", cwd=undisturbed.parent)
    assert resumed.out == shown.out
    assert len(resumed.out.splitlines()) == 3
    after = _stored(undisturbed)
    assert (after.filled, after.parent, after.trials) == (before.filled, "FINISHED", before.trials)


def test_a_nested_sweep_is_tracked_as_any_and_compared_with_separate_trainings(
    process: Callable[..., Done], tmp_path: Path
) -> None:
    place = tmp_path
    common = (
        "run", "--dataset", "shapes", "--train-limit", "512", "--epochs", "1", "--store", "store"
    )  # fmt: skip
    nested = (*common, "--method", "nested", "--name", "nested")
    separate = process(*common, "--dims", "2", "--trials", "1", "--name", "small", cwd=place)
    assert separate.code == 0, separate.err
    done = process(*nested, "--dims", "2", "4", cwd=place)
    assert done.code == 0, done.err
    assert "method   nested: one network is trained for all dims" in done.err
    told = _read(place / "store", cwd=place)
    runs = [run for run in told["runs"] if run["tags"].get("sweep") == "nested"]
    trials = [run for run in runs if run["tags"]["kind"] == "trial"]
    assert sorted(int(run["params"]["latent_dim"]) for run in trials) == [2, 4]
    for run in trials:
        assert (run["tags"]["method"], run["params"]["method"]) == ("nested", "nested")
        assert run["params"]["recipe"].endswith("nested 2 4")
        (model_id,) = run["models"]
        assert told["models"][run["id"]]["mse"] == pytest.approx(
            run["metrics"]["test_mse"], rel=1e-4
        ), model_id
    again = process("run", "--name", "nested", "--resume", "--store", "store", cwd=place)
    assert again.code == 0, again.err
    assert "0 to train" in again.err
    assert again.out == done.out
    grown = process(*nested, "--dims", "2", "4", "8", "--resume", cwd=place)
    assert grown.code == 4
    assert "nested 2 4, not" in grown.err
    shown = process("frontier", "nested", "--beside", "small", "--store", "store", cwd=place)
    assert shown.code == 0, shown.err
    assert re.search(r"test MSE against small: [+-][0-9.]+% at d=2$", shown.err, re.MULTILINE)


TWO = ("--workers", "2")


def test_two_workers_come_to_what_one_does_to_the_last_digit(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    done = process("run", *SMALL, *DIMS, *TWO, "--store", "store", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "workers  2 processes" in done.err
    starts = [done.err.index(f"\nd={dim} trial 0: lr") for dim in (2, 4)]
    assert max(starts) < done.err.index(": epoch"), "both run before the first validates"
    assert _stored(tmp_path / "store") == _stored(undisturbed)
    assert "Traceback" not in done.err
    shown = process("frontier", "small", "--store", "store", cwd=undisturbed.parent)
    assert done.out == shown.out


def _check_agree(stored: Stored, undisturbed: Stored) -> None:
    """Check for the same numbers; what the pruner stopped depends on what ended first."""
    assert stored.filled.keys() >= undisturbed.filled.keys()
    for point, (outcome, test_mse) in undisturbed.filled.items():
        if "pruned" not in (outcome, stored.filled[point][0]):
            assert stored.filled[point] == (outcome, test_mse)


def _workers(pid: int) -> list[int]:
    """Tell the worker processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def _read_until(process: subprocess.Popen[str], marker: str) -> list[str]:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if re.match(marker, line):
            return said
    pytest.fail(f"no line matched {marker!r}: {said}")


@pytest.mark.parametrize(
    "marker", ["d=4 trial 0: lr", r"d=[24] trial 0: epoch 1 ", "d=[24] repeat 1: epoch"]
)
def test_ctrl_c_ends_all_workers_and_any_number_of_them_completes_the_sweep(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path, marker: str
) -> None:
    with _running(*SMALL, *DIMS, *TWO, "--store", "store", cwd=tmp_path) as sweep:
        said = _read_until(sweep, marker)
        workers = _workers(sweep.pid)
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does: workers get it as well
        out, err = sweep.communicate(timeout=120)
    assert (sweep.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert "failed" not in "".join(said) + err
    assert err.splitlines()[-1].startswith("interrupted; complete it with: ")
    assert workers
    assert wait_until_gone(workers, 0) == []

    left = _stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.parent == "KILLED"
    assert not {"RUNNING", "WAITING"} & set(left.trials)
    _check_databases(tmp_path / "store")
    _resume(process, tmp_path, "--workers", "3")
    whole = _stored(tmp_path / "store")
    assert left.filled.items() <= whole.filled.items(), "what was there is left as it was"
    assert len(whole.filled) == 6
    _check_agree(whole, _stored(undisturbed))
    assert (whole.parent, whole.statuses["RUNNING"]) == ("FINISHED", 0)


def test_ctrl_c_while_workers_are_started_to_measure_says_one_line(tmp_path: Path) -> None:
    for delay_seconds in (0.0, 0.3, 1.5):
        with _running(*SMALL, *DIMS, *TWO, "--store", "store", cwd=tmp_path) as sweep:
            _read_until(sweep, "measuring")
            time.sleep(delay_seconds)  # the moment is what varies
            workers = _workers(sweep.pid)
            os.killpg(sweep.pid, signal.SIGINT)
            out, err = sweep.communicate(timeout=120)
        assert (sweep.returncode, out) == (130, "")
        assert err == "interrupted\n"
        assert wait_until_gone(workers, 0) == []
    assert not list(tmp_path.iterdir())


def test_workers_end_with_a_sweep_that_is_killed_and_it_resumes(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    with _running(*SMALL, *DIMS, *TWO, "--store", "store", cwd=tmp_path) as sweep:
        _read_until(sweep, r"d=4 trial 0: epoch 0\.5")
        workers = _workers(sweep.pid)
        assert len(workers) == 2
        sweep.kill()
        sweep.wait()
    assert wait_until_gone(workers, 10) == []
    _resume(process, tmp_path)
    assert _stored(tmp_path / "store").filled == _stored(undisturbed).filled


def test_a_worker_that_is_killed_fails_its_trial_and_the_sweep_goes_on(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    with _running(*SMALL, *DIMS, *TWO, "--store", "store", cwd=tmp_path) as sweep:
        said = _read_until(sweep, r"d=4 trial 0: epoch 0\.5")
        os.kill(_workers(sweep.pid)[1], signal.SIGKILL)
        out, err = sweep.communicate(timeout=300)
    err = "".join(said) + err
    assert sweep.returncode == 0, err
    assert len(out.splitlines()) == 3, "both dims have a point"
    (failed,) = re.findall(r"^\[\d/6\] (.*): failed .*SIGKILL", err, re.MULTILINE)
    left = _stored(tmp_path / "store")
    assert left.statuses["FAILED"] == 1
    assert sorted(left.trials).count("FAIL") == 1
    resumed = _resume(process, tmp_path, *TWO)
    assert f"{failed}: finished" in resumed.err
    _check_agree(_stored(tmp_path / "store"), _stored(undisturbed))


def test_auto_takes_the_workers_that_measured_best_and_says_so(
    process: Callable[..., Done], tmp_path: Path
) -> None:
    done = process(
        "run", *SMALL, *DIMS, "--workers", "auto", "--dry-run", "--json", cwd=tmp_path,
        changes={"OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.code == 0, done.err
    (choice,) = [line for line in done.err.splitlines() if line.startswith("workers")]
    assert re.search(r"at d=4: 1 × \d+ [\d,]+(, \d+ × \d+ [\d,]+)*; taking \d+$", choice), choice
    plan = json.loads(done.out)
    assert plan["workers"] == int(choice.split()[-1])
    assert f" {plan['workers']} × {plan['threads_per_worker']} " in choice
    assert not list(tmp_path.iterdir())
