"""A nested autoencoder, cut at one of its widths, is the ordinary autoencoder of that width."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ae_sweep import models
from ae_sweep.errors import ConfigError
from ae_sweep.models import registry
from ae_sweep.models.nested import NestedAutoencoder

DIMS = (1, 3, 8)
SHAPE = (1, 8, 8)


@pytest.fixture
def nested() -> NestedAutoencoder:
    network = NestedAutoencoder("conv", dims=DIMS, image_shape=SHAPE, seed=3)
    network.train()
    for dim in DIMS:  # so that the widths' running statistics differ
        network(torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(dim)), dim)
    return network.eval()


def images() -> torch.Tensor:
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("dim", DIMS)
def test_cut_at_a_width_it_rebuilds_the_same(nested, dim: int) -> None:
    model = nested.cut(dim).eval()
    assert model.latent_dim == dim
    with torch.inference_mode():
        assert torch.equal(model(images()), nested(images(), dim))


@pytest.mark.parametrize("dim", DIMS)
def test_what_is_cut_is_stored_as_any_model_is(nested, dim: int, tmp_path) -> None:
    model = nested.cut(dim)
    path = tmp_path / "model.safetensors"
    path.write_bytes(models.to_bytes(model, name="conv"))
    with torch.inference_mode():
        assert torch.equal(models.load(path)(images()), model.eval()(images()))


def test_a_cut_is_a_copy(nested) -> None:
    before = nested(images(), 3)
    for parameter in nested.cut(3).parameters():
        parameter.data.zero_()
    assert torch.equal(nested(images(), 3), before)


def test_at_its_full_width_it_begins_as_the_ordinary_autoencoder_does() -> None:
    network = NestedAutoencoder("conv", dims=DIMS, image_shape=SHAPE, seed=3).eval()
    ordinary = models.build("conv", latent_dim=8, image_shape=SHAPE, seed=3).eval()
    with torch.inference_mode():
        assert torch.equal(network(images(), 8), ordinary(images()))


def test_a_step_of_a_width_leaves_the_latents_beyond_it_alone(nested) -> None:
    nested.train()
    nested(images(), 3).sum().backward()
    assert [block.grad is None for block in nested.into_DF] == [False, False, True]
    assert [block.grad is None for block in nested.out_of_FD] == [False, False, True]
    assert [next(tail[2].parameters()).grad is None for tail in nested.tails] == [True, False, True]


def test_the_widths_share_their_convolutions(nested) -> None:
    shared = {id(tail[1].weight) for tail in nested.tails}
    assert len(shared) == 1
    own = {id(tail[2].weight) for tail in nested.tails}
    assert len(own) == len(DIMS)


def test_a_width_that_it_has_not_is_refused(nested) -> None:
    with pytest.raises(ValueError, match="not in"):
        nested(images(), 2)


def test_a_model_without_linear_layers_at_its_bottleneck_cannot_be_nested(monkeypatch) -> None:
    def odd(*, latent_dim: int, image_shape: models.ImageShape) -> models.Autoencoder:
        return models.Autoencoder(
            encoder=nn.Identity(),
            decoder=nn.Identity(),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )

    monkeypatch.setattr(registry, "MODELS", {"odd": odd})
    with pytest.raises(ConfigError, match="'odd' cannot be trained nested"):
        NestedAutoencoder("odd", dims=DIMS, image_shape=SHAPE)
