"""The file that ``ae-sweep encode`` writes: a header, a coded stream, a checksum.

Little-endian; n is the payload's length:

======  =========  ==============================================================
offset  bytes      field
======  =========  ==============================================================
0       8          ``89 41 45 53 0D 0A 1A 0A``
8       1 + 1      version (1), flags (0)
10      16         first half of the SHA-256 of ``codec.safetensors``
26      2          operating point
28      4          images, 1 to 1,000,000
32      1 + 2 + 2  channels, height, width
37      4          n
41      n          stream of ``ae_sweep.codec.ans``
41 + n  4          CRC-32 (zlib's) of everything before
======  =========  ==============================================================

The checksum finds damage; it proves nothing about the origin of a file.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.errors import ConfigError, DataError
from ae_sweep.files import open_regular
from ae_sweep.messages import counted, times, visible

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"\x89AES\r\n\x1a\n"
VERSION = 1
FLAGS = 0
"""None is defined."""
DIGEST_BYTES = 16
MOST_IMAGES = 1_000_000
MOST_PAYLOAD_BYTES = 2**28
"""More is split over files, so that reading one takes a bounded memory."""
_HEADER = struct.Struct("<8sBB16sHIBHHI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = HEADER_BYTES + _CRC.size
"""A file's size beyond its payload: 45."""


@dataclass(frozen=True, kw_only=True)
class CodecFile:
    """Contents of a codec file."""

    digest_half: bytes
    """First 16 bytes of the SHA-256 of the ``codec.safetensors`` that decodes it."""
    point: int
    """Number of the operating point in it."""
    images: int
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    payload: bytes

    def __post_init__(self) -> None:
        """Refuse what the fields of a file cannot hold."""
        if len(self.digest_half) != DIGEST_BYTES:
            raise ConfigError(
                f"half a SHA-256 has {DIGEST_BYTES} bytes, got {len(self.digest_half)}"
            )
        if not 0 <= self.point < 2**16:
            raise ConfigError(f"an operating point is a 16-bit number, got {self.point}")
        if not 1 <= self.images <= MOST_IMAGES:
            raise ConfigError(
                f"a file holds 1 to {MOST_IMAGES:,} images, got {self.images:,}: encode them into "
                "several files"
            )
        most = (2**8, 2**16, 2**16)
        if not all(1 <= side < end for side, end in zip(self.image_shape, most, strict=True)):
            raise ConfigError(
                "an image has 1 to 255 channels and 1 to 65,535 rows and columns, got "
                f"{times(self.image_shape)}"
            )
        if len(self.payload) > MOST_PAYLOAD_BYTES:
            raise ConfigError(
                f"a file holds at most {MOST_PAYLOAD_BYTES:,} bytes of payload, got "
                f"{len(self.payload):,}: encode fewer images into each"
            )


def pack(file: CodecFile) -> bytes:
    """Return the bytes of a file: its payload and 45 more."""
    header = _HEADER.pack(
        MAGIC, VERSION, FLAGS, file.digest_half, file.point, file.images, *file.image_shape,
        len(file.payload),
    )  # fmt: skip
    content = header + file.payload
    return content + _CRC.pack(zlib.crc32(content))


def parse(content: bytes) -> CodecFile:
    """Return the contents of a file's bytes.

    Raises
    ------
    DataError
        If they are not a codec file, of a newer version, damaged, too short or too long; each with
        a message of its own.
    """
    file, payload_bytes = _parse_header(content)
    expected = FRAME_BYTES + payload_bytes
    if len(content) < expected:
        raise DataError(
            f"the file is too short: its header says {expected:,} bytes, it has {len(content):,}; "
            "it was cut off, copy it again"
        )
    if len(content) > expected:
        raise DataError(
            f"the file is too long: its header says {expected:,} bytes, it has {len(content):,}; "
            "something was appended, or its length is damaged"
        )
    (crc,) = _CRC.unpack_from(content, expected - _CRC.size)
    if zlib.crc32(memoryview(content)[: -_CRC.size]) != crc:
        raise DataError("the file's checksum is wrong: it is damaged, copy it again")
    return dataclasses.replace(file, payload=content[HEADER_BYTES : -_CRC.size])


