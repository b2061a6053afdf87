"""Distortion of images in bytes is exact."""

from __future__ import annotations

import numpy as np
import pytest

from ae_sweep.analysis.byte_distortion import byte_distortion, byte_errors


def test_the_error_of_bytes_is_that_of_their_pixels() -> None:
    numbers = np.random.default_rng(0)
    x_NCHW, y_NCHW = numbers.integers(0, 256, (2, 7, 3, 5, 4), np.uint8)
    found = byte_distortion(x_NCHW, y_NCHW)
    errors_N = np.square(x_NCHW / 255 - y_NCHW / 255).mean((1, 2, 3))
    assert found.mse == pytest.approx(errors_N.mean(), rel=1e-12)
    assert found.psnr == pytest.approx(-10 * np.log10(errors_N.mean()))
    assert found.mean_image_psnr == pytest.approx((-10 * np.log10(errors_N)).mean())
    assert found.mean_image_psnr > found.psnr


def test_errors_of_images_are_the_same_in_batches_of_any_size() -> None:
    numbers = np.random.default_rng(1)
    x_NCHW, y_NCHW = numbers.integers(0, 256, (2, 7, 3, 5, 4), np.uint8)
    errors_N = byte_errors(x_NCHW, [y_NCHW[:3], y_NCHW[3:]])
    np.testing.assert_array_equal(errors_N, byte_errors(x_NCHW, [y_NCHW]))
    assert errors_N.mean() == pytest.approx(byte_distortion(x_NCHW, y_NCHW).mse, rel=1e-14)


def test_a_perfect_image_has_no_psnr() -> None:
    x_NCHW = np.zeros((2, 1, 2, 2), np.uint8)
    assert byte_distortion(x_NCHW, x_NCHW).psnr is None
    other_NCHW = x_NCHW.copy()
    other_NCHW[0] = 255
    found = byte_distortion(x_NCHW, other_NCHW)
    assert (found.mse, found.mean_image_psnr) == (0.5, None)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((2, 1, 2, 3), np.uint8), ((2, 1, 2, 2), np.float32), ((0, 1, 2, 2), np.uint8)],
)
def test_what_is_not_bytes_of_one_shape_is_refused(shape: tuple[int, ...], kind: type) -> None:
    originals = np.zeros((0 if shape[0] == 0 else 2, 1, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"reconstructions|not bytes"):
        byte_distortion(originals, np.zeros(shape, kind))
