"""Pictures of any shape become one size: covered, padded or stretched, and antialiased."""

from __future__ import annotations

import numpy as np
import pytest
from picture_files import noise

from ae_sweep.config import ImageOptions
from ae_sweep.data.decode import convert_array

HALVES = np.zeros((40, 80, 3), np.uint8)
HALVES[:, 40:] = 200


def _fitted(pixels_HWC: np.ndarray, height: int, width: int, **settings: str) -> np.ndarray:
    options = ImageOptions(image_size=(height, width), **settings)
    picture = convert_array(pixels_HWC, options)
    assert picture.native_size == pixels_HWC.shape[:2]
    assert picture.pixels_HWC.shape == (height, width, 3)
    assert picture.pixels_HWC.dtype == np.uint8
    return picture.pixels_HWC


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_picture_of_the_size_asked_for_is_untouched(fit: str) -> None:
    pixels_HWC = noise(12, 20, 3)
    np.testing.assert_array_equal(_fitted(pixels_HWC, 12, 20, fit=fit), pixels_HWC)


def test_without_a_size_nothing_is_resized() -> None:
    pixels_HWC = noise(12, 20, 3)
    picture = convert_array(pixels_HWC, ImageOptions())
    np.testing.assert_array_equal(picture.pixels_HWC, pixels_HWC)


def test_crop_keeps_the_centre_and_the_proportions() -> None:
    pixels_HWC = np.zeros((20, 60, 3), np.uint8)
    pixels_HWC[:, :20] = (255, 0, 0)
    pixels_HWC[:, 20:40] = (0, 255, 0)
    pixels_HWC[:, 40:] = (0, 0, 255)
    # The central square is green from edge to edge, but for the filter's overshoot.
    for shape in (pixels_HWC, pixels_HWC.transpose(1, 0, 2)):
        found = _fitted(np.ascontiguousarray(shape), 10, 10)
        assert found[..., 1].min() > 230
        assert found[..., ::2].max() < 25


@pytest.mark.parametrize(("background", "colour"), [(None, (0, 0, 0)), ("#ff8000", (255, 128, 0))])
def test_pad_keeps_everything_on_the_background(background: str, colour: tuple[int, ...]) -> None:
    pixels_HWC = np.full((20, 60, 3), 77, np.uint8)
    settings = {"background": background} if background else {}
    found = _fitted(pixels_HWC, 30, 30, fit="pad", **settings)
    np.testing.assert_array_equal(found[10:20], 77)
    np.testing.assert_array_equal(found[:10], np.broadcast_to(colour, (10, 30, 3)))
    np.testing.assert_array_equal(found[20:], np.broadcast_to(colour, (10, 30, 3)))


def test_stretch_changes_the_proportions() -> None:
    found = _fitted(HALVES, 16, 16, fit="stretch")
    assert found[:, :6].max() < 10
    assert found[:, 10:].min() > 190


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_lines_thinner_than_a_pixel_become_their_mean(fit: str) -> None:
    pixels_HWC = np.zeros((256, 256, 3), np.uint8)
    pixels_HWC[:, ::2] = 255
    found = _fitted(pixels_HWC, 32, 32, fit=fit)
    assert np.abs(found[:, 2:-2].astype(int) - 127.5).max() <= 2


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (5, 5000), (3, 2)])
def test_pictures_of_any_proportions_fit(fit: str, shape: tuple[int, int]) -> None:
    assert _fitted(np.full((*shape, 3), 90, np.uint8), 32, 24, fit=fit).max() == 90


def test_the_colour_hidden_under_transparent_pixels_does_not_bleed() -> None:
    pixels_HWC = np.zeros((64, 64, 4), np.uint8)
    pixels_HWC[..., 0] = 255
    pixels_HWC[:, :32] = (255, 255, 255, 255)
    picture = convert_array(pixels_HWC, ImageOptions(image_size=(7, 7), background="white"))
    np.testing.assert_array_equal(picture.pixels_HWC, 255)
    assert picture.grey
    assert picture.transparent


def test_grey_is_judged_on_the_final_pixels() -> None:
    pixels_HWC = np.full((30, 90, 3), 50, np.uint8)
    pixels_HWC[:, 0] = (255, 0, 0)
    assert not convert_array(pixels_HWC, ImageOptions()).grey
    assert convert_array(pixels_HWC, ImageOptions(image_size=(8, 8))).grey
