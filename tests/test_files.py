"""Files appear complete or not at all, and an earlier one stays until then."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ae_sweep import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_written_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "final"
    for content in (b"old", b"new"):
        files.write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_public_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    """Several users may share a directory of data sets."""
    (tmp_path / "plain").write_bytes(b"")
    files.write_atomically(tmp_path / "final", b"", mode=files.PUBLIC_FILE)
    assert mode_of(tmp_path / "final") == mode_of(tmp_path / "plain")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_kept_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.make_private(tmp_path / "a" / "b")
        files.write_atomically(tmp_path / "a" / "file", b"")
        files.create_private(tmp_path / "a" / "database")
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("a", "a/b")] == [0o700, 0o700]
    assert [mode_of(tmp_path / "a" / name) for name in ("file", "database")] == [0o600, 0o600]


def test_a_directory_that_is_shared_already_stays_so(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o775)
    files.make_private(tmp_path / "shared")
    assert mode_of(tmp_path / "shared") == 0o775
    files.create_private(tmp_path / "shared" / "file")
    (tmp_path / "shared" / "file").chmod(0o664)
    files.create_private(tmp_path / "shared" / "file")
    assert mode_of(tmp_path / "shared" / "file") == 0o664


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_cut_off_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "final").write_bytes(b"old")
    monkeypatch.setattr(*((os, step) if step == "fsync" else (type(tmp_path), step)), cut_off)
    with pytest.raises(type(error)):
        files.write_atomically(tmp_path / "final", b"new")
    assert (tmp_path / "final").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_the_unfinished_file_can_lie_in_another_directory(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(FileNotFoundError):
        files.write_atomically(tmp_path / "final", b"new", scratch=scratch)
    scratch.mkdir()
    files.write_atomically(tmp_path / "final", b"new", scratch=scratch)
    assert (tmp_path / "final").read_bytes() == b"new"
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_of_two_published_files_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
    assert files.publish(tmp_path / "first", tmp_path / "final")
    assert not files.publish(tmp_path / "second", tmp_path / "final")
    assert (tmp_path / "final").read_text() == "first"


def test_a_scratch_directory_is_removed_by_the_next_process_if_one_was_killed_in_it(
    tmp_path: Path,
) -> None:
    program = (
        "import os, pathlib, signal, sys; from ae_sweep import files\n"
        "with files.scratch_directory(pathlib.Path(sys.argv[1]), prefix='.new-') as scratch:\n"
        "    (scratch / 'half').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "half").exists()
    with files.scratch_directory(tmp_path, prefix=".new-") as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
    assert not list(tmp_path.iterdir())


def test_a_scratch_directory_is_one_processs_at_a_time(tmp_path: Path) -> None:
    at_work, most = [], 0
    counting = threading.Lock()

    def work(number: int) -> None:
        nonlocal most
        with files.scratch_directory(tmp_path, prefix=".new-"):
            with counting:
                at_work.append(number)
                most = max(most, len(at_work))
            time.sleep(0.02)
            with counting:
                at_work.remove(number)

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(work, range(4)))) == 4
    assert most == 1
