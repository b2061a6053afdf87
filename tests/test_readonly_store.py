"""Every command that shows a sweep works on a store that is read-only, was copied or was moved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import ae_sweep
from ae_sweep import inspection, models, training
from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.runner import setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

DIMS = (1, 2, 4, 8)
SETTINGS: dict[str, Any] = {
    "dataset": "shapes", "train_limit": 256, "epochs": 1, "trials": 1, "dims": DIMS,
}  # fmt: skip
INSPECTIONS = {
    "reconstruct": ("reconstruct", "plain"),
    "reconstruct worst": ("reconstruct", "plain", "--worst", "--residuals"),
    "latent": ("latent", "plain", "--json"),
    "manifold": ("manifold", "plain", "--side", "3"),
    "interpolate": ("interpolate", "plain", "--from", "0", "--to", "2", "--steps", "3"),
    "identity": ("identity", "plain", "--dims", "2", "8", "--json"),
    "sample": ("sample", "drawn", "--count", "3"),
    "report": ("report", "plain"),
    "report of a vae": ("report", "drawn"),
}
READINGS = {
    "list": ("list", "--json"),
    "show": ("show", "plain", "--json"),
    "frontier": ("frontier", "plain", "--csv"),
    "frontier of a vae": ("frontier", "drawn", "--json"),
}
SIDE_FILES = ("-wal", "-shm")
"""SQLite makes them beside a writable database while it is open, to be read as well."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with a sweep of the reference model and one of a vae."""
    root = tmp_path_factory.mktemp("written") / "store #1, q=ü"
    # In a process of its own: connections that it leaves open here would write when they close.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(write_store, root).result()
    return root


def write_store(root: Path) -> None:
    speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:  # what is measured beforehand takes 30 s
        patch.setattr(training, "measure_speed", lambda *_, **__: speed)
        patch.setattr(setup, "remembered_precision", lambda *_, **__: training.FP32)
        ae_sweep.run_sweep("plain", store=root, **SETTINGS)
        ae_sweep.run_sweep("drawn", store=root, model="vae", **SETTINGS | {"dims": (2, 8)})


