"""The spectrum of images: exact on images of few dimensions, bounded on large ones."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ae_sweep.analysis import Spectrum, spectrum


def _images(count: int, rank: int, seed: int) -> np.ndarray:
    """Images of so few directions that a byte's rounding is all else."""
    basis = np.random.default_rng(0).uniform(-1, 1, (rank, 3 * 8 * 8))
    weights = np.random.default_rng(seed).uniform(-1, 1, (count, rank))
    x_NP = 128 + 120 / rank * weights @ basis
    return np.rint(x_NP).astype(np.uint8).reshape(count, 3, 8, 8)


def test_as_many_components_as_directions_hold_nearly_all() -> None:
    found = spectrum(_images(400, 4, seed=1), _images(100, 4, seed=2))
    assert found.components == (1, 2, 4, 8, 16, 32, 64)
    assert found.variance[2] > 0.999
    assert found.variance[1] < 0.9
    assert found.test_mse[2] < 2 / 255**2
    assert list(found.variance) == sorted(found.variance)
    assert list(found.test_mse) == sorted(found.test_mse, reverse=True)


def test_the_mean_image_is_the_reconstruction_without_components() -> None:
    train, test = _images(400, 4, seed=1), _images(100, 4, seed=2)
    expected = (((test / 255) - (train / 255).mean(axis=0)) ** 2).mean()
    assert spectrum(train, test).mean_mse == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("images", [1, 3, 30])
def test_few_images_have_few_components(images: int) -> None:
    found = spectrum(_images(images, 4, seed=1), _images(5, 4, seed=2))
    assert max(found.components, default=0) <= images / 4


def test_equal_images_have_no_components() -> None:
    found = spectrum(np.full((50, 1, 4, 4), 7, np.uint8), np.full((5, 1, 4, 4), 7, np.uint8))
    assert found.components == ()
    assert found.mean_mse == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_only_a_sample_is_read() -> None:
    train = np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), (10**9, 1, 200, 200))
    found = spectrum(train, train)
    assert found.images == 750


def test_a_spectrum_survives_json_and_nothing_else_becomes_one() -> None:
    found = spectrum(_images(400, 4, seed=1), _images(100, 4, seed=2))
    document = json.loads(json.dumps(dataclasses.asdict(found)))
    assert Spectrum.from_document(document) == found
    for wrong in (None, {}, document | {"images": "x"}, document | {"more": 1}):
        assert Spectrum.from_document(wrong) is None
