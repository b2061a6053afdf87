"""What is added to a trial's run later, and found again: files, curves, tags."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import tracking_support as support
from mlflow import MlflowClient

from ae_sweep import tracking
from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.tracking import TrackingStore

DIGEST = "0123456789abcdef" * 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = support.fresh_store(tmp_path).root
    writer = tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config("one", dims=(8,)), card=support.CARD, environment={}
    )
    support.finish(support.start(writer))
    support.finish_sweep(writer)
    return root


@pytest.fixture
def store(root: Path) -> TrackingStore:
    return tracking.open_for_reading(support.Store(root))


def run_of(store: TrackingStore) -> str:
    return store.trials("one")[0].run_id


def test_a_file_is_read_back_and_none_is_no_error(store: TrackingStore) -> None:
    run_id = run_of(store)
    assert store.run_file(run_id, "a.bin") is None
    store.add_to_run(run_id, files={"a.bin": b"\0\1", "b.csv": b"x"})
    assert store.run_file(run_id, "a.bin") == b"\0\1"
    store.add_to_run(run_id, files={"a.bin": b"later"})
    assert store.run_file(run_id, "a.bin") == b"later"


def test_a_file_larger_than_any_of_ours_is_not_read(
    store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_to_run(run_of(store), files={"a.bin": b"12345"})
    monkeypatch.setattr(names, "MAX_FILE_BYTES", 4)
    with pytest.raises(StoreError, match="has 5 bytes"):
        store.run_file(run_of(store), "a.bin")


def test_a_moved_store_reads_the_files_that_it_has(
    root: Path, store: TrackingStore, tmp_path: Path
) -> None:
    store.add_to_run(run_of(store), files={"a.bin": b"1"})
    shutil.copytree(root, tmp_path / "copy")
    store.add_to_run(run_of(store), files={"a.bin": b"2"})
    copied = tracking.open_for_reading(support.Store(tmp_path / "copy"))
    assert copied.run_file(run_of(store), "a.bin") == b"1"


def test_curves_take_the_place_of_earlier_ones_and_leave_other_metrics(
    root: Path, store: TrackingStore
) -> None:
    run_id = run_of(store)
    before = store.trials("one")
    store.add_to_run(run_id, curves={"bits": {0: 1.0, 1: 2.0, 2: 3.0}, "mse": {0: 0.5}})
    store.add_to_run(run_id, curves={"bits": {0: 1.5, 1: 2.0}})
    client = MlflowClient(tracking_uri=support.Store(root).tracking_uri)
    history = client.get_metric_history(run_id, "coded/bits")
    assert {(entry.step, entry.value) for entry in history} == {(0, 1.5), (1, 2.0)}
    assert client.get_metric_history(run_id, "coded/mse") == []
    assert store.trials("one") == before


def test_a_run_is_found_by_its_codec(store: TrackingStore) -> None:
    assert store.runs_with_codec(DIGEST) == []
    store.add_to_run(run_of(store), tags={names.CODEC: DIGEST})
    assert store.runs_with_codec(DIGEST) == [(run_of(store), "one")]


def test_the_sweep_of_a_run_is_known_and_of_no_other_id(store: TrackingStore) -> None:
    assert store.sweep_of(run_of(store)) == "one"
    for other in ("none", "0" * 32, "' OR 1=1", store.sweep("one").run_id):
        with pytest.raises(NotStoredError, match="no trial has the run"):
            store.sweep_of(other)
