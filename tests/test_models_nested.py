"""A nested autoencoder, cut at one of its widths, is the ordinary autoencoder of that width."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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


FEATURES = 12
Layers = Callable[[int], list[nn.Module]]


def register(
    monkeypatch: pytest.MonkeyPatch,
    *,
    trunk: Layers = lambda _dim: [],
    tail: Layers = lambda _dim: [],
    features: Callable[[int], int] = lambda _dim: FEATURES,
    bias: bool = True,
) -> None:
    """Make a model whose layers may depend on the latent dim the only one of the registry."""

    def build(*, latent_dim: int, image_shape: models.ImageShape) -> models.Autoencoder:
        pixels = math.prod(image_shape)
        width = features(latent_dim)
        return models.Autoencoder(
            encoder=nn.Sequential(
                nn.Flatten(),
                nn.Linear(pixels, width),
                *trunk(latent_dim),
                nn.Linear(width, latent_dim, bias=bias),
            ),
            decoder=nn.Sequential(
                nn.Linear(latent_dim, width, bias=bias),
                *tail(latent_dim),
                nn.Linear(width, pixels),
                nn.Unflatten(1, image_shape),
            ),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )

    monkeypatch.setattr(registry, "MODELS", {"mine": build})


class Scaled(nn.Module):
    """Multiplies by a number that no parameter shows."""

    def __init__(self, factor: float, *, buffers: int = 0) -> None:
        super().__init__()
        self.factor = factor
        for number in range(buffers):
            self.register_buffer(f"b{number}", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Block(nn.Module):
    """A residual block with a norm inside."""

    def __init__(self, norm: nn.Module, features: int = FEATURES) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"body": nn.Sequential(nn.Linear(features, features), norm)})
        self.same = self.inner["body"]  # one layer under two names

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.inner["body"](x)
        return y


DEPENDENT: dict[str, dict[str, Any]] = {
    "a trunk of another width": {"features": lambda dim: 10 + dim},
    "a deeper trunk": {"trunk": lambda dim: [nn.ReLU()] * (dim > 2)},
    "a deeper tail": {"tail": lambda dim: [nn.Tanh()] * (dim > 2)},
    "a wider layer in the tail": {
        "tail": lambda dim: [nn.Linear(FEATURES, dim), nn.Linear(dim, FEATURES)]
    },
    "another activation": {"tail": lambda dim: [nn.ReLU() if dim > 2 else nn.Tanh()]},
    "another slope": {"tail": lambda dim: [nn.LeakyReLU(1 / dim)]},
    "another dropout": {"trunk": lambda dim: [nn.Dropout(1 / (1 + dim))]},
    "groups of another size": {"tail": lambda dim: [nn.GroupNorm(2 if dim > 2 else 3, FEATURES)]},
    "a factor inside a layer": {"tail": lambda dim: [nn.Sequential(Scaled(dim**-0.5))]},
    "more buffers": {"trunk": lambda dim: [Scaled(1.0, buffers=int(dim > 2))]},
    "a frozen layer": {"tail": lambda dim: [nn.Linear(FEATURES, FEATURES).requires_grad_(dim > 2)]},
    "an odd one among the dims": {"tail": lambda dim: [Scaled(0.5 if dim == 3 else 1.0)]},
}


@pytest.mark.parametrize("layers", DEPENDENT.values(), ids=DEPENDENT)
def test_a_model_is_refused_whose_other_layers_depend_on_the_latent_dim(
    monkeypatch: pytest.MonkeyPatch, layers: dict[str, Any]
) -> None:
    register(monkeypatch, **layers)
    with pytest.raises(
        ConfigError, match=r"'mine' cannot be trained nested: its layer .* depends .*--method"
    ):
        models.check_nested("mine", dims=DIMS, image_shape=SHAPE)


def test_the_refusal_names_the_layer_and_the_dims(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, **DEPENDENT["an odd one among the dims"])
    with pytest.raises(ConfigError, match=r"decoder\.1 depends .* \(1 and 3 differ\)"):
        models.check_nested("mine", dims=DIMS, image_shape=SHAPE)


@pytest.mark.parametrize("name", [n for n in models.names() if n != "conv"])
def test_of_the_models_of_this_package_only_the_reference_can_be_nested(name: str) -> None:
    models.check_nested("conv", dims=DIMS, image_shape=SHAPE)
    with pytest.raises(ConfigError, match=f"'{name}' cannot be trained nested"):
        models.check_nested(name, dims=DIMS, image_shape=SHAPE)


def test_a_bottleneck_without_biases_or_of_another_kind_of_layer_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch, bias=False)
    with pytest.raises(ConfigError, match="two linear layers with biases"):
        models.check_nested("mine", dims=DIMS, image_shape=SHAPE)

    def empty(*, latent_dim: int, image_shape: models.ImageShape) -> models.Autoencoder:
        return models.Autoencoder(
            encoder=nn.Sequential(),
            decoder=nn.Sequential(),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )

    monkeypatch.setattr(registry, "MODELS", {"mine": empty})
    with pytest.raises(ConfigError, match="two linear layers with biases"):
        models.check_nested("mine", dims=DIMS, image_shape=SHAPE)


def images_of(shape: tuple[int, ...]) -> Layers:
    """Layers that normalise features as images of a shape."""
    norms = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    return lambda _dim: [nn.Unflatten(1, shape), norms[len(shape) - 1](shape[0]), nn.Flatten()]


NORMS: dict[str, Layers] = {
    "BatchNorm1d": lambda _dim: [nn.BatchNorm1d(FEATURES)],
    "BatchNorm1d of sequences": images_of((3, 4)),
    "BatchNorm2d": images_of((3, 2, 2)),
    "BatchNorm3d": images_of((3, 2, 2, 1)),
    "GroupNorm": lambda _dim: [nn.GroupNorm(3, FEATURES)],
    "LayerNorm": lambda _dim: [nn.LayerNorm(FEATURES)],
    "RMSNorm": lambda _dim: [nn.RMSNorm(FEATURES)],
    "InstanceNorm": lambda _dim: [
        nn.Unflatten(1, (3, 4)),
        nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
        nn.Flatten(),
    ],
    "in a block": lambda _dim: [Block(nn.BatchNorm1d(FEATURES))],
    "in a block in a block": lambda _dim: [nn.Sequential(Block(nn.LayerNorm(FEATURES)))],
}


@pytest.mark.parametrize("layers", NORMS.values(), ids=NORMS)
def test_each_width_has_statistics_and_weights_of_its_own_in_norms_of_any_kind_and_depth(
    monkeypatch: pytest.MonkeyPatch, layers: Layers
) -> None:
    register(monkeypatch, tail=layers)
    models.check_nested("mine", dims=DIMS, image_shape=SHAPE)
    network = NestedAutoencoder("mine", dims=DIMS, image_shape=SHAPE, seed=3)
    is_norm = [
        (name, module)
        for name, module in network.tails[0].named_modules()
        if type(module).__name__.endswith(("Norm", "Norm1d", "Norm2d", "Norm3d"))
    ]
    assert len(is_norm) == 1
    inside = f"{is_norm[0][0]}."
    states = [dict([*tail.named_parameters(), *tail.named_buffers()]) for tail in network.tails]
    own = {name for name in states[0] if name.startswith(inside)}
    assert own
    for name in states[0]:
        tensors = {id(state[name]) for state in states}
        assert len(tensors) == (len(DIMS) if name in own else 1), name
    # A step of one width moves the others by the weights that they share alone.
    before = [{name: each.clone() for name, each in state.items()} for state in states]
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    network(images(), 3).square().mean().backward()
    optimiser.step()
    for width, state in enumerate(states):
        moved = {name for name in own if not torch.equal(state[name], before[width][name])}
        assert bool(moved) is (DIMS[width] == 3), (width, moved)


@pytest.mark.parametrize("layers", NORMS.values(), ids=NORMS)
def test_a_cut_with_any_norm_rebuilds_what_the_network_does(
    monkeypatch: pytest.MonkeyPatch, layers: Layers
) -> None:
    register(monkeypatch, tail=layers)
    network = NestedAutoencoder("mine", dims=DIMS, image_shape=SHAPE, seed=3).train()
    for dim in DIMS:
        network(torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(dim)), dim)
    network.eval()
    with torch.inference_mode():
        for dim in DIMS:
            torch.testing.assert_close(network.cut(dim).eval()(images()), network(images(), dim))
