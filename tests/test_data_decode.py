"""Pictures of every mode become the bytes that a hand computation gives."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from picture_files import GREY, RGB, chunk, cmyk_profile, grey_tiff, noise, png
from PIL import Image, ImageCms, ImageOps

from ae_sweep.config import ImageOptions
from ae_sweep.data.decode import BrokenPictureError, Picture, convert_array, read_picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PLAIN = ImageOptions()
WHITE = ImageOptions(background="white")
ORANGE = ImageOptions(background="#ff8000")
ORIENTATION = 0x0112


def _read(directory: Path, content: bytes, options: ImageOptions = PLAIN) -> Picture:
    file = directory / "picture"
    file.write_bytes(content)
    return read_picture(file, options)


def _saved(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def _over(colour_HWC: NDArray[Any], alpha_HW: NDArray[Any], background: Any) -> NDArray[Any]:
    alpha_HW1 = alpha_HW[..., None] / 255.0
    return np.rint(colour_HWC * alpha_HW1 + np.array(background) * (1 - alpha_HW1))


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("RGB", "PNG"), ("RGB", "BMP"), ("RGB", "TIFF"), ("RGB", "WEBP"), ("L", "PNG"),
        ("L", "BMP"), ("L", "TIFF"), ("L", "GIF"), ("1", "PNG"), ("1", "BMP"), ("1", "TIFF"),
        ("1", "GIF"), ("P", "PNG"), ("P", "GIF"), ("P", "BMP"), ("P", "TIFF"),
    ],
)  # fmt: skip
def test_an_opaque_picture_keeps_its_colours(tmp_path: Path, mode: str, form: str) -> None:
    image = Image.fromarray(noise(7, 5, 3)).convert(mode)
    settings = {"lossless": True} if form == "WEBP" else {}
    picture = _read(tmp_path, _saved(image, form, **settings))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(picture.pixels_HWC, expected)
    assert picture.pixels_HWC.dtype == np.uint8
    assert picture.native_size == (7, 5)
    assert picture.grey is (mode in {"L", "1"})
    assert not picture.transparent
    assert not picture.sixteen_bits
    assert picture.frames == 1


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("options", "background"), [(PLAIN, 0), (WHITE, 255), (ORANGE, (255, 128, 0))]
)
def test_transparent_pixels_show_the_background(
    tmp_path: Path, form: str, options: ImageOptions, background: Any
) -> None:
    pixels_HWC = noise(40, 30, 4)
    pixels_HWC[0, :, 3] = 0
    pixels_HWC[1, :, 3] = 255
    settings = {"lossless": True, "exact": True} if form == "WEBP" else {}
    picture = _read(tmp_path, _saved(Image.fromarray(pixels_HWC), form, **settings), options)
    expected = _over(pixels_HWC[..., :3], pixels_HWC[..., 3], background)
    np.testing.assert_array_equal(picture.pixels_HWC, expected)
    assert picture.transparent
    assert picture.mode == "RGBA"


def test_blending_is_exact_for_every_colour_and_opacity() -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels_HWC = np.stack([colour, alpha], axis=2).astype(np.uint8)
    for grey in (0, 1, 127, 200, 255):
        options = ImageOptions(background=f"#{grey:02x}{grey:02x}{grey:02x}")
        mixed = convert_array(pixels_HWC, options).pixels_HWC[..., 0].astype(int)
        numerator = colour * alpha + grey * (255 - alpha)
        assert (2 * np.abs(mixed * 255 - numerator) < 255).all()


def test_grey_with_alpha_is_grey_on_white_and_coloured_on_orange(tmp_path: Path) -> None:
    pixels_HWC = noise(6, 6, 2)
    content = _saved(Image.fromarray(pixels_HWC, "LA"))
    white = _read(tmp_path, content, WHITE)
    np.testing.assert_array_equal(
        white.pixels_HWC, _over(pixels_HWC[..., :1].repeat(3, 2), pixels_HWC[..., 1], 255)
    )
    assert (white.mode, white.grey, white.transparent) == ("LA", True, True)
    assert not _read(tmp_path, content, ORANGE).grey


def test_full_opacity_is_not_transparency(tmp_path: Path) -> None:
    pixels_HWC = noise(6, 6, 4)
    pixels_HWC[..., 3] = 255
    picture = _read(tmp_path, _saved(Image.fromarray(pixels_HWC)))
    assert (picture.mode, picture.transparent) == ("RGBA", False)
    np.testing.assert_array_equal(picture.pixels_HWC, pixels_HWC[..., :3])


@pytest.mark.parametrize(
    ("form", "transparency"), [("PNG", 2), ("PNG", bytes((255, 128, 0))), ("GIF", 2)]
)
def test_a_palette_with_transparency_shows_the_background(
    tmp_path: Path, form: str, transparency: int | bytes
) -> None:
    palette = [(10, 20, 30), (200, 100, 50), (1, 2, 3)]
    image = Image.new("P", (3, 1))
    image.putpalette([part for colour in palette for part in colour])
    image.putdata([0, 1, 2])
    picture = _read(tmp_path, _saved(image, form, transparency=transparency), WHITE)
    half = _over(np.array([[palette[1]]]), np.array([[128]]), 255)[0, 0]
    second = palette[1] if isinstance(transparency, int) else half
    np.testing.assert_array_equal(picture.pixels_HWC, [[palette[0], second, (255, 255, 255)]])
    assert (picture.mode, picture.transparent) == ("P", True)


@pytest.mark.parametrize(
    ("bits", "row", "key", "expected"),
    [
        (8, bytes((0, 7, 255)), 7, (0, 200, 255)),
        (4, bytes((0x03, 0xF0)), 3, (0, 200, 255)),
        (2, bytes((0b00_01_11_00,)), 1, (0, 200, 255)),
        (1, bytes((0b01100000,)), 0, (200, 255, 255)),
        (16, bytes((0, 0, 1, 2, 255, 255)), 0x0102, (0, 200, 255)),
    ],
)
def test_a_grey_value_declared_transparent_shows_the_background(
    tmp_path: Path, bits: int, row: bytes, key: int, expected: tuple[int, ...]
) -> None:
    tail = chunk(b"tRNS", key.to_bytes(2, "big"))
    content = png([row], width=3, bits=bits, colour=GREY, before=tail)
    picture = _read(tmp_path, content, ImageOptions(background="#c8c8c8"))
    np.testing.assert_array_equal(picture.pixels_HWC[0, :, 0], expected)
    assert picture.transparent
    assert picture.sixteen_bits is (bits == 16)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_declared_transparent_shows_the_background(tmp_path: Path, bits: int) -> None:
    row = bytes((1, 2, 3, 1, 2, 4)) if bits == 8 else bytes((1, 0, 2, 0, 3, 0, 1, 0, 2, 0, 4, 0))
    key = bytes((0, 1, 0, 2, 0, 3)) if bits == 8 else bytes((1, 0, 2, 0, 3, 0))
    content = png([row], width=2, bits=bits, colour=RGB, before=chunk(b"tRNS", key))
    picture = _read(tmp_path, content, WHITE)
    np.testing.assert_array_equal(picture.pixels_HWC, [[(255, 255, 255), (1, 2, 4)]])
    assert picture.transparent


RAMP = np.arange(0, 65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF lzw", "TIFF big-endian", "TIFF 32-bit"])
def test_sixteen_bits_are_divided_by_257_and_rounded(tmp_path: Path, form: str) -> None:
    image = Image.fromarray(RAMP)
    if form == "TIFF big-endian":
        image = Image.frombytes("I;16B", (256, 256), RAMP.astype(">u2").tobytes())
    elif form == "TIFF 32-bit":
        image = Image.fromarray(RAMP.astype(np.int32))
    settings = {"compression": "tiff_lzw"} if form.endswith("lzw") else {}
    picture = _read(tmp_path, _saved(image, form.partition(" ")[0], **settings))
    np.testing.assert_array_equal(picture.pixels_HWC[..., 1], np.rint(RAMP / 257))
    assert picture.sixteen_bits
    assert picture.grey
    assert picture.mode == {"TIFF big-endian": "I;16B", "TIFF 32-bit": "I"}.get(form, "I;16")


def test_sixteen_bits_where_zero_is_white_are_inverted(tmp_path: Path) -> None:
    picture = _read(tmp_path, grey_tiff(RAMP, white_is_zero=True))
    np.testing.assert_array_equal(picture.pixels_HWC[..., 0], np.rint((65535 - RAMP) / 257))
    plain = _read(tmp_path, grey_tiff(RAMP))
    np.testing.assert_array_equal(plain.pixels_HWC[..., 0], np.rint(RAMP / 257))


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour_are_at_most_one_level_away(tmp_path: Path, channels: int) -> None:
    values_HWC = np.random.default_rng(1).integers(0, 65536, (9, 8, channels), dtype=np.uint16)
    values_HWC[..., 3:] = 65535
    rows = [row.astype(">u2").tobytes() for row in values_HWC]
    content = png(rows, width=8, bits=16, colour=RGB if channels == 3 else 6)
    picture = _read(tmp_path, content)
    assert picture.sixteen_bits
    difference = picture.pixels_HWC.astype(int) - np.rint(values_HWC[..., :3] / 257)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (0, 65_536)])
def test_numbers_beyond_16_bits_are_refused(tmp_path: Path, low: int, high: int) -> None:
    image = Image.fromarray(np.array([[low, high]], dtype=np.int32))
    with pytest.raises(BrokenPictureError, match=f"has values from {low} to {high:,}, beyond"):
        _read(tmp_path, _saved(image, "TIFF"))


def test_floats_are_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.ones((2, 2), dtype=np.float32))
    with pytest.raises(BrokenPictureError, match="has floating-point numbers"):
        _read(tmp_path, _saved(image, "TIFF"))


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_inks_without_a_profile_absorb_light(tmp_path: Path, form: str) -> None:
    # Pillow writes and reads the inverted inks of Adobe's JPEG.
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    image = Image.fromarray(inks.repeat(8, 0).repeat(8, 1), "CMYK")
    settings = {"quality": 100} if form == "JPEG" else {}
    picture = _read(tmp_path, _saved(image, form, **settings))
    found = picture.pixels_HWC[4, 4::8].astype(int)
    expected = [(255, 255, 255), (0, 255, 255), (0, 0, 0)]
    assert np.abs(found - expected).max() <= 3
    assert picture.mode == "CMYK"


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_inks_are_converted_by_the_embedded_profile(tmp_path: Path, form: str) -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = _read(tmp_path, _saved(image, form, icc_profile=cmyk_profile()))
    # CIE lightness 50 is sRGB 119.
    assert np.abs(picture.pixels_HWC.astype(int) - 119).max() <= 3


def test_inks_with_the_profile_of_a_screen_are_refused(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = _saved(Image.new("CMYK", (4, 4)), "JPEG", icc_profile=profile)
    with pytest.raises(BrokenPictureError, match="a colour profile that does not fit its CMYK"):
        _read(tmp_path, content)


def test_lab_is_converted_to_srgb(tmp_path: Path) -> None:
    image = Image.new("LAB", (4, 4), (128, 128, 128))
    picture = _read(tmp_path, _saved(image, "TIFF"))
    assert np.abs(picture.pixels_HWC.astype(int) - 119).max() <= 2
    assert picture.mode == "LAB"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_the_rotation_of_exif_is_applied(tmp_path: Path, form: str, orientation: int) -> None:
    image = Image.fromarray(noise(10, 20, 3))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = _saved(image, form, exif=exif, lossless=True)
    picture = _read(tmp_path, content)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    np.testing.assert_array_equal(picture.pixels_HWC, np.asarray(expected))
    assert picture.native_size == ((20, 10) if orientation >= 5 else (10, 20))


def test_a_turned_picture_of_several_strips_is_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_sweep.data.pixels.STRIP_PIXELS", 37)
    pixels_HWC = noise(50, 20, 4)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = _read(tmp_path, _saved(Image.fromarray(pixels_HWC), exif=exif), WHITE)
    expected = _over(pixels_HWC[..., :3], pixels_HWC[..., 3], 255)
    np.testing.assert_array_equal(picture.pixels_HWC, np.rot90(expected, -1))


def test_damaged_metadata_leave_a_picture_upright(tmp_path: Path) -> None:
    image = Image.fromarray(noise(10, 20, 3))
    picture = _read(tmp_path, _saved(image, exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff"))
    np.testing.assert_array_equal(picture.pixels_HWC, np.asarray(image))


@pytest.mark.parametrize(("form", "frames"), [("GIF", 3), ("PNG", 3), ("WEBP", 3), ("TIFF", 3)])
def test_only_the_first_frame_is_taken_and_the_others_are_counted(
    tmp_path: Path, form: str, frames: int
) -> None:
    images = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (10, 100, 200)]
    content = _saved(images[0], form, save_all=True, append_images=images[1:], lossless=True)
    picture = _read(tmp_path, content)
    assert picture.frames == frames
    np.testing.assert_array_equal(picture.pixels_HWC[0, 0], (10, 0, 0))


def test_the_appended_preview_of_a_phone_is_not_a_frame(tmp_path: Path) -> None:
    images = [Image.new("RGB", (16, 16), (shade,) * 3) for shade in (10, 200)]
    content = _saved(images[0], "MPO", save_all=True, append_images=images[1:])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    picture = _read(tmp_path, content)
    assert picture.frames == 1
    assert picture.pixels_HWC.max() < 20


@pytest.mark.parametrize("size", [(1, 1), (5, 5000), (5000, 5)])
def test_a_tiny_and_a_very_long_picture_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels_HWC = noise(*size, 3)
    picture = _read(tmp_path, _saved(Image.fromarray(pixels_HWC)))
    assert picture.native_size == size
    np.testing.assert_array_equal(picture.pixels_HWC, pixels_HWC)


@pytest.mark.parametrize("name", [b"line\nbreak.png", b"latin-\xe9\xff.png", b"-.png"])
def test_names_of_any_bytes_are_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(_saved(Image.new("RGB", (2, 3))))
    assert read_picture(path, PLAIN).native_size == (3, 2)
    assert read_picture(os.fsencode(path), PLAIN).native_size == (3, 2)


def test_the_content_and_not_the_ending_decides(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(_saved(Image.new("RGB", (2, 3)), "BMP"))
    assert read_picture(file, PLAIN).native_size == (3, 2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_array_becomes_what_its_png_becomes(tmp_path: Path, channels: int) -> None:
    pixels_HWC = noise(9, 6, channels)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    image = Image.frombytes(mode, (6, 9), pixels_HWC.tobytes())
    for options in (PLAIN, ORANGE, ImageOptions(image_size=(4, 4), background="white")):
        from_file = _read(tmp_path, _saved(image), options)
        converted = convert_array(pixels_HWC, options)
        np.testing.assert_array_equal(converted.pixels_HWC, from_file.pixels_HWC)
        assert converted.transparent is from_file.transparent
        assert converted.grey is from_file.grey
        assert converted.native_size == (9, 6)
        assert converted.mode == f"uint8 H×W×{channels}"


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2, 3))]
)
def test_an_array_of_another_kind_is_not_converted(array: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="expected uint8 H×W×C"):
        convert_array(array, PLAIN)
