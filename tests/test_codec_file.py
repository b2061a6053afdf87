"""The frame of a codec file: its bytes, and how damaged ones are refused."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import codec_support
import numpy as np
import pytest
from codec_support import SHAPE, codec, latents

from ae_sweep.codec import ans, storage
from ae_sweep.codec.artifact import digest
from ae_sweep.codec.codec_file import (
    FRAME_BYTES,
    HEADER_BYTES,
    CodecFile,
    check_model,
    check_shape,
    pack,
    parse,
    read,
)
from ae_sweep.errors import ConfigError, DataError

FILE = CodecFile(
    digest_half=bytes(range(16)), point=258, images=70_000, image_shape=(3, 300, 28),
    payload=b"\x01\x02\x03",
)  # fmt: skip
BYTES = bytes.fromhex(
    "89414553 0d0a1a0a 01 00 000102030405060708090a0b0c0d0e0f 0201 70110100 03 2c01 1c00"
    "03000000 010203 8c6a49f3"
)
MUTATIONS = 10_000
MOST_MIB = 300


def sealed(content: bytes) -> bytes:
    """Return a file's bytes with the right checksum in place of the last four."""
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


def with_field(offset: int, value: bytes) -> bytes:
    return sealed(BYTES[:offset] + value + BYTES[offset + len(value) :])


def test_the_bytes_of_a_file_are_those_of_the_format() -> None:
    assert pack(FILE) == BYTES
    assert parse(BYTES) == FILE


def test_a_file_has_45_bytes_beyond_its_payload() -> None:
    assert len(pack(FILE)) == len(FILE.payload) + 45 == len(FILE.payload) + FRAME_BYTES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short for its header: 0 bytes of 41"),
        (b"\x89PNG" + BYTES[4:], "starts with other bytes"),
        (BYTES[:20], "too short for its header: 20 bytes of 41"),
        (with_field(8, b"\x02"), "version 2, this ae-sweep reads version 1.*newer"),
        (with_field(8, b"\x00"), "version 0, which does not exist"),
        (with_field(9, b"\x04"), r"flags that this version does not know \(0x04\)"),
        (with_field(28, b"\0\0\0\0"), "holds 0 images"),
        (with_field(28, struct.pack("<I", 1_000_001)), "1,000,001 images, more than 1,000,000"),
        (with_field(32, b"\0"), "images are of 0×300×28"),
        (with_field(37, b"\xff\xff\xff\xff"), "4,294,967,295 bytes, more than"),
        (BYTES[:-5], "too short: its header says 48 bytes, it has 43"),
        (BYTES + b"\0", "too long: its header says 48 bytes, it has 49"),
        (BYTES[:42] + b"\x07" + BYTES[43:], "checksum is wrong"),
    ],
)
def test_each_kind_of_damage_has_a_message_of_its_own(
    content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        parse(content)
    path = tmp_path / "file.aes"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"file.aes: .*{message}"):
        read(path)


def test_a_file_on_the_disk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.aes"
    path.write_bytes(BYTES)
    assert read(path) == FILE


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read(tmp_path / "missing")
    with pytest.raises(DataError, match="not a regular file"):
        read(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read(Path("a\0b"))


def test_another_model_point_or_shape_is_refused_with_both_values() -> None:
    with pytest.raises(DataError, match=r"000102030405060708090a0b0c0d0e0f….*model that encoded"):
        check_model(FILE, bytes(32), points=300)
    own = FILE.digest_half + bytes(16)
    with pytest.raises(DataError, match="operating point 258, the model has 258 points, 0 to 257"):
        check_model(FILE, own, points=258)
    check_model(FILE, own, points=259)
    with pytest.raises(DataError, match=r"images of 3×300×28, the model makes images of 1×28×28"):
        check_shape(FILE, SHAPE)
    check_shape(FILE, (3, 300, 28))


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0}, {"images": 1_000_001}, {"point": 65_536}, {"image_shape": (256, 1, 1)},
        {"image_shape": (1, 0, 1)}, {"digest_half": b"short"},
    ],
)  # fmt: skip
def test_what_a_file_cannot_hold_is_not_packed(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(FILE, **change)


def outcome(content: bytes, own: bytes) -> np.ndarray | None:
    """Return the latents that a file decodes to; None where it is refused as an error of data."""
    try:
        file = parse(content)
        check_model(file, own, points=len(codec().points))
        check_shape(file, SHAPE)
        blocks = codec().decode_blocks(file.payload, file.point, file.images)
        return np.concatenate(list(blocks))
    except DataError:
        return None


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Return a file with a few bytes changed, inserted or removed."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        place = int(generator.integers(len(changed)))
        if (kind := generator.random()) < 0.8:
            changed[place] ^= int(generator.integers(1, 256))
        elif kind < 0.9:
            changed.insert(place, int(generator.integers(256)))
        else:
            del changed[place]
    return bytes(changed)


def encoded() -> tuple[bytes, bytes, np.ndarray]:
    own = digest(storage.to_bytes(codec()))
    coded = latents(40, seed=3)
    file = CodecFile(
        digest_half=own[:16],
        point=5,
        images=40,
        image_shape=SHAPE,
        payload=codec().encode(coded, 5),
    )
    return pack(file), own, codec().dequantise(codec().quantise(coded, 5), 5)


def check_mutations(mutations: int) -> None:
    generator = np.random.default_rng(0)
    content, own, expected = encoded()
    assert (outcome(content, own) == expected).all()
    for length in range(len(content)):
        assert outcome(content[:length], own) is None
        if length >= HEADER_BYTES + 4:
            # Cut, with length and checksum put right: the stream itself runs dry.
            size = struct.pack("<I", length - FRAME_BYTES) if length >= FRAME_BYTES else b"\0" * 4
            cut = content[:37] + size + content[41:length]
            assert outcome(sealed(cut), own) is None
    for each in range(mutations):
        changed = mutated(content, generator)
        found = outcome(changed if each % 2 else sealed(changed), own)
        # With a right checksum the stream is decoded: one that was changed misses its end.
        assert found is None or np.array_equal(found, expected)


@pytest.mark.skipif(not ans.is_available(), reason="constriction is not published")
def test_some_mutations_and_every_truncation_are_errors_of_data() -> None:
    check_mutations(300)


@pytest.mark.slow
@pytest.mark.skipif(not ans.is_available(), reason="constriction is not published")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_mutations_stay_below_300_mb() -> None:
    program = (
        "from pathlib import Path\n"
        "import test_codec_file as t\n"
        "t.codec()\n"
        f"t.check_mutations({MUTATIONS})\n"
        # Not getrusage: it counts the process that started this one as well.
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(codec_support.__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_MIB


@pytest.mark.skipif(not ans.is_available(), reason="constriction is not published")
def test_a_file_that_claims_a_million_images_is_refused_at_once() -> None:
    content, own, _ = encoded()
    claimed = sealed(content[:28] + struct.pack("<I", 1_000_000) + content[32:])
    file = parse(claimed)
    check_model(file, own, points=8)
    with pytest.raises(DataError, match="ran dry within images 1 to 4,096"):
        next(codec().decode_blocks(file.payload, file.point, file.images))