def read(path: Path) -> CodecFile:
    """Return the contents of a file.

    No more is read than the header says and the file holds.

    Raises
    ------
    DataError
        If it cannot be read, or as ``parse``; the message starts with its path.
    """
    try:
        with open_regular(path) as file:
            header = file.read(HEADER_BYTES)
            _, payload_bytes = _parse_header(header)
            rest = file.read(payload_bytes + _CRC.size)
            beyond = os.fstat(file.fileno()).st_size - len(header) - len(rest)
            # One byte more is enough to be found too long.
            return parse(header + rest + b"\0" * min(1, max(0, beyond)))
    except OSError as error:
        raise DataError(f"{visible(path)} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL character
        raise DataError(f"{visible(path)} cannot be read: {error}") from error
    except DataError as error:
        raise DataError(f"{visible(path)}: {error}") from error


def check_model(file: CodecFile, digest: bytes, *, points: int) -> None:
    """Refuse a file of another model or of an operating point that the model does not have.

    Parameters
    ----------
    digest
        SHA-256 of the content of the ``codec.safetensors`` at hand.
    points
        Operating points in it.

    Raises
    ------
    DataError
        Which of the two it is, with the values.
    """
    if file.digest_half != digest[:DIGEST_BYTES]:
        raise DataError(
            f"the file was encoded with the model {file.digest_half.hex()}…, this one is "
            f"{digest[:DIGEST_BYTES].hex()}…: decode it with the model that encoded it"
        )
    if file.point >= points:
        raise DataError(
            f"the file names the operating point {file.point}, the model has "
            f"{counted(points, 'point')}, 0 to {points - 1}: the file is damaged"
        )


def check_shape(file: CodecFile, image_shape: tuple[int, int, int]) -> None:
    """Refuse a file whose images are not of a model's shape.

    Raises
    ------
    DataError
        With both shapes.
    """
    if file.image_shape != image_shape:
        raise DataError(
            f"the file holds images of {times(file.image_shape)}, the model makes images of "
            f"{times(image_shape)} (channels, height, width): the file is damaged"
        )


def _parse_header(content: bytes) -> tuple[CodecFile, int]:
    """Return the fields of a header, without a payload, and the payload's length."""
    start = content[: len(MAGIC)]
    if start != MAGIC[: len(start)]:
        raise DataError("it is not a file of `ae-sweep encode`: it starts with other bytes")
    if len(content) < HEADER_BYTES:
        raise DataError(
            f"the file is too short for its header: {counted(len(content), 'byte')} of "
            f"{HEADER_BYTES}; it was cut off, copy it again"
        )
    _, version, flags, digest_half, point, images, channels, height, width, payload_bytes = (
        _HEADER.unpack_from(content)
    )
    if version != VERSION:
        raise DataError(_other_version(version))
    if flags != FLAGS:
        raise DataError(
            f"the file has flags that this version does not know ({flags:#04x}): it is damaged, "
            "or of a newer ae-sweep"
        )
    if not images:
        raise DataError("the file says that it holds 0 images: it is damaged")
    if images > MOST_IMAGES:
        raise DataError(
            f"the file says that it holds {images:,} images, more than {MOST_IMAGES:,}: it is "
            "damaged"
        )
    if not channels * height * width:
        raise DataError(
            f"the file says that its images are of {channels}×{height}×{width}: it is damaged"
        )
    if payload_bytes > MOST_PAYLOAD_BYTES:
        raise DataError(
            f"the file says that its payload has {payload_bytes:,} bytes, more than "
            f"{MOST_PAYLOAD_BYTES:,}: it is damaged"
        )
    file = CodecFile(
        digest_half=digest_half,
        point=point,
        images=images,
        image_shape=(channels, height, width),
        payload=b"",
    )
    return file, payload_bytes


def _other_version(version: int) -> str:
    if version > VERSION:
        return (
            f"the file is of version {version}, this ae-sweep reads version {VERSION}: decode it "
            "with a newer ae-sweep"
        )
    return f"the file is of version {version}, which does not exist: it is damaged"
