"""Files are found where the user has them, else fetched, and never used unverified."""

from __future__ import annotations

import errno
import gzip
import multiprocessing
import os
import re
import signal
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from data_fakes import (
    IMAGES,
    NAMES,
    SHAPES,
    Brings,
    Fails,
    arrays,
    fetch_and_die,
    fetch_together,
    files,
    gz_files,
    tiny_set,
    write,
)

from ae_sweep.data.locate import SCRATCH_PREFIX, find
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")
as_user = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)


def damaged() -> dict[str, bytes]:
    """The files, but with one pixel of the training images changed."""
    content = bytearray(files()[IMAGES])
    content[100] ^= 1
    return files() | {IMAGES: bytes(content)}


@pytest.mark.parametrize("where", ["Tiny/raw", "."])
@pytest.mark.parametrize("contents", [files(), gz_files()], ids=["raw", "gz"])
def test_files_in_the_data_directory_are_used_without_asking_a_source(
    tmp_path: Path, where: str, contents: dict[str, bytes]
) -> None:
    directory = write(tmp_path / "mine" / where, contents)
    source = Brings(files())
    found = find(tiny_set(source), cache_dir=tmp_path / "cache", data_dir=tmp_path / "mine")
    assert source.asked == 0
    assert found.source == f"local files in {directory}"
    assert [file.path.name for file in found.files] == list(contents)
    for file, expected in zip(found.files, arrays().values(), strict=True):
        np.testing.assert_array_equal(file.array, expected)
    assert not (tmp_path / "cache").exists()


def test_files_in_the_cache_are_used_when_the_data_directory_has_none(tmp_path: Path) -> None:
    directory = write(tmp_path / "cache/Tiny/raw", files())
    said: list[str] = []
    found = find(
        tiny_set(),
        cache_dir=tmp_path / "cache",
        data_dir=tmp_path / "none",
        announce=said.append,
    )
    assert found.source == f"local files in {directory}"
    assert said == [f"{tmp_path / 'none'} does not hold tiny; using {found.source}"]


def test_files_that_the_system_installed_are_used(tmp_path: Path) -> None:
    directory = write(tmp_path / "usr/share/tiny", gz_files())
    found = find(tiny_set(system=directory), cache_dir=tmp_path / "cache")
    assert found.source == f"local files in {directory}"


def test_fetched_files_are_kept_in_torchvisions_layout_and_found_again(tmp_path: Path) -> None:
    source = Brings(files())
    said: list[str] = []
    first = find(tiny_set(source), cache_dir=tmp_path, announce=said.append)
    again = find(tiny_set(source), cache_dir=tmp_path, announce=said.append)
    assert source.asked == 1
    assert said == ["downloading tiny from a good source"]
    assert first.source == "a good source"
    assert again.source == f"local files in {tmp_path / 'Tiny/raw'}"
    assert first.located().files == again.located().files
    assert sorted(path.name for path in (tmp_path / "Tiny/raw").iterdir()) == sorted(NAMES)


def test_files_are_fetched_into_the_data_directory_where_one_is_given(tmp_path: Path) -> None:
    found = find(
        tiny_set(Brings(files())), cache_dir=tmp_path / "cache", data_dir=tmp_path / "data"
    )
    assert {file.path.parent for file in found.files} == {tmp_path / "data/Tiny/raw"}
    assert not (tmp_path / "cache").exists()


def test_a_set_of_which_only_compressed_hashes_are_known_is_kept_compressed(
    tmp_path: Path,
) -> None:
    image_set = tiny_set(Brings(files() | gz_files()), form="gz")
    find(image_set, cache_dir=tmp_path)
    assert sorted(path.name for path in (tmp_path / "Tiny/raw").iterdir()) == sorted(gz_files())
    found = find(image_set, cache_dir=tmp_path)
    np.testing.assert_array_equal(found.files[0].array, arrays()[IMAGES])
    raw_hash = find(tiny_set(Brings(files())), cache_dir=tmp_path / "raw").files[0].content_sha256
    assert found.files[0].content_sha256 == raw_hash


def test_raw_files_do_not_pass_where_only_compressed_hashes_are_known(tmp_path: Path) -> None:
    write(tmp_path / "Tiny/raw", files())
    with pytest.raises(DataError, match=r"holds none of the files \(train-images-idx3-ubyte\.gz"):
        find(tiny_set(form="gz"), cache_dir=tmp_path)


