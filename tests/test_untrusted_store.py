"""A store that comes from somebody else: its addresses, models, names and files harm nobody."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import pickle
import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
import tracking_support as support

from ae_sweep import models, ownership, sweep, tables, tracking
from ae_sweep.config import Condition
from ae_sweep.errors import DataError, StoreError
from ae_sweep.locations import Store
from ae_sweep.tracking.journal_file import JOURNAL, JournalFile
from ae_sweep.training.checkpoint_file import UnusableCheckpointError
from ae_sweep.training.checkpoint_file import read as read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = "data/model.safetensors"
SECRET = "secret of this machine"
ELSEWHERE = r"names a file outside of its artifacts, .*elsewhere"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Make a store with one trial, whose model is one of the right kind."""
    store = support.fresh_store(tmp_path)
    writer = tracking.open_for_writing(store).start_sweep(
        support.config("one", dims=(8,)), card=support.CARD, environment={}
    )
    network = models.build("mlp", latent_dim=8, image_shape=(1, 28, 28))
    support.finish(support.start(writer), weights=models.to_bytes(network, name="mlp"))
    support.finish_sweep(writer)
    return store


def change(store: Store, statement: str, *values: str) -> None:
    """Change MLflow's database as somebody with an editor may."""
    with contextlib.closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        assert connection.execute(statement, values).rowcount
        connection.commit()


def run_of(store: Store) -> str:
    return tracking.open_for_reading(store).trials("one")[0].run_id


def model_file(store: Store) -> Path:
    [file] = store.root.rglob(MODEL)
    return file


def read_model(store: Store) -> bytes:
    runs = tracking.open_for_reading(store)
    with runs.model_file(run_of(store)) as file:
        return file.read_bytes()


OUTSIDE = {
    "another directory": lambda store: (store.root.parent / "elsewhere").as_uri(),
    "a step up": lambda store: f"{store.artifact_root.as_uri()}/../../elsewhere",
    "a hidden step up": lambda store: f"{store.artifact_root.as_uri()}/%2e%2e/%2e%2e/elsewhere",
    "a bare path": lambda store: str(store.root.parent / "elsewhere"),
    "a neighbour of like name": lambda store: f"{store.artifact_root.as_uri()}-elsewhere",
    "a web server": lambda _: "http://127.0.0.1:9/elsewhere",
    "a bucket": lambda _: "s3://elsewhere/models",
    "another program": lambda _: "hdfs://127.0.0.1:9/elsewhere",
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_stored_address_outside_of_the_store_is_neither_read_nor_asked_for(
    store: Store, tmp_path: Path, kind: str
) -> None:
    for name in ("elsewhere", "mlruns/artifacts-elsewhere"):
        secret = tmp_path / name / "data" / "model.safetensors"
        secret.parent.mkdir(parents=True)
        secret.write_text(SECRET)
        (tmp_path / name / "a.bin").write_text(SECRET)
    where = OUTSIDE[kind](store)
    change(store, "UPDATE logged_models SET artifact_location = ?", where)
    change(store, "UPDATE runs SET artifact_uri = ?", where)
    runs, run_id = tracking.open_for_reading(store), run_of(store)
    with pytest.raises(StoreError, match=ELSEWHERE):
        read_model(store)
    with pytest.raises(StoreError, match=ELSEWHERE):
        runs.run_file(run_id, "a.bin")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match=ELSEWHERE):
        tracking.open_for_writing(store).add_to_run(run_id, files={"a.bin": b"written"})
    with pytest.raises(StoreError, match=ELSEWHERE):
        tracking.open_for_writing(store).resume_sweep(
            support.config("one", dims=(8,)), card=support.CARD
        )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("linked", ["file", "directory"])
def test_a_link_out_of_the_store_is_not_followed(store: Store, tmp_path: Path, linked: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.safetensors").write_text(SECRET)
    file = model_file(store)
    file.unlink()
    if linked == "file":
        file.symlink_to(tmp_path / "data" / "model.safetensors")
    else:
        file.parent.rmdir()
        file.parent.symlink_to(tmp_path / "data")
    with pytest.raises(StoreError, match="or the file is a link"):
        read_model(store)


def test_a_store_that_is_itself_behind_a_link_is_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(store.root)
    assert read_model(Store(tmp_path / "linked")) == model_file(store).read_bytes()


def test_a_pipe_in_a_models_place_is_not_waited_for(store: Store) -> None:
    file = model_file(store)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError, match="is not a regular file; delete that run"):
        read_model(store)


