"""IDX files are read strictly, and never by what they claim about themselves."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ae_sweep.data import idx
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (3, 2, 2)
CONTENT = idx.header(SHAPE) + bytes(range(12))


def test_an_idx_file_becomes_its_array() -> None:
    array = idx.parse(CONTENT, SHAPE)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.arange(12).reshape(SHAPE))


def test_the_header_is_the_one_of_mnist() -> None:
    assert idx.header((60_000, 28, 28)).hex() == "00000803" + "0000ea60" + "0000001c" * 2
    assert idx.size((60_000, 28, 28)) == 47_040_016
    assert idx.size((10_000,)) == 10_008


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes, expected 28"),
        (CONTENT[:-1], "holds 27 bytes, expected 28"),
        (CONTENT + b"\0", "holds 29 bytes, expected 28"),
        (b"\x1f\x8b\x08\x00" + CONTENT[4:], "begins with 1f8b0800, expected 00000803"),
        (b"\0\0\x0d\x03" + CONTENT[4:], "begins with 00000d03, expected 00000803"),
        (
            CONTENT[:4] + struct.pack(">III", 2**32 - 1, 2, 2) + CONTENT[16:],
            "claims the shape 4,294,967,295×2×2, expected 3×2×2",
        ),
    ],
)
def test_a_file_that_is_not_the_expected_one_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        idx.parse(content, SHAPE)


def test_gzip_gives_its_content_up_to_exactly_the_limit() -> None:
    assert idx.gunzip(gzip.compress(CONTENT), len(CONTENT)) == CONTENT


def test_gzip_that_holds_more_than_expected_is_refused_without_unpacking_it_all() -> None:
    bomb = gzip.compress(bytes(1 << 24))
    with pytest.raises(DataError, match="more than the expected 28 bytes"):
        idx.gunzip(bomb, 28)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"plain text",
        gzip.compress(CONTENT)[:-9],
        gzip.compress(CONTENT)[:12] + b"\xff\xff\xff" + gzip.compress(CONTENT)[15:],
        gzip.compress(CONTENT)[:-8] + bytes(8),
        gzip.compress(CONTENT) + b"more",
    ],
    ids=["empty", "text", "cut", "garbled", "wrong checksum", "garbage after"],
)
def test_gzip_that_is_damaged_is_refused(blob: bytes) -> None:
    with pytest.raises(DataError):
        idx.parse(idx.gunzip(blob, len(CONTENT)), SHAPE)


def test_a_file_longer_than_allowed_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(100))
    assert idx.read_at_most(tmp_path / "f", 100) == bytes(100)
    with pytest.raises(DataError, match="holds 100 bytes, expected at most 99"):
        idx.read_at_most(tmp_path / "f", 99)