def test_a_gz_of_the_same_content_but_other_bytes_does_not_pass_for_the_pinned_one(
    tmp_path: Path,
) -> None:
    other = {name: gzip.compress(content, 1, mtime=1) for name, content in files().items()}
    write(tmp_path / "mine", {f"{name}.gz": packed for name, packed in other.items()})
    find(tiny_set(), cache_dir=tmp_path / "cache", data_dir=tmp_path / "mine")
    with pytest.raises(DataError, match=r"bytes of SHA-256 [0-9a-f]{64}, expected the SHA-256"):
        find(tiny_set(form="gz"), cache_dir=tmp_path / "cache", data_dir=tmp_path / "mine")


def test_sources_are_tried_in_their_order_until_one_brings_the_files(tmp_path: Path) -> None:
    last = Brings(files(), name="never asked")
    said: list[str] = []
    image_set = tiny_set(Fails(), Brings(damaged(), name="a liar"), Brings(files()), last)
    found = find(image_set, cache_dir=tmp_path, announce=said.append)
    assert found.source == "a good source"
    assert last.asked == 0
    assert said[:2] == ["downloading tiny from a bad source", "a bad source failed: no network"]
    assert said[3].startswith("a liar failed: the download is not the data set: ")
    assert "holds content of SHA-256" in said[3]


def test_when_all_fail_one_error_lists_each_place_with_its_reason_and_the_way_out(
    tmp_path: Path,
) -> None:
    write(tmp_path / "Tiny/raw", damaged())
    incomplete = Brings({IMAGES: files()[IMAGES]}, name="half a source")
    image_set = tiny_set(Fails(), incomplete, system=tmp_path / "usr")
    with pytest.raises(DataError) as caught:
        find(image_set, cache_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith("the data set tiny could not be found or fetched. Tried in turn:\n")
    assert f"- {tmp_path / 'Tiny/raw' / IMAGES} holds content of SHA-256 " in message
    assert f"- {tmp_path / 'usr'}: holds none of the files" in message
    assert "- a bad source: no network\n" in message
    assert "- half a source: the download lacks train-labels-idx1-ubyte, t10k-" in message
    assert f"put the files ({', '.join(NAMES)}) into {tmp_path / 'Tiny/raw'}" in message
    assert not list((tmp_path / "Tiny/raw").glob(f"{SCRATCH_PREFIX}*"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, files()[IMAGES][:-1], "holds 591 bytes, expected 592"),
        (IMAGES, files()[IMAGES] + b"\0", "holds 593 bytes, expected at most 592"),
        (IMAGES, b"", "holds 0 bytes, expected 592"),
        (IMAGES, damaged()[IMAGES], "holds content of SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (IMAGES, files(seed=1)[IMAGES], "holds content of SHA-256"),
        (IMAGES, b"\1" + files()[IMAGES][1:], "begins with 01000803, expected 00000803"),
        (f"{IMAGES}.gz", gz_files()[f"{IMAGES}.gz"][:-20], "is not an intact gzip file"),
        (f"{IMAGES}.gz", b"<html>blocked</html>", "is not an intact gzip file"),
        (f"{IMAGES}.gz", bytes(1 << 17), "holds 131,072 bytes, expected at most"),
    ],
    ids=["cut", "long", "empty", "pixel", "other", "magic", "gz-cut", "gz-html", "gz-long"],
)
def test_a_damaged_file_in_the_data_directory_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    contents = {other: raw for other, raw in files().items() if not name.startswith(other)}
    write(tmp_path / "mine", contents | {name: content})
    source = Brings(files())
    with pytest.raises(DataError, match=message) as caught:
        find(tiny_set(source), cache_dir=tmp_path / "cache", data_dir=tmp_path / "mine")
    assert str(caught.value).startswith(f"{tmp_path / 'mine' / name} ")
    assert str(caught.value).endswith("replace or delete that file, or name another data directory")
    assert source.asked == 0
    assert (tmp_path / "mine" / name).read_bytes() == content


def test_a_damaged_file_beside_its_intact_gz_is_passed_over_and_told(tmp_path: Path) -> None:
    write(tmp_path / "Tiny/raw", damaged() | gz_files())
    said: list[str] = []
    found = find(tiny_set(), cache_dir=tmp_path, announce=said.append)
    np.testing.assert_array_equal(found.files[0].array, arrays()[IMAGES])
    assert found.files[0].path.name == f"{IMAGES}.gz"
    assert len(said) == 1
    assert said[0].startswith(
        f"not used: {tmp_path / 'Tiny/raw' / IMAGES} holds content of SHA-256"
    )


def test_a_damaged_file_in_the_cache_is_told_and_fetched_again(tmp_path: Path) -> None:
    write(tmp_path / "Tiny/raw", damaged())
    said: list[str] = []
    find(tiny_set(Brings(files())), cache_dir=tmp_path, announce=said.append)
    assert said[0].startswith("not used: ")
    assert said[1] == "downloading tiny from a good source"
    assert (tmp_path / "Tiny/raw" / IMAGES).read_bytes() == files()[IMAGES]


def test_a_killed_download_leaves_no_file_behind_that_a_later_one_would_trust(
    tmp_path: Path,
) -> None:
    process = SPAWN.Process(target=fetch_and_die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "Tiny/raw").iterdir() if path.is_file()] == []
    found = find(tiny_set(Brings(files())), cache_dir=tmp_path)
    np.testing.assert_array_equal(found.files[0].array, arrays()[IMAGES])