def test_a_pipe_among_the_state_of_a_sweep_is_not_waited_for(store: Store) -> None:
    folder = store.running("one")
    folder.mkdir(parents=True)
    for name in (ownership.RECORD, JOURNAL):
        os.mkfifo(folder / name)
    assert ownership.find(folder) is None
    with pytest.raises(StoreError, match="cannot be read: it is not a regular file"):
        tracking.kept_sweep(store, "one")
    with pytest.raises(OSError, match="not a regular file"):
        JournalFile(folder).open()
    os.mkfifo(folder / "c.safetensors")
    with pytest.raises(UnusableCheckpointError, match="not a regular file"):
        read_checkpoint(folder / "c.safetensors", identity={})


class _Attack:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_a_pickle_planted_as_a_model_is_refused_by_the_command(
    store: Store, cli: Callable[..., Any], tmp_path: Path
) -> None:
    from ae_sweep import api

    model_file(store).write_bytes(pickle.dumps(_Attack()))
    runs = tracking.open_for_reading(store)
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        api.models.load_model(runs, run_of(store))
    for file in model_file(store).parent.parent.rglob("*"):  # MLmodel, the loader, its source
        if file.is_file():
            file.write_bytes(pickle.dumps(_Attack()))
    done = cli("sample", "one", "--store", str(store.root))
    assert (done.code, done.out) == (3, "")
    assert not (tmp_path / "unpickled").exists()


def model_with(**changes: Any) -> bytes:
    """Return a model's file that describes another network than it has the weights of."""
    content = models.to_bytes(models.build("mlp", latent_dim=2, image_shape=(1, 8, 8)), name="mlp")
    architecture = {"model": "mlp", "latent_dim": 2, "image_shape": [1, 8, 8]} | changes
    return safetensors.torch.save(
        safetensors.torch.load(content), metadata={"ae_sweep": json.dumps(architecture)}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_dim": 10**9},
        {"latent_dim": 10**30},
        {"latent_dim": -1},
        {"latent_dim": "2"},
        {"image_shape": [1, 10**6, 10**6]},
        {"image_shape": [1, 8]},
        {"model": "conv"},
        {"model": "../mlp"},
        {"model": "mlp beta=1"},
        {"model": 7},
    ],
    ids=str,
)
def test_a_model_that_describes_another_network_is_refused_before_it_takes_memory(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(model_with(**changes))
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        models.load(file)
    file.write_bytes(model_with())
    assert models.load(file, expected=Condition(2, "mlp")).latent_dim == 2


def test_a_description_nested_without_end_is_refused(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(1)}
    content = safetensors.torch.save(tensors, metadata={"ae_sweep": "[" * 100_000})
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        models.load(tmp_path / "model.safetensors")


HOSTILE = '=cmd|"/c calc"!A1 [bold]x[/bold] <script>alert(1)</script> \x1b[31mred\u202e'


def test_names_and_texts_of_a_store_are_shown_as_they_are_and_do_nothing(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    from ae_sweep.cli.console import print_table, say

    record = tracking.open_for_reading(store).sweep("one")
    listed = tables.sweeps([dataclasses.replace(record, name=HOSTILE)])
    print_table(listed)
    say(HOSTILE)
    shown = capsys.readouterr()
    for text in shown:
        assert "[bold]x[/bold]" in text, "no markup"
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_text_that_a_spreadsheet_would_run_is_a_text_in_csv(sign: str) -> None:
    hostile = f'{sign}HYPERLINK("http://evil.com","x")'
    text = tracking.table_csv([{hostile: hostile, "Test MSE": -0.5, "n": None}])
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert (header[0], row[0]) == (f"'{hostile}", f"'{hostile}")
    assert row[1:] == ["-0.5", ""], "a number stays one"


def test_a_new_store_is_for_its_user_alone(tmp_path: Path) -> None:
    support.fresh_store(tmp_path)  # has the empty store made, whose databases are looked at
    made = Store(support._template().parent)
    for file in (made.root / "mlflow.db", made.artifact_root):
        assert file is not None
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    before = os.umask(0)
    try:
        sweep.storage.open_storage(tmp_path / "new" / "optuna.db")
    finally:
        os.umask(before)
    for file in (tmp_path / "new", *(tmp_path / "new").iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
