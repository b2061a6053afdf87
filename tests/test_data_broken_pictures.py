"""Broken and hostile pictures are refused with their reason, at once and in little memory."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import ROOT
from picture_files import (
    SIGNATURE,
    chunk,
    deflated,
    header,
    measure,
    measure_contents,
    noise,
    png,
    tiff,
)
from PIL import Image, ImageFile, PngImagePlugin

from ae_sweep.config import ImageOptions
from ae_sweep.data.decode import BrokenPictureError, Picture, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = ImageOptions()
PIXELS = noise(24, 32, 3)
FORMS: dict[str, dict[str, Any]] = {
    "PNG": {}, "JPEG": {"quality": 95}, "GIF": {}, "BMP": {}, "WEBP": {"lossless": True},
    "TIFF": {}, "TIFF lzw": {"compression": "tiff_lzw"}, "TIFF jpeg": {"compression": "jpeg"},
}  # fmt: skip
MOST_MB = 500


def _saved(form: str, image: Image.Image | None = None) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, form.partition(" ")[0], **FORMS[form])
    return file.getvalue()


def _read(directory: Path, content: bytes) -> Picture:
    file = directory / "picture"
    file.write_bytes(content)
    return read_picture(file, PLAIN)


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_picture_is_refused_and_never_filled_up(tmp_path: Path, form: str) -> None:
    content = _saved(form)
    whole = _read(tmp_path, content).pixels_HWC
    refused = 0
    for length in {*range(1, len(content), max(1, len(content) // 97)), len(content) - 1}:
        try:
            picture = _read(tmp_path, content[:length])
        except BrokenPictureError:
            refused += 1
        else:
            # What is missing held no pixels.
            np.testing.assert_array_equal(picture.pixels_HWC, whole)
            assert length > 0.9 * len(content)
    assert refused > 80


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_cut_in_half_is_said_to_be_cut_off(tmp_path: Path, form: str) -> None:
    content = _saved(form)
    half = content[: len(content) // 2]
    if form == "JPEG":
        Image.open(io.BytesIO(half)).verify()  # which is why each is decoded in full
    with pytest.raises(BrokenPictureError, match=r"^is cut off"):
        _read(tmp_path, half)


def test_any_flipped_byte_of_a_png_is_found(tmp_path: Path) -> None:
    content = _saved("PNG")
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        with pytest.raises(BrokenPictureError):
            _read(tmp_path, bytes(damaged))


@pytest.mark.parametrize("form", FORMS)
def test_random_damage_gives_a_picture_or_a_reason(tmp_path: Path, form: str) -> None:
    content = _saved(form)
    rng = np.random.default_rng(3)
    for _ in range(150):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, len(content), rng.integers(1, 8))
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            _read(tmp_path, damaged.tobytes())
        except BrokenPictureError as error:
            text = str(error)
            assert text.startswith(("is ", "has ", "claims ", "holds ", "needs ")), text
            assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not a picture", "is not a picture in a known format"),
        (b"<html><body>404</body></html>", "is not a picture in a known format"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "is not a picture in a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is not a picture in a known format"),
        (SIGNATURE, "is cut off"),
        (SIGNATURE + header(0, 4), "claims 0×4 pixels"),
        (SIGNATURE + chunk(b"IEND", b""), "is damaged (a IEND chunk out of its place)"),
        (SIGNATURE + header(4, 4) + header(9000, 9000), "is damaged (a IHDR chunk out of"),
        (SIGNATURE + header(4, 4) + chunk(b"IEND", b""), "is damaged"),
        (png([bytes(12)], width=4).replace(b"IDAT", b"IDAX"), "is damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(BrokenPictureError) as error:
        _read(tmp_path, content)
    assert reason in str(error.value)


def test_a_format_that_is_not_listed_is_not_decoded(tmp_path: Path) -> None:
    for form in ("PPM", "ICO", "TGA", "PCX", "SGI", "DDS"):
        file = io.BytesIO()
        Image.fromarray(PIXELS).save(file, form)
        with pytest.raises(BrokenPictureError, match="is not a picture in a known format"):
            _read(tmp_path, file.getvalue())


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "nul"])
def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "nul":
        path = tmp_path / "a\0b"
    expected = {
        "directory": "is a directory",
        "nul": "is not a path (embedded null byte)",
    }
    with pytest.raises(BrokenPictureError) as error:
        read_picture(path, PLAIN)
    assert str(error.value) == expected.get(kind, "is not a regular file")


def _bmp(width: int, height: int) -> bytes:
    return struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def _gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x01\0\0;"


def _jpeg(width: int, height: int) -> bytes:
    place = (content := _saved("JPEG")).index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def _animation(width: int, height: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 2, 0)
    tail = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", control)
    return SIGNATURE + header(width, height) + tail + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_header_that_claims_a_huge_picture_is_refused(tmp_path: Path) -> None:
    found = measure_contents(
        tmp_path,
        png([b""], width=100_000).replace(header(100_000, 1), header(100_000, 100_000)),
        _animation(100_000, 100_000),
        _bmp(100_000, 100_000),
        _bmp(8_001, -8_000),
        _gif(65_535, 65_535),
        _jpeg(65_500, 65_500),
    )
    assert all("claims" in error and "pixels" in error for error in found.errors)
    assert found.errors[0] == "claims 100,000×100,000 pixels, more than 64 megapixels"
    assert found.errors[3] == "claims 8,001×8,000 pixels, more than 64 megapixels"
    assert found.peak_mb < 100


def test_a_small_file_of_a_huge_webp_is_refused(tmp_path: Path) -> None:
    Image.new("L", (5001, 5001)).save(tmp_path / "picture", "WEBP", lossless=True, method=0)
    found = measure(tmp_path / "picture")
    assert found.errors == ("claims 5,001×5,001 pixels, more than 25 megapixels",)
    assert found.peak_mb < 150


def _bomb() -> bytes:
    """Return a zlib stream of 600 MiB of zeros, with their right checksum."""
    size = 600 << 20
    checksum = (size % 65_521) << 16 | 1
    return b"\x78\xda" + deflated(bytes(1 << 20), 600) + struct.pack(">I", checksum)


def test_texts_and_pixels_that_inflate_without_end_take_little_memory(tmp_path: Path) -> None:
    bomb = _bomb()
    texts = [
        chunk(b"zTXt", b"name\0\0" + bomb),
        chunk(b"iTXt", b"name\0\1\0\0\0" + bomb),
        chunk(b"iCCP", b"name\0\0" + bomb),
    ]
    plain = png([bytes(12)] * 4, width=4)
    places = (len(SIGNATURE + header(4, 4)), len(plain) - 12)
    contents = [plain[:place] + text + plain[place:] for text in texts for place in places]
    pixels = SIGNATURE + header(4, 4) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
    found = measure_contents(tmp_path, *contents, pixels)
    assert all("too large" in error for error in found.errors[:-1])
    assert found.peak_mb < 150


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"prVt"])
def test_metadata_above_the_limit_are_refused(tmp_path: Path, kind: bytes) -> None:
    plain = png([bytes(12)] * 4, width=4)
    data = b"name\0\0\0\0\0" + bytes(16 << 20)
    with pytest.raises(BrokenPictureError, match="has more than 16 MiB of metadata"):
        _read(tmp_path, plain[:-12] + chunk(kind, data) + plain[-12:])


@pytest.mark.slow
def test_metadata_of_many_megabytes_are_refused_in_little_memory(tmp_path: Path) -> None:
    plain = png([bytes(12)] * 4, width=4)
    data = b"name\0\0\0\0\0" + "é".encode() * (30 << 20)
    pngs = [plain[:-12] + chunk(kind, data) + plain[-12:] for kind in (b"tEXt", b"iTXt", b"prVt")]
    jpeg = _saved("JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + bytes(65_527)
    found = measure_contents(tmp_path, *pngs, jpeg[:2] + segment * 1000 + jpeg[2:])
    assert set(found.errors[:3]) == {"has more than 16 MiB of metadata"}
    assert found.errors[3] == "has a header or metadata of too many bytes"
    assert found.peak_mb < 200


def test_a_tiff_of_too_large_or_too_many_pieces_is_refused(tmp_path: Path) -> None:
    number = 1_000_000
    strips = {256: 1, 257: number, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 8}
    many = tiff(strips, bytes(4 * number), counts={273: number, 279: number})
    tile = {322: 60_000, 323: 60_000, 324: 8, 325: 4}
    large = tiff({256: 1, 257: 1, 258: 8, 259: 5, 262: 1, 277: 1, **tile}, bytes(4))
    found = measure_contents(tmp_path, many, large)
    assert found.errors == (
        "has 1,000,000 strips, more than 100,000",
        "claims 60,000×60,000 pixels, more than 16 megapixels",
    )
    assert found.peak_mb < 150


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert _read(tmp_path, content).native_size == (24, 32)
    scan = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(BrokenPictureError, match=r"^has \d+ scans, more than 500$"):
        _read(tmp_path, content[:-2] + scan * 600 + content[-2:])


def test_an_intact_first_frame_is_enough(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(20, 20, seed=seed)) for seed in range(4)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    picture = _read(tmp_path, file.getvalue()[:-600])
    np.testing.assert_array_equal(picture.pixels_HWC[..., 0], noise(20, 20, seed=0))
    assert 2 <= picture.frames <= 4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF lzw"])
def test_the_largest_picture_stays_below_the_limit(tmp_path: Path, form: str) -> None:
    found = measure_contents(tmp_path, _saved(form, Image.new("RGB", (8000, 8000), (1, 2, 3))))
    assert found.errors == ("",)
    assert found.peak_mb < MOST_MB


def test_a_file_of_too_many_bytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "picture").open("wb") as file:
        file.write(SIGNATURE)
        file.truncate(200_000_001)
    with pytest.raises(BrokenPictureError, match="holds 200,000,001 bytes, more than 200,000,000"):
        read_picture(tmp_path / "picture", PLAIN)


def _warned() -> bytes:
    image = Image.new("P", (4, 4))
    image.putpalette(bytes(range(9)))
    file = io.BytesIO()
    control = PngImagePlugin.PngInfo()
    control.add(b"acTL", struct.pack(">II", 0, 0))
    image.save(file, "PNG", transparency=bytes((1, 2, 3)), pnginfo=control)
    return file.getvalue()


def test_remarks_of_pillow_are_silent_whatever_the_filters_are(tmp_path: Path) -> None:
    content = _warned()
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(content))
    (tmp_path / "picture").write_bytes(content)
    script = (
        "import sys; from pathlib import Path; from ae_sweep.config import ImageOptions; "
        "from ae_sweep.data.decode import read_picture; "
        "read_picture(Path(sys.argv[1]), ImageOptions())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "picture"], cwd=ROOT, capture_output=True,
        text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_the_filters_of_warnings_are_put_back(tmp_path: Path) -> None:
    before = list(warnings.filters)
    with pytest.raises(BrokenPictureError):
        _read(tmp_path, b"text")
    assert warnings.filters == before


def test_the_patience_of_pillow_is_not_asked_for() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_lack_of_memory_says_nothing_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Callable[[], None]:
        raise MemoryError

    monkeypatch.setattr("ae_sweep.data.decode.upright", fail)
    with pytest.raises(MemoryError):
        _read(tmp_path, _saved("PNG"))


def test_what_the_system_refuses_says_nothing_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "missing.png", PLAIN)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("ae_sweep.data.decode._open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        _read(tmp_path, _saved("PNG"))