def test_what_a_killed_download_left_is_removed_by_a_fetch_days_later(tmp_path: Path) -> None:
    old = write(tmp_path / "Tiny/raw" / f"{SCRATCH_PREFIX}old", {"part": b"x"})
    young = write(tmp_path / "Tiny/raw" / f"{SCRATCH_PREFIX}young", {"part": b"x"})
    os.utime(old, (0, 0))
    find(tiny_set(Brings(files())), cache_dir=tmp_path)
    assert not old.exists()
    assert young.exists()


def test_a_full_disk_leaves_no_file_and_says_where_it_could_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write to .*Tiny/raw \(No space left on device\)"):
        find(tiny_set(Brings(files())), cache_dir=tmp_path)
    assert list((tmp_path / "Tiny/raw").iterdir()) == []


@pytest.mark.slow
def test_two_processes_that_fetch_at_once_both_succeed(tmp_path: Path) -> None:
    barrier = SPAWN.Barrier(2)
    processes = [SPAWN.Process(target=fetch_together, args=(barrier, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    found = find(tiny_set(), cache_dir=tmp_path)
    np.testing.assert_array_equal(found.files[0].array, arrays()[IMAGES])
    assert sorted(path.name for path in (tmp_path / "Tiny/raw").iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    "name",
    ["with space", "[bold]x[/bold]", "naïve-😀", "-rf", "%2e%2e", "line\nbreak", "\x1b[31mred"],
)
def test_a_hostile_directory_name_is_used_as_it_is_and_shown_on_one_line(
    tmp_path: Path, name: str
) -> None:
    source = Brings(files())
    find(tiny_set(source), cache_dir=tmp_path, data_dir=tmp_path / name)
    found = find(tiny_set(source), cache_dir=tmp_path, data_dir=tmp_path / name)
    assert source.asked == 1
    assert found.files[0].path.parent == tmp_path / name / "Tiny" / "raw"
    assert found.source.isprintable()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nul\0", "is not a path"), ("x" * 5_000, re.escape("cannot be read (File name too long)"))],
    ids=["nul", "long"],
)
def test_a_name_that_can_be_no_directory_is_one_short_message(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        find(tiny_set(), cache_dir=tmp_path, data_dir=tmp_path / name)
    assert len(str(caught.value)) < 500


def test_a_data_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    write(tmp_path / "cache/Tiny/raw", files())
    with pytest.raises(DataError, match="is not a directory"):
        find(tiny_set(), cache_dir=tmp_path / "cache", data_dir=tmp_path / "file")


def test_a_cache_that_cannot_be_made_is_an_error_before_any_download(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    source = Brings(files())
    with pytest.raises(DataError, match=r"cannot write to .*file/Tiny/raw \(Not a directory\)"):
        find(tiny_set(source), cache_dir=tmp_path / "file")
    assert source.asked == 0


@as_user
def test_a_file_without_permission_is_an_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, files())
    (tmp_path / IMAGES).chmod(0)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        find(tiny_set(), cache_dir=tmp_path / "cache", data_dir=tmp_path)


def test_a_pipe_or_a_directory_in_the_place_of_a_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / IMAGES)
    for name in NAMES[1:]:
        (tmp_path / name).mkdir()
    failure: list[Exception] = []

    def look() -> None:
        try:
            find(tiny_set(), cache_dir=tmp_path / "cache", data_dir=tmp_path)
        except DataError as error:
            failure.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(10)
    assert "holds none of the files" in str(failure[0])


def test_the_tiny_set_has_the_four_files_of_mnist() -> None:
    assert [len(content) for content in files().values()] == [592, 44, 112, 14]
    assert len(SHAPES) == 4
