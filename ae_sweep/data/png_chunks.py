"""Check of a PNG's chunks before it is decoded: complete, intact, and with bounded metadata.

Pillow skips the checksums of the image data and reads any other chunk whole, so that a flipped
byte can go unnoticed and a long text can fill the memory.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_sweep.data.bounded_file import BoundedFile

MAX_OTHER_BYTES = 16 << 20
"""Most bytes of all chunks together that hold no image data; profiles and texts are far below."""
CHUNK_COST = 64
BLOCK = 1 << 20
IMAGE_DATA = (b"IDAT", b"fdAT")


def problem(file: BoundedFile) -> str | None:
    """Return what is wrong with the chunks of a PNG, as a predicate; None if nothing is.

    The signature has been checked; the position in the file is moved.
    """
    file.seek(8)
    others = 0
    is_first = True
    while True:
        head = file.read(8)
        if len(head) < 8:
            return "is cut off (it has no IEND chunk)"
        length, kind = struct.unpack(">I4s", head)
        if (kind == b"IHDR") != is_first:
            return f"is damaged (a {_shown(kind)} chunk out of its place)"
        is_first = False
        others += CHUNK_COST if kind in IMAGE_DATA else CHUNK_COST + length
        if others > MAX_OTHER_BYTES:
            return f"has more than {MAX_OTHER_BYTES >> 20} MiB of metadata"
        checksum = zlib.crc32(kind)
        while length:
            block = file.read(min(length, BLOCK))
            if not block:
                return f"is cut off (in its {_shown(kind)} chunk)"
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
        if file.read(4) != checksum.to_bytes(4, "big") and not _is_ancillary(kind):
            return f"is damaged (wrong checksum of its {_shown(kind)} chunk)"
        if kind == b"IEND":
            return None


def _is_ancillary(kind: bytes) -> bool:
    """Whether a picture can be shown without the chunk: its first letter is small."""
    return bool(kind[0] & 0x20)


def _shown(kind: bytes) -> str:
    return ascii(kind.decode("latin-1"))[1:-1]
