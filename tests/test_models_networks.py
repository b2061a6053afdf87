"""The reference network is DESIGN's, and its weights depend on the seed alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from ae_sweep import models
from ae_sweep.errors import ConfigError
from ae_sweep.models.normalised import BatchNormReLU2d
from ae_sweep.training import training_bytes

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (3, 1, 2), (1, 8, 8), (3, 7, 9), (3, 33, 31), (1, 27, 28), (1, 5, 5000)],
    ids=str,
)
def test_no_size_of_image_is_refused(name: str, shape: models.ImageShape) -> None:
    model = models.build(name, latent_dim=3, image_shape=shape)
    x_BCHW = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    rebuilt = model.training_pass(x_BCHW, torch.Generator().manual_seed(0))
    assert rebuilt.y_BCHW.shape == x_BCHW.shape
    rebuilt.y_BCHW.sum().backward()
    with torch.inference_mode():
        assert model.eval()(x_BCHW).shape == x_BCHW.shape


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((1, 4, 4), [(32, 2, 2), (64, 1, 1), (128, 1, 1)]),
        ((3, 32, 32), [(32, 16, 16), (64, 8, 8), (128, 8, 8)]),
        ((3, 33, 33), [(32, 17, 17), (64, 9, 9), (128, 5, 5), (128, 5, 5)]),
        ((3, 64, 64), [(32, 32, 32), (64, 16, 16), (128, 8, 8), (128, 8, 8)]),
        ((1, 16, 256), [(32, 8, 128), (64, 4, 64), (128, 2, 32), (128, 2, 32)]),
        (
            (3, 128, 128),
            [(32, 64, 64), (64, 32, 32), (128, 16, 16), (128, 8, 8), (128, 8, 8)],
        ),
        (
            (1, 200, 256),
            [(32, 100, 128), (64, 50, 64), (128, 25, 32), (128, 13, 16), (128, 7, 8), (128, 7, 8)],
        ),
    ],
    ids=str,
)
def test_each_doubling_of_the_sides_adds_a_halving_and_the_decoder_mirrors_it(
    shape: models.ImageShape, features: list[tuple[int, int, int]]
) -> None:
    with torch.device("meta"):
        model = build(2, shape).eval()
    seen: dict[str, list[tuple[int, ...]]] = {"encoder": [], "decoder": []}
    for name, part in (("encoder", model.encoder), ("decoder", model.decoder)):
        for layer in part:
            if isinstance(layer, BatchNormReLU2d):
                layer.register_forward_hook(
                    lambda _layer, _inputs, y, name=name: seen[name].append(tuple(y.shape[1:]))
                )
    with torch.no_grad():
        model(torch.empty((1, *shape), device="meta"))
    assert seen["encoder"] == features
    sizes = [shape[1:], *(each[1:] for each in features)]
    assert [each[1:] for each in seen["decoder"]] == sizes[-3::-1]
    assert [each[0] for each in seen["decoder"]] == [each[0] for each in features[-2::-1]]


def test_the_decoder_of_an_odd_size_is_that_of_the_even_one_above_cropped() -> None:
    even, odd = build(3, (1, 8, 8)).eval(), build(3, (1, 7, 7)).eval()
    odd.load_state_dict(even.state_dict())
    z_BD = torch.rand((2, 3), generator=torch.Generator().manual_seed(0))
    before = {}
    for name, model in (("even", even), ("odd", odd)):
        with torch.inference_mode():
            before[name] = model.decoder[:-2](z_BD)  # the last convolution sees the border
    torch.testing.assert_close(before["odd"], before["even"][..., :7, :7])


def test_a_size_between_even_ones_learns_its_border_too() -> None:
    model = build(8, (1, 9, 7))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x_BCHW = torch.rand((6, 1, 9, 7), generator=torch.Generator().manual_seed(0))
    for _ in range(80):
        optimiser.zero_grad()
        error_BCHW = (model(x_BCHW) - x_BCHW).square()
        error_BCHW.mean().backward()
        optimiser.step()
    assert error_BCHW[..., -1, :].mean() < 0.03
    assert error_BCHW[..., :, -1].mean() < 0.03


def test_a_model_of_an_odd_size_comes_back_from_its_file_and_can_be_nested(tmp_path: Path) -> None:
    shape = (3, 37, 30)
    model = build(2, shape).eval()
    file = tmp_path / "model.safetensors"
    file.write_bytes(models.to_bytes(model, name="conv"))
    assert equal(models.load(file), model)
    models.check_nested("conv", dims=(2, 4), image_shape=shape)
    nested = models.NestedAutoencoder("conv", dims=(2, 4), image_shape=shape)
    assert nested(torch.rand(2, *shape), 2).shape == (2, *shape)


def test_large_images_run_through_a_network_a_few_at_a_time() -> None:
    sizes = {side: build(2, (1, side, side)).inference_batch for side in (1, 28, 32, 64, 128)}
    assert sizes == {1: 500, 28: 500, 32: 500, 64: 125, 128: 31}
    with torch.device("meta"):
        assert build(2, (3, 1000, 1000)).inference_batch == 1


@pytest.mark.parametrize("shape", [(0, 28, 28), (1, 0, 28), (1, 28, -4)])
@pytest.mark.parametrize("name", models.names())
def test_an_image_without_a_pixel_is_refused(name: str, shape: models.ImageShape) -> None:
    with pytest.raises(ConfigError, match="at least one channel and one pixel, got"):
        models.build(name, latent_dim=2, image_shape=shape)


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
        match=r"there is no model 'cnov', only conv, mlp, vae, vqvae, fsq, ntc; "
        r"did you mean 'conv'\?",
    ):
        models.check_name("cnov")
