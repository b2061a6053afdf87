"""Cache of own images: made once, by any number of processes, made anew where it is damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import ROOT
from own_sources import images, load, prepare, write_pictures

from ae_sweep import data
from ae_sweep.data import decode
from ae_sweep.data.own import reading
from ae_sweep.data.own.cache import LOCK, MAKING
from ae_sweep.data.own.pixel_file import PixelFile
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

COUNT = 120
"""Pictures in the folder: enough for all parts, and read in a tenth of a second."""
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "set", images(COUNT))
    return tmp_path / "set"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _count_pictures(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    opened: list[object] = []
    real = decode.read_picture

    def counting(path, options):
        opened.append(path)
        return real(path, options)

    monkeypatch.setattr(reading, "read_picture", counting)
    return opened


def test_an_unchanged_folder_opens_no_picture(folder: Path, cache: Path, monkeypatch) -> None:
    before = load(folder, cache)
    opened = _count_pictures(monkeypatch)
    after = load(folder, cache)
    assert opened == []
    assert after.card == before.card
    np.testing.assert_array_equal(after.train_NCHW, before.train_NCHW)


@pytest.mark.parametrize("change", ["touch", "add", "remove", "rename"])
def test_a_changed_folder_is_read_again(
    change: str, folder: Path, cache: Path, monkeypatch
) -> None:
    load(folder, cache)
    opened = _count_pictures(monkeypatch)
    file = folder / "7.png"
    match change:
        case "touch":
            os.utime(file, (1, 1))
        case "add":
            shutil.copy(file, folder / "new.png")
        case "remove":
            file.unlink()
        case "rename":
            file.rename(folder / "other.png")
    load(folder, cache)
    assert len(opened) == len(list(folder.iterdir()))


@pytest.mark.parametrize("name", ["train.npy", "test_hashes.npy", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    ["cut", *(pytest.param(how, marks=pytest.mark.slow) for how in ("emptied", "removed")),
     "overwritten"],
)  # fmt: skip
def test_a_damaged_cache_is_made_anew(name: str, damage: str, folder: Path, cache: Path) -> None:
    before = prepare(folder, cache)
    expected = np.array(before.arrays["train.npy"])
    file = before.directory / name
    match damage:
        case "cut":
            os.truncate(file, file.stat().st_size - 1)
        case "emptied":
            file.write_bytes(b"")
        case "removed":
            file.unlink()
        case "overwritten":
            file.write_bytes(b"\0" * file.stat().st_size)
    after = prepare(folder, cache)
    assert after.digest == before.digest
    np.testing.assert_array_equal(after.arrays["train.npy"], expected)


def test_a_manifest_of_other_values_is_not_believed(folder: Path, cache: Path) -> None:
    directory = prepare(folder, cache).directory
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    for changed in (
        document | {"version": 0},
        document | {"facts": document["facts"] | {"train_images": 10**12}},
        document | {"facts": {}},
        document | {"arrays": {}},
        [],
    ):
        path.write_text(json.dumps(changed))
        assert prepare(folder, cache).facts.train_images < COUNT
        assert json.loads(path.read_text())["version"] == 1


def test_the_cache_lists_the_file_of_each_image(folder: Path, cache: Path) -> None:
    prepared = prepare(folder, cache)
    text = (prepared.directory / "files.jsonl").read_text()
    lines = list(map(json.loads, text.splitlines()))
    assert [line["part"] for line in lines].count("train") == prepared.facts.train_images
    hashes = [row.tobytes().hex() for row in prepared.arrays["train_hashes.npy"]]
    assert [line["pixels_sha256"] for line in lines[: len(hashes)]] == hashes
    first = lines[0]
    assert (folder / first["path"]).stat().st_mtime_ns == first["mtime_ns"]


def test_options_have_places_of_their_own_but_strict_has_not(folder: Path, cache: Path) -> None:
    plain = prepare(folder, cache).directory
    assert prepare(folder, cache, strict=True).directory == plain
    assert prepare(folder, cache, colour="rgb").directory != plain


def test_forget_removes_all_of_a_path_and_of_no_other(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "other", images(seed=1))
    kept = prepare(tmp_path / "other", cache).directory
    prepare(folder, cache)
    prepare(folder, cache, colour="rgb")
    assert data.forget(folder, cache) == 2
    assert data.forget(folder, cache) == 0
    assert list((cache / "images").iterdir()) == [kept]


def test_maps_outlive_the_directory_that_is_replaced(folder: Path, cache: Path) -> None:
    loaded = load(folder, cache)
    expected = np.array(loaded.train_NCHW)
    (folder / "0.png").unlink()
    load(folder, cache)
    data.forget(folder, cache)
    np.testing.assert_array_equal(loaded.train_NCHW, expected)


def _load_together(barrier: Barrier, folder: Path, cache: Path) -> None:
    barrier.wait(timeout=120)
    for _ in range(5):
        assert load(folder, cache).card.train_images > 50
        data.forget(folder, cache)
    assert load(folder, cache).card.train_images > 50


@pytest.mark.slow
def test_processes_that_prepare_and_forget_at_once_do_each_other_no_harm(
    folder: Path, cache: Path
) -> None:
    barrier = SPAWN.Barrier(2)
    processes = [
        SPAWN.Process(target=_load_together, args=(barrier, folder, cache)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in (cache / "images").glob(f"{MAKING}*")] == []


def test_what_a_killed_process_left_is_removed_by_the_next(folder: Path, cache: Path) -> None:
    program = (
        "import os, sys, signal, pathlib; from ae_sweep.data.own.cache import making\n"
        "with making(pathlib.Path(sys.argv[1])) as scratch:\n"
        "    os.utime(scratch, (1, 1)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(cache)], cwd=ROOT, check=False)
    assert len(list((cache / "images").iterdir())) == 1
    load(folder, cache)
    assert [path.name for path in (cache / "images").iterdir() if MAKING in path.name] == []


def test_what_another_living_process_makes_is_left_alone(folder: Path, cache: Path) -> None:
    with reading_elsewhere(cache) as scratch:
        os.utime(scratch, (1, 1))
        load(folder, cache)
        assert (scratch / LOCK).exists()


def reading_elsewhere(cache: Path):
    """A directory that is being made; locks hold between open files of one process as well."""
    from ae_sweep.data.own.cache import making

    return making(cache)


def test_a_failed_preparation_leaves_nothing_behind(folder: Path, cache: Path) -> None:
    (folder / "broken1.png").write_bytes(b"x")
    for number in range(10):
        (folder / f"broken{number}.png").write_bytes(b"x")
    with pytest.raises(DataError, match=f"10 of {COUNT + 10} pictures"):
        load(folder, cache)
    assert list((cache / "images").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_cannot_be_written_is_named(folder: Path, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(DataError, match="XDG_CACHE_HOME"):
        load(folder, cache)


def test_what_cannot_be_removed_is_named(folder: Path, cache: Path, monkeypatch) -> None:
    prepared = prepare(folder, cache)

    def refuse(_path: Path, _target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DataError, match=rf"cannot remove .*{prepared.directory.name} \(Read-only"):
        data.forget(folder, cache)
    assert prepared.directory.is_dir()


def test_a_cache_that_is_a_file_is_named(folder: Path, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(DataError, match="XDG_CACHE_HOME"):
        load(folder, cache)


def test_progress_has_the_count_and_the_time_left(folder: Path, cache: Path, monkeypatch) -> None:
    real = decode.read_picture

    def slowly(path, options):
        time.sleep(0.02)
        return real(path, options)

    monkeypatch.setattr(reading, "read_picture", slowly)
    monkeypatch.setattr(reading, "SECONDS_BETWEEN_LINES", 0.2)
    said: list[str] = []
    prepare(folder, cache, said)
    assert said[0].startswith(f"reading {COUNT} pictures of ")
    assert any(f"of {COUNT} pictures, about" in line and line.endswith("left") for line in said[1:])


@pytest.mark.slow
def test_a_set_of_more_than_a_gigabyte_is_prepared_in_little_memory(tmp_path: Path) -> None:
    count = 400_000
    mapped = np.lib.format.open_memmap(
        tmp_path / "big.npy", mode="w+", dtype=np.uint8, shape=(count, 32, 32, 3)
    )
    for first in range(0, count, 20_000):
        mapped[first : first + 20_000] = np.random.default_rng(first).integers(
            0, 256, (20_000, 32, 32, 3), np.uint8
        )
    mapped.flush()
    np.savez(tmp_path / "big.npz", mapped)
    del mapped
    (tmp_path / "big.npy").unlink()
    # Of the program itself: the largest memory that getrusage has counts the parent's before exec.
    program = (
        "import sys; from pathlib import Path; from ae_sweep import analysis, data\n"
        "loaded = data.load(sys.argv[1], cache_dir=Path(sys.argv[2]))\n"
        "analysis.spectrum(loaded.train_NCHW, loaded.test_NCHW)\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(sum(map(len, (loaded.train_NCHW, loaded.val_NCHW, loaded.test_NCHW))))\n"
        "print(status.partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "big.npz", tmp_path / "cache"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    images_found, kilobytes = map(int, done.stdout.split())
    assert images_found == count
    assert kilobytes < 500_000


def test_what_was_computed_of_other_images_is_not_recalled(folder: Path, cache: Path) -> None:
    first = prepare(folder, cache)
    data.remember(first, "sum", {"is": 1})
    assert data.recall(first, "sum") == {"is": 1}
    write_pictures(folder, images(3, seed=8), prefix="new")
    second = prepare(folder, cache)
    assert data.recall(second, "sum") is None
    data.remember(first, "sum", {"is": 1})
    assert data.recall(second, "sum") is None


def test_pixels_that_were_cut_are_never_made_up(tmp_path: Path) -> None:
    with PixelFile(tmp_path / "pixels") as pixels:
        pixels.shape = (1, 4, 4)
        pixels.write(0, images(3)[:, None])
        np.testing.assert_array_equal(pixels.read(np.array([2, 0]), 1)[:, 0], images(3)[[2, 0]])
        with pytest.raises(DataError, match="pixels was cut"):
            pixels.read(np.array([3]), 1)
        os.truncate(tmp_path / "pixels", 40)
        with pytest.raises(DataError, match="pixels was cut"):
            pixels.read(np.array([2]), 1)