@pytest.fixture(scope="module")
def copied(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the store to another place."""
    root = tmp_path_factory.mktemp("copied") / "store"
    shutil.copytree(written, root)
    return root


@pytest.fixture(scope="module")
def read_only(written: Path, copied: Path) -> Iterator[Path]:
    """Make the store's directory read-only, after the copy was made."""
    with contextlib.ExitStack() as undone:
        if os.geteuid() == 0:  # whom no mode of a file binds
            _mount_read_only(written)
            undone.callback(subprocess.run, ["umount", "--lazy", str(written)], check=True)
        else:
            for path in (written, *written.rglob("*")):
                mode = path.stat().st_mode
                path.chmod(mode & ~0o222)
                undone.callback(path.chmod, mode)
        with pytest.raises(OSError, match=r"Read-only|denied"):
            (written / "probe").touch()
        yield written


def _mount_read_only(place: Path) -> None:
    for options in (["--bind", str(place)], ["-o", "remount,ro,bind"]):
        done = subprocess.run(
            ["mount", *options, str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


def contents(store: Path) -> dict[str, str]:
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and not path.name.endswith(SIDE_FILES)
    }


@pytest.mark.parametrize("words", READINGS.values(), ids=READINGS)
def test_what_is_stored_is_shown_without_a_write(
    cli: Callable[..., Any], read_only: Path, copied: Path, words: tuple[str, ...]
) -> None:
    before = contents(read_only), contents(copied)
    here = cli(*words, "--store", str(read_only))
    assert here.code == 0, here.err
    there = cli(*words, "--store", str(copied))
    assert (there.code, there.out) == (0, here.out), there.err
    assert here.out
    assert (contents(read_only), contents(copied)) == before


@pytest.mark.parametrize("words", INSPECTIONS.values(), ids=INSPECTIONS)
def test_an_inspection_shows_all_and_says_in_one_line_that_it_was_not_logged(
    cli: Callable[..., Any], read_only: Path, copied: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    out = tmp_path / ("page.html" if words[0] == "report" else "picture.png")
    before = contents(read_only), contents(copied)
    made = []
    for store, reason in ((read_only, "is read-only"), (copied, "was moved or copied")):
        done = cli(*words, "--store", str(store), "--out", str(out))
        assert done.code == 0, done.err
        refusals = [line for line in done.err.splitlines() if "not logged to MLflow: " in line]
        assert len(refusals) == 1
        assert reason in refusals[0]
        assert store.parent.name in refusals[0]
        made.append((done.out, out.read_bytes()))
        out.unlink()
    assert (contents(read_only), contents(copied)) == before
    assert made[0] == made[1], "a copy shows what the store itself shows"
    if words[0] == "report":
        assert b"Not available" not in made[0][1]
        assert made[0][1].count(b"<img ") == (7 if "drawn" in words else 6)


def test_every_inspection_of_python_only_reads_and_logging_is_refused(read_only: Path) -> None:
    before = contents(read_only)
    plain = ae_sweep.load_sweep("plain", store=read_only)
    drawn = ae_sweep.load_sweep("drawn", store=read_only)
    points = plain.points()
    values: list[inspection.Inspection] = [
        inspection.reconstructions(plain, points),
        inspection.latent_plane(plain, points[1]),
        inspection.latent_spaces(plain, points),
        inspection.manifold(plain, points[1], side=3),
        inspection.interpolation(plain, points, (0, 2), steps=3),
        inspection.identity_test(plain, points[:1]),
    ]
    for value in values:
        assert value.pictures() or value.documents()
        with pytest.raises(StoreError, match="is read-only; make it writable"):
            inspection.log(plain, value)
    samples = inspection.prior_samples(drawn, drawn.points())
    assert len(samples.rows) == len(drawn.points())
    with pytest.raises(StoreError, match="is read-only"):
        inspection.log(drawn, samples)
    assert len(plain.trials_table()) == len(plain.frontier_table()) == len(DIMS)
    assert {each.name for each in ae_sweep.list_sweeps(store=read_only)} == {"plain", "drawn"}
    assert contents(read_only) == before


def test_the_ui_says_that_it_cannot_run_on_a_read_only_store(
    cli: Callable[..., Any], read_only: Path
) -> None:
    done = cli("ui", "--store", str(read_only))
    assert done.code == 3
    assert "is read-only, and MLflow's UI writes to its database" in done.err


@pytest.mark.usefixtures("no_probe")
def test_no_sweep_is_started_in_a_read_only_store(read_only: Path) -> None:
    before = contents(read_only)
    with pytest.raises(StoreError, match=r"read-only.*--store"):
        ae_sweep.run_sweep("third", store=read_only, **SETTINGS)
    assert contents(read_only) == before


def test_a_copy_reads_its_own_models_and_says_which_it_lacks(copied: Path, tmp_path: Path) -> None:
    root = tmp_path / "again"
    shutil.copytree(copied, root)
    sweep = ae_sweep.load_sweep("plain", store=root)
    for point in reversed(sweep.points()):
        with sweep.runs.model_file(point.run_id) as file:
            assert file.is_relative_to(root)
        assert file.exists(), "only what was downloaded is removed"
    file.unlink()
    with pytest.raises(NotStoredError, match=rf"was deleted.*{root}"):
        sweep.model(sweep.points()[0])
    moved = tmp_path / "moved"
    root.rename(moved)
    point = ae_sweep.load_sweep("plain", store=moved).points()[1]
    assert ae_sweep.load_sweep("plain", store=moved).model(point).latent_dim == point.latent_dim


def test_a_report_whose_models_are_gone_is_written_but_is_no_success(
    cli: Callable[..., Any], copied: Path, tmp_path: Path
) -> None:
    root = tmp_path / "hollow"
    shutil.copytree(copied, root)
    for file in root.rglob("model.safetensors"):
        file.unlink()
    done = cli("report", "plain", "--store", str(root), "--out", "page.html")
    assert done.code == 3, done.err
    page = (tmp_path / "page.html").read_text()
    assert page.count("Not available: ") == 4
    last = done.err.splitlines()[-1]
    assert last.startswith("error: the report is incomplete: Reconstructions, Latent space, ")


def test_a_report_loads_each_model_once(
    cli: Callable[..., Any], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: Counter[Path] = Counter()
    load = models.load

    def counted(file: Path, **settings: Any) -> Any:
        loads[file] += 1
        return load(file, **settings)

    monkeypatch.setattr(models, "load", counted)
    assert cli("report", "plain", "--store", str(copied)).code == 0
    assert sorted(loads.values()) == [1] * len(DIMS)


def test_importances_are_read_from_a_read_only_file(read_only: Path) -> None:
    from ae_sweep.sweep import importances

    # One trial per study is too few for shares; that is known only after reading the studies.
    assert importances(read_only / "optuna.db", "plain") == {}


@pytest.mark.usefixtures("no_probe")
def test_a_dry_run_on_a_read_only_store_plans_what_is_missing(
    cli: Callable[..., Any], read_only: Path
) -> None:
    done = cli(
        "run", "--name", "plain", "--resume", "--dry-run", "--json", "--store", str(read_only)
    )
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials_to_train"] == 0
