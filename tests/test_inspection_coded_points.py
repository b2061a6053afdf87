"""Operating points as they are measured: images with the same symbols, several at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ae_sweep import analysis, models
from ae_sweep.codec import fit
from ae_sweep.inspection.coded_points import Coded, measured_points

if TYPE_CHECKING:
    from ae_sweep.codec.artifact import Codec

    Array = np.ndarray[Any, Any]

pytestmark = pytest.mark.slow
SHAPE = (1, 8, 8)


@pytest.fixture
def model() -> models.TrainedAutoencoder:
    network = models.build("conv", latent_dim=3, image_shape=SHAPE, seed=3)
    return models.TrainedAutoencoder(network.eval())


@pytest.fixture
def pictures() -> Array:
    return np.random.default_rng(1).integers(0, 256, (400, *SHAPE), dtype=np.uint8)


def coded(model: models.TrainedAutoencoder, x_NCHW: Array) -> Coded:
    return Coded(images_NCHW=x_NCHW, latents_ND=model.codes(x_NCHW))


def codec_of(model: models.TrainedAutoencoder, x_NCHW: Array, threads: int = 1) -> Codec:
    return fit.fit_codec(
        model.codes(x_NCHW),
        np.eye(3),
        squared_error=0.01,
        model_sha256="0" * 64,
        image_shape=SHAPE,
        clusters=(2,),
        threads=threads,
    )


def test_errors_are_those_of_every_image_decoded_for_itself(
    model: models.TrainedAutoencoder, pictures: Array
) -> None:
    codec = codec_of(model, pictures)
    test, val = coded(model, pictures[:330]), coded(model, pictures[330:])
    steps = list(measured_points(model, codec, test=test, val=val))
    assert [point.index for step in steps for point in step] == list(range(len(codec.points)))
    assert all(len(step) == 2 for step in steps), "factorised, and with clusters"
    counts = []
    for point in (step[0] for step in steps):
        symbols_NK = codec.quantise(test.latents_ND, point.index)
        counts.append(len(np.unique(symbols_NK, axis=0)))
        each_NCHW = np.concatenate(
            list(model.decode_to_bytes(codec.dequantise(symbols_NK, point.index)))
        )
        expected = analysis.byte_errors(test.images_NCHW, [each_NCHW]).mean()
        assert point.mse == pytest.approx(expected, rel=1e-12)
    assert counts[0] < 100 < counts[-1], "in one batch, and in several"


@pytest.mark.usefixtures("two_threads")
def test_two_threads_measure_what_one_does(
    model: models.TrainedAutoencoder, pictures: Array
) -> None:
    test, val = coded(model, pictures[:330]), coded(model, pictures[330:])
    codec = codec_of(model, pictures, threads=2)
    together = [
        point for step in measured_points(model, codec, test=test, val=val) for point in step
    ]
    torch.set_num_threads(1)
    codec = codec_of(model, pictures)
    alone = [point for step in measured_points(model, codec, test=test, val=val) for point in step]
    assert [point.setting for point in together] == [point.setting for point in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.bits == pytest.approx(other.bits, abs=0.2)
        assert one.mse == pytest.approx(other.mse, abs=1e-6)
