"""Image codecs: bytes, mosaics, limits, and what happens where one is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from blobs import blobs
from PIL import features

from ae_sweep.analysis.byte_distortion import byte_distortion
from ae_sweep.data import image_codecs
from ae_sweep.data.image_codecs import JPEG, JXL, LOSSLESS, LOSSY, PNG_LOSSLESS, WEBP
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.data.image_codecs import CodedImages, ImageCodec

ARRANGEMENTS = (image_codecs.code_mosaic, image_codecs.code_singly)


def needed(codec: ImageCodec) -> ImageCodec:
    """Skip where an optional codec is not installed."""
    if codec.format == "JXL":
        pytest.importorskip("pillow_jxl")
    assert image_codecs.missing(codec) is None
    return codec


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def images(request: pytest.FixtureRequest) -> Any:
    """7 images, which leave a place of a mosaic empty, of another height than width."""
    return blobs(7, (request.param, 24, 28))


@pytest.mark.parametrize("code", ARRANGEMENTS)
@pytest.mark.parametrize("codec", LOSSY, ids=lambda codec: codec.name)
def test_a_higher_quality_takes_more_bits_for_less_error(
    codec: ImageCodec, code: Callable[..., CodedImages], images: Any
) -> None:
    needed(codec)
    poor, good = (code(images, codec, quality) for quality in (codec.qualities[1], 90))
    assert poor.decoded_NCHW.shape == good.decoded_NCHW.shape == images.shape
    assert poor.bits_per_image < good.bits_per_image
    poor_mse, good_mse = (byte_distortion(images, each.decoded_NCHW).mse for each in (poor, good))
    assert good_mse < poor_mse < 0.05
    again = code(images, codec, 90)
    assert again.file_bytes == good.file_bytes
    assert np.array_equal(again.decoded_NCHW, good.decoded_NCHW)


@pytest.mark.parametrize("code", ARRANGEMENTS)
@pytest.mark.parametrize("codec", LOSSLESS, ids=lambda codec: codec.name)
def test_a_lossless_codec_returns_every_byte(
    codec: ImageCodec, code: Callable[..., CodedImages], images: Any
) -> None:
    coded = code(images, needed(codec))
    assert np.array_equal(coded.decoded_NCHW, images)
    assert coded.bits_per_image == 8 * coded.file_bytes / 7


def test_a_mosaic_shares_what_single_files_repeat(images: Any) -> None:
    mosaic, singly = (code(images, PNG_LOSSLESS) for code in ARRANGEMENTS)
    assert mosaic.file_bytes < 0.9 * singly.file_bytes


@pytest.mark.parametrize(
    ("images", "side", "columns"),
    [((7, 1, 24, 28), 1000, 2), ((100, 1, 28, 28), 1000, 10), ((10, 1, 10, 10), 25, None),
     ((4, 1, 10, 10), 25, 2), ((3, 1, 24, 100), 100, 1), ((1, 3, 5, 5), 5, 1)],
)  # fmt: skip
def test_a_mosaic_is_about_square_and_within_the_codecs_limit(
    images: tuple[int, ...], side: int, columns: int | None
) -> None:
    codec = dataclasses.replace(WEBP, most_side=side)
    if columns is None:
        with pytest.raises(ConfigError, match=r"25 pixels a side of WebP; code at most 4"):
            image_codecs.mosaic_columns(images, codec)
    else:
        assert image_codecs.mosaic_columns(images, codec) == columns
        assert image_codecs.mosaic_images(images, codec) == images[0]


def test_a_mosaic_takes_as_many_images_as_the_limits_allow() -> None:
    codec = dataclasses.replace(WEBP, most_side=100, mosaic_pixels=2_000)
    assert image_codecs.mosaic_images((9, 1, 10, 20), codec) == 9
    assert image_codecs.mosaic_images((99, 1, 10, 20), codec) == 10
    assert image_codecs.mosaic_images((99, 1, 60, 20), dataclasses.replace(codec)) == 1
    many = dataclasses.replace(codec, mosaic_pixels=2**20)
    assert image_codecs.mosaic_images((99, 1, 60, 20), many) == 5


def test_the_rest_of_a_mosaic_has_the_images_usual_colour() -> None:
    x_NCHW = np.full((3, 3, 2, 2), 9, np.uint8)
    x_NCHW[1] = [[[1]], [[2]], [[3]]]
    picture_HWC = image_codecs.mosaic(x_NCHW, columns=2)
    assert picture_HWC.shape == (4, 4, 3)
    assert picture_HWC[0, 2].tolist() == [1, 2, 3]
    assert (picture_HWC[2:, 2:] == 9).all()


@pytest.mark.parametrize("code", ARRANGEMENTS)
def test_images_that_a_codec_cannot_hold_are_refused(code: Callable[..., CodedImages]) -> None:
    with pytest.raises(ConfigError, match=r"WebP takes pictures of up to 16,383 pixels a side"):
        code(np.zeros((1, 1, 1, 16_384), np.uint8), WEBP, 50)
    with pytest.raises(ConfigError, match="1 or 3 channels, and these have 2"):
        code(np.zeros((1, 2, 4, 4), np.uint8), WEBP, 50)
    with pytest.raises(ConfigError, match="at least one image"):
        code(np.zeros((0, 1, 4, 4), np.uint8), WEBP, 50)


def test_a_codec_that_fails_names_itself_and_the_picture() -> None:
    too_wide = np.zeros((1, 70_000, 1), np.uint8)
    with pytest.raises(DataError, match=r"JPEG did not code a picture of 1×70,000×1"):
        image_codecs.encode(too_wide, JPEG, 50)


def test_what_has_to_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "pillow_jxl" else find(name, *rest),
    )
    assert "pip install 'ae-sweep[jxl]'" in (image_codecs.missing(JXL) or "")
    monkeypatch.setattr(features, "check", lambda name: name != "webp")
    assert "WebP is not in this build of Pillow" in (image_codecs.missing(WEBP) or "")
    assert image_codecs.missing(JPEG) is None


@pytest.mark.parametrize("codec", [*LOSSY, *LOSSLESS], ids=lambda codec: codec.title)
def test_the_versions_of_a_codec_are_known(codec: ImageCodec) -> None:
    versions = image_codecs.versions(needed(codec))
    assert len(versions) >= 2
    assert all(versions.values())
