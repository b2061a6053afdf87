"""Where things are: as it is given, as it is told, and in the advice that repeats it."""

from __future__ import annotations

import contextlib
import json
import shlex
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from typer.testing import CliRunner

from ae_sweep.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_probe")

SHAPES = ("run", "--dataset", "shapes", "--dims", "2")


@pytest.mark.parametrize("command", [["run", "--dims", "2"], ["data"]], ids=["run", "data"])
def test_a_relative_data_directory_is_made_absolute(
    cli: Callable[..., Any], tmp_path: Path, command: list[str]
) -> None:
    raw = tmp_path / "images" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"")
    done = cli(*command, "--data-dir", "images")
    assert done.code == 3
    assert str(raw / "train-images-idx3-ubyte") in done.err


def test_a_data_directory_that_cannot_be_is_told(cli: Callable[..., Any]) -> None:
    for directory in ("n" * 5_000, "~nobody-of-that-name/images"):
        done = cli("data", "mnist", "--data-dir", directory)
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith("error: --data-dir cannot be '")
        assert "name another --data-dir" in done.err
        assert len(done.err) < 500


def _interrupted(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *words: str
) -> list[str]:
    from ae_sweep import training

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    done = cli(*SHAPES, "--name", "cut-off", *words)
    assert done.code == 130, done
    (line,) = [line for line in done.err.splitlines() if "complete it with: " in line]
    return shlex.split(line.partition("complete it with: ")[2])[1:]


@pytest.mark.slow
def test_the_advice_to_an_interrupted_sweep_repeats_where_and_on_what_it_ran(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = _interrupted(
        cli, monkeypatch, "--device", "cpu", "--data-dir", "my images", "--store", "a store"
    )
    assert words == [
        "run", "--name", "cut-off", "--resume", "--data-dir", str(tmp_path / "my images"),
        "--device", "cpu", "--store", str(tmp_path / "a store"),
    ]  # fmt: skip
    resumed = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    assert json.loads(resumed.stdout)["trials_to_train"] == 3


@pytest.mark.slow
def test_the_advice_names_nothing_that_was_not_given(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _interrupted(cli, monkeypatch) == ["run", "--name", "cut-off", "--resume"]


def test_a_tracking_address_of_the_users_own_is_told_where_the_store_is(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    assert "elsewhere" not in cli(*SHAPES, "--dry-run").out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
    plan = cli(*SHAPES, "--dry-run").out
    assert f"store    {tmp_path / 'mlruns'} for the studies; runs go to {own}\n" in plan
    document = json.loads(cli(*SHAPES, "--dry-run", "--json").out)
    assert document["tracking_uri"] == own
    assert document["store"] == str(tmp_path / "mlruns")


def test_a_plan_of_one_of_each_is_told_in_the_singular(cli: Callable[..., Any]) -> None:
    words = ["--trials", "1", "--repeats", "1", "--epochs", "1", "--dry-run"]
    plan = cli(*SHAPES, *words).out
    assert (
        "1 study (d = 2) × 1 trial, each best again with 1 other seed: "
        "2 to train, at most 2 epochs\n"
    ) in plan


def test_the_ui_tells_the_address_whose_runs_it_shows(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ae_sweep import tracking

    @contextlib.contextmanager
    def no_server(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        def interrupt() -> int:
            raise KeyboardInterrupt

        yield SimpleNamespace(url="http://127.0.0.1:5000", wait=interrupt)

    root = support.fresh_store(tmp_path).root
    own = f"sqlite:///{root / 'mlflow.db'}"
    tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    monkeypatch.setattr(tracking, "running_ui", no_server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own)
    done = cli("ui")
    assert done.code == 0
    assert f"serving {own};" in done.err
