"""Files of pictures that Pillow does not write: PNG by its chunks, TIFF by its tags, a profile."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, *, bits: int = 8, colour: int = RGB) -> bytes:
    """Return a PNG's first chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def png(
    rows: Sequence[bytes], *, width: int, bits: int = 8, colour: int = RGB, before: bytes = b""
) -> bytes:
    """Return a PNG of unfiltered rows, with chunks before its image data."""
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    head = header(width, len(rows), bits=bits, colour=colour)
    return SIGNATURE + head + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int], data: bytes = b"", *, counts: dict[int, int] | None = None) -> bytes:
    """Return a little-endian TIFF: its data at byte 8, then one number for each tag.

    A tag of ``counts`` has so many numbers, which lie where its value says.
    """
    counts = counts or {}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, counts.get(tag, 1), value) for tag, value in tags.items()
    )
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def grey_tiff(values_HW: NDArray[Any], *, white_is_zero: bool = False) -> bytes:
    """Return an uncompressed little-endian TIFF of the values' bits per sample."""
    height, width = values_HW.shape
    data = values_HW.tobytes()
    tags = {
        256: width, 257: height, 258: values_HW.itemsize * 8, 259: 1,
        262: 0 if white_is_zero else 1, 273: 8, 277: 1, 278: height, 279: len(data),
    }  # fmt: skip
    return tiff(tags, data)


def cmyk_profile() -> bytes:
    """Return an ICC profile by which black ink is black, and cyan a grey of the lightness 50."""
    lightness = [
        0 if black else 128 if cyan else 255
        for cyan in (0, 1)
        for _ in range(4)
        for black in (0, 1)
    ]
    lab = [(value, 128, 128) for value in lightness]
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0))
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += bytes(range(256)) * 4 + b"".join(map(bytes, lab)) + bytes(range(256)) * 3
    head = struct.pack(">I4s4s4s4s4s", 0, b"lcms", b"\x02\x40\0\0", b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    head = head.ljust(128, b"\0")
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    profile = head + tags + table
    return struct.pack(">I", len(profile)) + profile[4:]


MEASURED = """
import json, sys
from pathlib import Path
from ae_sweep.config import ImageOptions
from ae_sweep.data.arrays import open_arrays
from ae_sweep.data.decode import BrokenPictureError, read_picture
from ae_sweep.errors import AeSweepError
results = []
for path in map(Path, sys.argv[1:]):
    error, images = "", 0
    try:
        if path.suffix in {".npy", ".npz"}:
            for part in open_arrays(path, ImageOptions()):
                images += sum(map(len, part.chunks()))
        else:
            read_picture(path, ImageOptions())
    except (AeSweepError, BrokenPictureError) as refusal:
        error = str(refusal)
    results.append([error, images])
status = Path("/proc/self/status").read_text()
print(json.dumps({"results": results, "peak": int(status.partition("VmHWM:")[2].split()[0])}))
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What reading some files in a process of their own has given."""

    errors: tuple[str, ...]
    """The refusal of each; empty if it was read."""
    images: tuple[int, ...]
    """Number of images of each file of arrays."""
    peak_mb: float
    """Most memory that the process has had resident."""


def deflated(block: bytes, times: int, *, before: bytes = b"", level: int = 9) -> bytes:
    """Return the raw deflate stream of a block repeated: it is compressed once, its bytes copied.

    Behind a full flush a stream refers to nothing before it, so that a copy stands for itself.
    """
    squeezer = zlib.compressobj(level, zlib.DEFLATED, -15)
    start = squeezer.compress(before) + squeezer.flush(zlib.Z_FULL_FLUSH)
    piece = squeezer.compress(block) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * times + b"\3\0"  # a last block, which is empty


def measure(*paths: Path) -> Measured:
    """Read files of pictures and arrays, one after another, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *paths],
        capture_output=True, text=True, timeout=300, check=True, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    errors, images = zip(*found["results"], strict=True)
    return Measured(errors=errors, images=images, peak_mb=found["peak"] / 1024)


def measure_contents(directory: Path, *contents: bytes) -> Measured:
    """Write pictures, and read them in a new process."""
    paths = [directory / f"picture {number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return measure(*paths)


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return random bytes of a shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
