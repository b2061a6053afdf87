"""Damaged and hostile arrays are refused with their reason, at once and in little memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from array_files import all_images, npy, npy_header, saved, write
from picture_files import deflated, measure, noise

from ae_sweep.config import ImageOptions
from ae_sweep.data.arrays import open_arrays
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path


PLAIN = ImageOptions()
SCALED = ImageOptions(scale=True)
IMAGES = noise(50, 6, 5, 3)
LABELS = np.arange(50) % 7


class _Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle"])
def test_python_objects_are_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.empty(3, dtype=object)
    objects[:] = [_Attack()] * 3
    file = tmp_path / f"images.{kind}"
    if kind == "npz":
        np.savez(file, x_train=objects, y_train=LABELS)
    elif kind == "npy":
        np.save(file, objects)
    else:
        file.write_bytes(pickle.dumps(_Attack()))
    with pytest.raises(DataError, match=r"Python objects|neither an npy nor an npz"):
        open_arrays(file, PLAIN)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"text", "is neither an npy nor an npz file"),
        (npy(IMAGES)[:-1], "claims 50×6×5×3 of uint8, which are 4,500 bytes, and holds 4,499"),
        (npy(IMAGES) + b"x", "and holds 4,501"),
        (npy_header((10**9, 1000, 1000)), "which are 1,000,000,000,000,000 bytes, and holds 0"),
        (npy_header((2**62, 4, 4)), "and holds 0"),
        (npy_header((-1, 4, 4)), "claims the impossible shape (-1, 4, 4)"),
        (npy_header((1,) * 30) + b"x", "claims the impossible shape"),
        (npy_header((2, 2, 2), "|O") + bytes(64), "holds Python objects"),
        (b"\x93NUMPY\x01\x00", "has a damaged header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 99_999, "has a damaged header"),
        (b"\x93NUMPY\x03\x00\x02\x00\x00\x00{}", "has a version of the npy format other than"),
        (b"\x93NUMPY\x01\x00\x02\x00{}", "has a damaged header"),
        (b"\x93NUMPY\x01\x00\x0c\x00__import__()", "has a damaged header"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000, "has a damaged header"),
        (b"PK\x05\x06" + bytes(18), "holds no arrays"),
        (b"PK\x03\x04text", "is damaged"),
    ],
)
def test_a_file_that_lies_or_is_cut_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        open_arrays(file, PLAIN)
    assert str(error.value).startswith(f"{file} ")
    assert reason in str(error.value)


def _zip(directory: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    file = directory / "images.npz"
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("a.txt", b"text")], "holds 'a.txt', which is not an array"),
        ([("a.npy", b"text")], "holds an array 'a' that has a damaged header"),
        ([("a.npy", npy(IMAGES)), ("a.npy", npy(IMAGES))], "holds two arrays of the name 'a'"),
        ([("a.npy", npy(IMAGES)[:-1])], "holds an array 'a' that claims 50×6×5×3"),
        ([("a.npy", npy(IMAGES) + b"1")], "holds an array 'a' that claims 50×6×5×3"),
    ],
)
def test_a_wrong_member_of_an_archive_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], reason: str
) -> None:
    with pytest.raises(DataError) as error:
        open_arrays(_zip(tmp_path, *members), PLAIN)
    assert reason in str(error.value)


def test_other_compression_and_encryption_are_refused(tmp_path: Path) -> None:
    file = _zip(tmp_path, ("a.npy", npy(IMAGES)), method=zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="is compressed by method 14"):
        open_arrays(file, PLAIN)
    content = bytearray(_zip(tmp_path, ("a.npy", npy(IMAGES))).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="is encrypted"):
        open_arrays(write(tmp_path, bytes(content)), PLAIN)


def test_a_flipped_byte_of_an_archive_is_found(tmp_path: Path) -> None:
    content = bytearray(_zip(tmp_path, ("a.npy", npy(noise(60, 32, 32))), method=0).read_bytes())
    content[30_000] ^= 1
    (part,) = open_arrays(write(tmp_path, bytes(content)), PLAIN)
    with pytest.raises(DataError, match=r"is damaged.*CRC"):
        all_images(part)


def test_an_archive_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, IMAGES)
    (part,) = open_arrays(file, PLAIN)
    os.truncate(file, 1000)
    with pytest.raises(DataError, match="is cut off"):
        all_images(part)


def test_zip64_is_read(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w") as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(IMAGES))
    (part,) = open_arrays(tmp_path / "a.npz", PLAIN)
    np.testing.assert_array_equal(all_images(part), IMAGES)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "images.npz"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(DataError, match=r"images\.npz (cannot be read|is a dir|is not a regular)"):
        open_arrays(path, PLAIN)


def _deflated_zeros(directory: Path, name: str, head: bytes, megabytes: int, size: int) -> Path:
    """Write an archive of an array of zeros, claiming ``size`` bytes of content."""
    padded = head + bytes(-len(head) % 1024)
    return _deflated(directory / name, padded, bytes(1 << 20), megabytes, size=size)


def _deflated(file: Path, head: bytes, block: bytes, times: int, *, size: int) -> Path:
    """Write by hand an archive of one member: a header and a block many times."""
    checksum = zlib.crc32(head)
    for _ in range(times):
        checksum = zlib.crc32(block, checksum)
    data = deflated(block, times, before=head)
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, checksum, len(data), size, 5, 0)
    start = b"PK\3\4" + common + b"a.npy" + data
    directory_entry = b"PK\1\2" + struct.pack("<H", 20) + common + bytes(14) + b"a.npy"
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory_entry), len(start), 0)
    file.write_bytes(start + directory_entry + end)
    return file


def test_zip_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    megabytes = 600
    size = megabytes << 20
    honest = npy_header((size // 1024, 32, 32))
    small = npy_header((100, 32, 32))
    files = [
        # It is as large as it says: only the ratio gives it away.
        _deflated_zeros(tmp_path, "honest.npz", honest, megabytes, size + len(honest)),
        # It claims less than it inflates to.
        _deflated_zeros(tmp_path, "small.npz", small, megabytes, 100 * 1024 + len(small)),
        # Its array claims less than the archive.
        _deflated_zeros(tmp_path, "inner.npz", small, 60, (60 << 20) + len(small)),
        # A header without end.
        _deflated_zeros(tmp_path, "header.npz", b"\x93NUMPY\2\0\xff\xff\xff\x20", 60, 60 << 20),
    ]
    found = measure(*files)
    assert "a zip bomb" in found.errors[0]
    assert "is damaged" in found.errors[1]
    assert "are 102,400 bytes, and holds 62,914,560" in found.errors[2]
    assert "has a damaged header" in found.errors[3]
    assert found.peak_mb < 150


def test_a_list_of_a_million_members_is_not_read(tmp_path: Path) -> None:
    entry = b"PK\1\2" + struct.pack("<H", 20) + bytes(24) + b"\5\0" + bytes(14) + b"a.npy"
    entries = entry * 500_000
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65520, 65520, len(entries), 0, 0)
    found = measure(write(tmp_path, b"PK" + entries + end, "a.npz"))
    assert "has a header or metadata of too many bytes" in found.errors[0]
    assert found.peak_mb < 150


@pytest.mark.slow
def test_hundreds_of_megabytes_are_read_in_little_memory(tmp_path: Path) -> None:
    block = np.random.default_rng(0).integers(0, 4, (5_000, 32, 32, 3), dtype=np.uint8)
    count = 20 * len(block)
    head = npy_header((count, 32, 32, 3))
    size = len(head) + count * 32 * 32 * 3
    found = measure(_deflated(tmp_path / "a.npz", head, block.tobytes(), 20, size=size))
    assert found.errors == ("",)
    assert found.images == (count,)
    assert found.peak_mb < 150


@pytest.mark.parametrize("form", ["npy", "stored", "deflated"])
def test_random_damage_gives_images_or_a_reason(tmp_path: Path, form: str) -> None:
    if form == "npy":
        content = npy(IMAGES)
    else:
        method = zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED
        members = (("x_train.npy", npy(IMAGES)), ("y_train.npy", npy(LABELS)))
        content = _zip(tmp_path, *members, method=method).read_bytes()
    headers = [place for place in range(len(content)) if content[place : place + 2] == b"PK"]
    rng = np.random.default_rng(5)
    for turn in range(300):
        damaged = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.choice(headers)) if headers and turn % 2 else 0
            damaged[min(start + int(rng.integers(0, 150)), len(content) - 1)] = rng.integers(0, 256)
        file = write(tmp_path, bytes(damaged))
        with contextlib.suppress(ConfigError, DataError):
            for part in open_arrays(file, PLAIN):
                all_images(part)
