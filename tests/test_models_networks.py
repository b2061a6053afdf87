"""The reference network is DESIGN's, and its weights depend on the seed alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ae_sweep import models
from ae_sweep.errors import ConfigError
from ae_sweep.training import training_bytes

if TYPE_CHECKING:
    from torch import nn

MNIST = (1, 28, 28)
COUNTS = {
    2: (105_666, 111_553),
    8: (143_304, 149_185),
    32: (293_856, 299_713),
    128: (896_064, 901_825),
    1024: (6_516_672, 6_521_537),
}


def build(latent_dim: int = 4, shape: models.ImageShape = MNIST, seed: int = 0):
    return models.build("conv", latent_dim=latent_dim, image_shape=shape, seed=seed)


def count(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def equal(one: nn.Module, other: nn.Module) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    return all(torch.equal(weights[key], others[key]) for key in weights)


@pytest.mark.parametrize(("latent_dim", "counts"), COUNTS.items())
def test_encoder_and_decoder_have_the_parameters_of_the_design(
    latent_dim: int, counts: tuple[int, int]
) -> None:
    model = build(latent_dim)
    assert (count(model.encoder), count(model.decoder)) == counts
    assert models.parameter_count("conv", latent_dim=latent_dim, image_shape=MNIST) == sum(counts)


def test_a_count_of_a_billion_dims_allocates_nothing() -> None:
    parameters = models.parameter_count("conv", latent_dim=10**9, image_shape=MNIST)
    assert parameters > 12_000 * 10**9
    assert training_bytes("conv", latent_dim=10**9, image_shape=MNIST) == 16 * parameters


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 4, 8), (2, 12, 4)])
def test_an_image_becomes_latents_and_an_image_of_its_shape_within_0_and_1(
    shape: models.ImageShape,
) -> None:
    model = build(5, shape).eval()
    x_BCHW = torch.rand((3, *shape), generator=torch.Generator().manual_seed(0))
    z_BD = model.encode(x_BCHW)
    y_BCHW = model.decode(z_BD)
    assert z_BD.shape == (3, 5)
    assert y_BCHW.shape == x_BCHW.shape
    assert (y_BCHW >= 0).all()
    assert (y_BCHW <= 1).all()
    assert torch.equal(model(x_BCHW), y_BCHW)
    assert (model.latent_dim, model.image_shape) == (5, shape)


def test_the_encoder_narrows_step_by_step_as_the_design_tells() -> None:
    model = build(2)
    shapes = {"encoder": set(), "decoder": set()}
    for name, part in (("encoder", model.encoder), ("decoder", model.decoder)):
        for layer in part:
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: shapes[name].add(tuple(output.shape[1:]))
            )
    model(torch.rand((2, *MNIST), generator=torch.Generator().manual_seed(0)))
    assert shapes["encoder"] == {(32, 14, 14), (64, 7, 7), (128, 7, 7), (6272,), (2,)}
    assert shapes["decoder"] == {(6272,), (128, 7, 7), (64, 14, 14), (32, 28, 28), (1, 28, 28)}


@pytest.mark.parametrize(("height", "width"), [(27, 28), (28, 30), (2, 2), (29, 29)])
def test_images_that_cannot_be_halved_twice_are_refused(height: int, width: int) -> None:
    with pytest.raises(ConfigError, match=rf"{height}x{width} is not divisible by 4; pad or crop"):
        build(2, (1, height, width))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = build(seed=7)
    torch.manual_seed(2)
    again = build(seed=7)
    assert equal(one, again)
    assert not equal(one, build(seed=8))


def test_building_and_counting_leave_the_callers_random_state_alone() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    build(seed=7)
    models.parameter_count("conv", latent_dim=2, image_shape=MNIST)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_building_leaves_the_gpus_random_state_alone() -> None:
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    build(seed=7)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_building_seeds_no_other_devices_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    build(seed=7)
    assert seeded == []


def test_there_is_a_reference_model() -> None:
    assert "conv" in models.names()


@pytest.mark.parametrize("name", ["cnov", "", "[bold]", "x" * 5_000, "\n"])
def test_an_unknown_model_is_told_with_those_there_are(name: str) -> None:
    for make in (models.build, models.parameter_count):
        with pytest.raises(ConfigError, match=r"there is no model .*, only conv") as told:
            make(name, latent_dim=2, image_shape=MNIST)
        assert str(told.value).isprintable()
        assert len(str(told.value)) < 200


def test_a_name_is_checked_without_building_anything() -> None:
    models.check_name("conv")
    with pytest.raises(
        ConfigError,
        match=r"there is no model 'cnov', only conv, mlp, vae, vqvae, fsq; did you mean 'conv'\?",
    ):
        models.check_name("cnov")
