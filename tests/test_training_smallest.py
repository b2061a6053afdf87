"""The smallest data set either trains a model to its end or is refused with the least number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
from fakes import tiny_images, trial_config
from torch import nn

from ae_sweep import models, training
from ae_sweep.errors import ConfigError
from ae_sweep.models import registry

if TYPE_CHECKING:
    from collections.abc import Callable

SIDES = (4, 8, 28)


def check(model: str, *, side: int, batch: int = 128, train: int) -> None:
    training.check_batch(
        model, latent_dim=2, image_shape=(1, side, side), batch_size=batch, train_images=train
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("train", [1, 2, 3])
@pytest.mark.parametrize("model", models.names())
def test_every_model_trains_on_a_few_images_or_names_how_many_it_needs(
    model: str, train: int, side: int
) -> None:
    refusal = refused(model, train=train, side=side)
    if refusal:
        least = re.search(r"--train-limit (\d+) or more$", refusal)
        assert least is not None, refusal
        assert int(least[1]) > train
        assert "Expected more than 1" in why_it_fails(model, train=train, side=side)
        train = int(least[1])
        check(model, side=side, train=train)
    assert why_it_fails(model, train=train, side=side) == ""


def refused(model: str, *, train: int, side: int) -> str:
    try:
        check(model, side=side, train=train)
    except ConfigError as refusal:
        return str(refusal)
    return ""


def why_it_fails(model: str, *, train: int, side: int) -> str:
    images = tiny_images(train=train, val=2, test=2, side=side)
    try:
        for _ in training.train(trial_config(epochs=1, model=model), images):
            pass
    except ValueError as error:
        return str(error)
    return ""


def test_one_image_is_too_few_for_the_fully_connected_model_and_enough_for_the_reference() -> None:
    check("conv", side=28, train=1)
    with pytest.raises(ConfigError, match="1 image of 1 x 28 x 28; give --train-limit 2 or"):
        check("mlp", side=28, train=1)
    with pytest.raises(ConfigError, match="give --batch-size 2 or more"):
        check("mlp", side=28, batch=1, train=256)
    check("mlp", side=28, train=2)


def test_the_callers_random_state_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    check("vqvae", side=8, train=2)
    assert torch.equal(torch.get_rng_state(), before)


def with_layer(monkeypatch: pytest.MonkeyPatch, layer: Callable[[], nn.Module]) -> None:
    def build(*, latent_dim: int, image_shape: models.ImageShape) -> models.Autoencoder:
        return models.Autoencoder(
            encoder=layer(), decoder=nn.Identity(), latent_dim=latent_dim, image_shape=image_shape
        )

    monkeypatch.setattr(registry, "MODELS", {"mine": build})


def test_a_model_that_no_batch_suits_is_refused_without_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_layer(monkeypatch, lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.InstanceNorm2d(1)))
    with pytest.raises(ConfigError, match="use another --model or larger images"):
        check("mine", side=8, train=1)


def test_a_bug_in_a_model_is_not_taken_for_a_batch_that_is_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(nn.Module):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            raise ValueError("not enough values to unpack")

    with_layer(monkeypatch, Broken)
    with pytest.raises(ValueError, match="to unpack"):
        check("mine", side=8, train=1)
