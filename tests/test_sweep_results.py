"""A whole sweep through the command line, and what others find of it in MLflow and Optuna."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shared
from conftest import REAL_DIMS, ROOT, environment
from store_reader import parent_of, trials_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done, Sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def told(real_sweep: Sweep) -> dict[str, Any]:
    """Read the real sweep in a new process that knows mlflow and optuna, and nothing of ours."""
    return shared.made_once("reader", lambda place: _read(real_sweep.store, place))[1]


def _read(store: Path, place: Path) -> Any:
    from ae_sweep import data

    images = data.load("shapes", cache_dir=place).test_NCHW.astype(np.float32) / np.float32(255)
    np.save(place / "images.npy", images)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "store_reader.py"), str(store),
         str(place / "images.npy")],
        cwd=place,
        env=environment(PYTHONPATH=str(ROOT), MLFLOW_DISABLE_TELEMETRY="true"),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
    parent = parent_of(told)
    assert (parent["name"], parent["status"]) == ("real", "FINISHED")
    assert parent["params"].items() >= {
        "dims": "2 4 8 16", "trials": "2", "repeats": "1", "lr": "0.001:0.01", "epochs": "1:2",
        "seed": "0", "dataset": "shapes", "model": "conv", "sampler": "tpe", "pruner": "median",
    }.items()  # fmt: skip
    (dataset,) = parent["inputs"]
    assert dataset["name"] == "shapes"
    assert dataset["digest"] == trials_of(told)[0]["params"]["dataset_digest"]
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

    children = trials_of(told)
    assert len(children) == 12
    parent = parent_of(told)["id"]
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
    logged = trials_of(told)[0]
    assert re.fullmatch("[0-9a-f]{40}", logged["params"]["git_commit"])
    assert logged["params"]["git_dirty"] == parent_of(told)["params"]["git_dirty"]
    assert logged["params"]["git_dirty"] in ("True", "False")
    assert logged["tags"]["mlflow.source.git.commit"] == logged["params"]["git_commit"]


def test_finished_trials_have_metrics_for_every_epoch_and_at_the_end(told: dict[str, Any]) -> None:
    finished = trials_of(told, "finished")
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
    pruned = trials_of(told, "pruned")
    assert pruned, "one trial is bad enough with this seed"
    assert len(pruned) + len(trials_of(told, "finished")) == 12
    for run in pruned:
        assert run["status"] == "KILLED"
        assert "val_mse" in run["metrics"]
        assert not {"test_mse", "test_psnr"} & set(run["metrics"])
        assert run["models"] == run["artifacts"] == []


def test_every_finished_trial_has_a_picture_of_test_images(
    told: dict[str, Any], real_sweep: Sweep
) -> None:
    from PIL import Image

    for run in trials_of(told, "finished"):
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
    finished = trials_of(told, "finished")
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
            for run in trials_of(told)
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
