"""Sweeps of which a trial fails, and sweeps of one network for all dims, in both databases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tracking_support as support
from store_reader import parent_of, read_models, read_runs, trials_of

from ae_sweep import data

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Done

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def failing(
    process: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Done, dict[str, Any]]:
    """Run a sweep of which one trial cannot but fail."""
    place = tmp_path_factory.mktemp("failing")
    support.fresh_store(place, name="store")
    done = process(
        "run", "--dataset", "shapes", "--train-limit", "512", "--dims", "2", "--trials", "2",
        "--epochs", "2", "--lr", "4e-3", "1e18", "--pruner", "none", "--store", "store",
        "--name", "failing", "--json",
        cwd=place,
        known_speed=True,
    )  # fmt: skip
    return done, read_runs(str(place / "store"))


def test_a_failed_trial_is_told_with_step_and_lr_and_the_sweep_goes_on(
    failing: tuple[Done, dict[str, Any]],
) -> None:
    done, told = failing
    assert done.code == 0, done.err
    (failed,) = trials_of(told, "failed")
    assert failed["status"] == "FAILED"
    assert re.search(r"loss (nan|inf) at step \d+ .*1e\+18", failed["tags"]["failure"])
    assert failed["tags"]["failure"] in done.err
    assert "test_mse" not in failed["metrics"]
    assert failed["models"] == []
    assert len(trials_of(told, "finished")) == 1
    assert parent_of(told)["status"] == "FINISHED"
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


def test_a_nested_sweep_is_tracked_as_any_and_compared_with_separate_trainings(
    process: Callable[..., Done], tmp_path: Path
) -> None:
    place = tmp_path
    support.fresh_store(place, name="store")
    common = (
        "run", "--dataset", "shapes", "--train-limit", "512", "--epochs", "1", "--store", "store"
    )  # fmt: skip
    nested = (*common, "--method", "nested", "--name", "nested")
    separate = process(
        *common, "--dims", "2", "--trials", "1", "--name", "small", cwd=place, known_speed=True
    )
    assert separate.code == 0, separate.err
    done = process(*nested, "--dims", "2", "4", cwd=place)
    assert done.code == 0, done.err
    assert "method   nested: one network is trained for all dims" in done.err
    runs = read_runs(str(place / "store"))["runs"]
    runs = [run for run in runs if run["tags"].get("sweep") == "nested"]
    trials = [run for run in runs if run["tags"]["kind"] == "trial"]
    assert sorted(int(run["params"]["latent_dim"]) for run in trials) == [2, 4]
    images = data.load("shapes", cache_dir=tmp_path).test_NCHW.astype(np.float32)
    models = read_models(trials, images / np.float32(255))
    for run in trials:
        assert (run["tags"]["method"], run["params"]["method"]) == ("nested", "nested")
        assert run["params"]["recipe"].endswith("nested 2 4")
        (model_id,) = run["models"]
        assert models[run["id"]]["mse"] == pytest.approx(run["metrics"]["test_mse"], rel=1e-4), (
            model_id
        )
    again = process(
        "run", "--name", "nested", "--resume", "--store", "store", cwd=place, known_speed=True
    )
    assert again.code == 0, again.err
    assert "0 to train" in again.err
    assert again.out == done.out
    grown = process(*nested, "--dims", "2", "4", "8", "--resume", cwd=place, known_speed=True)
    assert grown.code == 4
    assert "nested 2 4, not" in grown.err
    shown = process("frontier", "nested", "--beside", "small", "--store", "store", cwd=place)
    assert shown.code == 0, shown.err
    assert re.search(r"test MSE against small: [+-][0-9.]+% at d=2$", shown.err, re.MULTILINE)
