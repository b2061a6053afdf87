"""MNIST's references have the bits and the errors that were measured independently before."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ae_sweep import data
from ae_sweep.analysis.byte_distortion import byte_distortion
from ae_sweep.data import image_codecs
from ae_sweep.inspection.linear_references import LinearReferences
from ae_sweep.locations import cache_dir


@pytest.fixture(scope="module")
def mnist() -> data.ImageDataset:
    return data.load("mnist", cache_dir=cache_dir())


AVIF_FAST = dataclasses.replace(
    image_codecs.AVIF, options={**image_codecs.AVIF.options, "speed": 8}
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "quality", "bits", "psnr"),
    [
        (image_codecs.JPEG, 5, 333, 20.6),
        (image_codecs.JPEG, 10, 504, 22.9),
        (image_codecs.WEBP, 0, 266, 22.6),
        (image_codecs.WEBP, 10, 568, 29.5),
        (AVIF_FAST, 1, 218, 20.4),
        (AVIF_FAST, 30, 508, 28.3),
        (image_codecs.JXL, 5, 406, 19.8),
        (image_codecs.JXL, 20, 689, 29.0),
        (image_codecs.WEBP_LOSSLESS, None, 1157, None),
        (image_codecs.JXL_LOSSLESS, None, 1252, None),
        (image_codecs.PNG_LOSSLESS, None, 1292, None),
    ],
)
def test_mosaics_of_digits_have_the_known_bits(
    mnist: data.ImageDataset, codec: Any, quality: int | None, bits: float, psnr: float | None
) -> None:
    """The same libraries differ by rounding only; those of AVIF by up to 3 %, as the number of
    threads, which is fixed here, changes its tiles."""
    if codec.format == "JXL":
        pytest.importorskip("pillow_jxl")
    x_NCHW = mnist.test_NCHW[:2_500]
    coded = image_codecs.code_mosaic(x_NCHW, codec, quality)
    assert coded.bits_per_image == pytest.approx(bits, rel=0.03 if codec is AVIF_FAST else 0.01)
    found = byte_distortion(x_NCHW, coded.decoded_NCHW).psnr
    assert found == (None if psnr is None else pytest.approx(psnr, abs=0.1))


@pytest.mark.slow
def test_linear_references_of_digits_have_the_known_bits(mnist: data.ImageDataset) -> None:
    """Known of 60,000 training images, here 55,000; between points the curves are log-linear in
    bits, which is within 0.1 dB for steps of a factor 1.5."""
    linear = LinearReferences(mnist)
    assert linear.mean_image().points[0].mse == pytest.approx(0.0675, abs=1e-4)
    assert linear.components.total_variance == pytest.approx(52.73, rel=5e-3)
    bound = linear.gaussian().points
    for mse, bits, active in ((0.02, 52, 59), (0.01, 136, 124), (0.0063, 225, 192),
                              (0.00325, 401, 323), (0.001, 801, 458)):  # fmt: skip
        errors = np.log([point.mse for point in bound[::-1]])
        found = np.interp(np.log(mse), errors, [point.bits for point in bound[::-1]])
        assert found == pytest.approx(bits, rel=0.02)
        dims = np.interp(np.log(mse), errors, [point.latent_dim or 0 for point in bound[::-1]])
        assert dims == pytest.approx(active, rel=0.03)
    coded = linear.coded().points
    rates = np.log([point.bits for point in coded])
    for bits, psnr in ((40, 16.1), (89, 18.5), (128, 19.8), (180, 21.2), (251, 22.7),
                       (347, 24.3), (611, 28.1)):  # fmt: skip
        found = np.interp(np.log(bits), rates, [point.psnr or 0 for point in coded])
        assert found == pytest.approx(psnr, abs=0.2)
