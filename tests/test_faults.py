"""Whatever write, fsync or rename of ours fails: the old file or the new one, and nothing else."""

from __future__ import annotations

import errno
import itertools
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from checkpoint_support import checkpoints
from fakes import trial_config
from faulty_disk import FaultyDisk

from ae_sweep import data, training
from ae_sweep.cli import output_file, rd_files
from ae_sweep.data.own import cache as own_cache
from ae_sweep.errors import AeSweepError
from ae_sweep.inspection import reference_cache
from ae_sweep.runner.precision_cache import remembered_precision
from ae_sweep.training.checkpoint_file import Snapshot, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Case:
    """Something of ours that writes."""

    act: Callable[[Path, str], str | None]
    """Writes a version of the content, "old" or "new", below a directory, which is there; returns
    what the user is told beside an error."""
    reads: Callable[[Path], object]
    """Returns the version that is found there afterwards, None without any."""
    least: int
    """Operations that one run takes at least."""
    silent: bool = False
    """Whether it is only a cache, which need not be written."""


def save_checkpoint(folder: Path, version: str) -> str:
    keeper = checkpoints(folder / "s").keeper(trial_config(), numerics={})
    keeper.save(Snapshot(tensors={"x": torch.ones(100)}, values={"version": version}))
    return keeper.take_note()


def read_checkpoint(folder: Path) -> object:
    keeper = checkpoints(folder / "s").keeper(trial_config(), numerics={})
    found = keeper.load()
    assert not keeper.notes
    return None if found is None else found.values["version"]


def keep_precision(folder: Path, version: str) -> None:
    precision = training.Precision("fp32", version)
    found = remembered_precision(
        f"machine {version}", lambda: precision, cache=folder / "cache", announce=lambda _: None
    )
    assert found == precision


def read_precision(folder: Path) -> object:
    path = folder / "cache" / "calibration.json"
    return list(json.loads(path.read_bytes()))[-1].split()[1] if path.exists() else None


def keep_reference(folder: Path, version: str) -> None:
    path = reference_cache.path_of(folder, "jpeg", {"a": 1})
    reference_cache.keep(path, {"a": 1}, {"version": version})


def read_reference(folder: Path) -> object:
    path = reference_cache.path_of(folder, "jpeg", {"a": 1})
    found = reference_cache.recall(path, {"a": 1})
    assert (found is None) == (not path.exists())
    return None if found is None else found["version"]


def write_figure(folder: Path, version: str) -> None:
    output_file.write_out(version.encode() * 100, folder / "curve.png", what="figure")


def read_figure(folder: Path) -> object:
    path = folder / "curve.png"
    content = path.read_text() if path.exists() else None
    assert content is None or len(content) == 300
    return content and content[:3]


def write_curves(folder: Path, version: str) -> None:
    curve = SimpleNamespace(name="one", seed=0, version=version)
    rd_files.write_rd_files(SimpleNamespace(curves=lambda: [curve]), folder / "curves")


def read_curves(folder: Path) -> object:
    path = folder / "curves" / "one.json"
    return json.loads(path.read_bytes())["version"] if path.exists() else None


def prepare_images(folder: Path, version: str) -> None:
    value = {"old": 10, "new": 20}[version]
    images = np.random.default_rng(value).integers(0, 255, (200, 8, 8), dtype=np.uint8)
    np.save(folder.parent / "images.npy", images)
    data.load(str(folder.parent / "images.npy"), cache_dir=folder)


def read_images(folder: Path) -> list[str]:
    parent = own_cache.images_dir(folder)
    found = [own_cache.open_prepared(path) for path in parent.iterdir()] if parent.exists() else []
    assert None not in found, "an incomplete directory was left behind"
    return sorted(each.digest for each in found if each)


CASES = {
    "checkpoint": Case(save_checkpoint, read_checkpoint, least=4),
    "precision": Case(keep_precision, read_precision, least=4, silent=True),
    "reference": Case(keep_reference, read_reference, least=4, silent=True),
    "figure": Case(write_figure, read_figure, least=4),
    "curves": Case(write_curves, read_curves, least=4),
}


@pytest.fixture(autouse=True)
def plain_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rd_files, "rd_document", lambda curve: {"version": curve.version})


@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("name", CASES)
def test_each_fault_in_turn_leaves_the_old_file_or_the_new_one_and_a_message_of_ours(
    name: str, before: str | None, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    for fail_at in itertools.count(1):
        folder = tmp_path / f"{fail_at}" / "disk"
        folder.mkdir(parents=True)
        if before:
            case.act(folder, before)
        files_before = _files(folder)
        disk = FaultyDisk(folder, fail_at=fail_at, stays=stays)
        with disk.mounted(monkeypatch):
            message = _message_of(case.act, folder)
        if not disk.has_failed:
            assert not message
            assert case.reads(folder) == "new"
            assert fail_at > case.least, disk.operations
            break
        found = case.reads(folder)
        assert found in (before, "new"), disk.operations
        if found == before:
            assert _files(folder) == files_before, "nothing is left beside it"
        if not case.silent:
            assert message
            assert "No space left on device" in message
            assert str(tmp_path) in message
            assert message.count(";") >= 1, "and what to do"
        # And the next time it works.
        assert not case.act(folder, "new")
        assert case.reads(folder) == "new"
        assert not [path for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_moment_of_preparing_images_leaves_no_half_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fail_at in itertools.count(1):
        folder = tmp_path / f"{fail_at}" / "disk"
        folder.mkdir(parents=True)
        disk = FaultyDisk(folder, fail_at=fail_at)
        with disk.mounted(monkeypatch):
            message = _message_of(prepare_images, folder)
        if not disk.has_failed:
            assert not message
            assert fail_at > 10, disk.operations
            break
        found = read_images(folder)
        if message:
            assert "No space left on device" in message
            assert "make room there" in message
        else:
            assert found, f"{disk.operations[fail_at - 1]} failed without a word"
        prepare_images(folder, "new")
        assert len(read_images(folder)) == 1


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space there"),
        (errno.EDQUOT, "free some of your quota there"),
        (errno.EROFS, "make it writable"),
        (errno.EIO, "see whether the disk is in order"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_said_once_with_what_helps(
    number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = checkpoints(tmp_path).keeper(trial_config(), numerics={})
    snapshot = Snapshot(tensors={}, values={})
    with FaultyDisk(tmp_path, fail_at=1, stays=True, number=number).mounted(monkeypatch):
        keeper.save(snapshot)
        keeper.save(snapshot)
    note = keeper.take_note()
    assert note.count("no checkpoint could be written") == 1
    assert str(tmp_path) in note
    assert note.endswith(advice)
    keeper.save(snapshot)
    assert keeper.take_note() == ""
    assert read(keeper.path, identity=keeper._identity).values == {}


def _message_of(act: Callable[[Path, str], str | None], folder: Path) -> str | None:
    """Return what the user is told, by an error of the environment or beside a result."""
    try:
        return act(folder, "new")
    except AeSweepError as error:
        return str(error) if error.exit_code == 3 else f"exit code {error.exit_code}"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
