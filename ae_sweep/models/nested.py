"""A network that is an autoencoder of several widths at once, each by its first d latents alone.

Nested dropout (Rippel et al. 2014, arXiv:1402.0915) in the form of slimmable networks (Yu et al.
2019, arXiv:1812.08928): the widths share every weight, and behind the bottleneck each has
normalisation layers of its own.

Shapes: B batch, C channels, H height, W width of an image, F features, D latents.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ae_sweep.errors import ConfigError
from ae_sweep.models import registry
from ae_sweep.models.autoencoder import Autoencoder
from ae_sweep.models.factored import FactoredLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.models.autoencoder import ImageShape


NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - BatchNorm and InstanceNorm, all of them
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


class NestedAutoencoder(nn.Module):
    """Autoencoders of several widths that share their weights.

    Parameters
    ----------
    name
        A model of the registry whose encoder ends and whose decoder begins with a linear layer.
    dims
        The widths, ascending and distinct.
    image_shape
        Channels, height, width.
    seed
        Seed of the initial weights.

    Raises
    ------
    ConfigError
        If there is no such model, or its bottleneck is not two linear layers.
    """

    def __init__(
        self, name: str, *, dims: Sequence[int], image_shape: ImageShape, seed: int = 0
    ) -> None:
        super().__init__()
        whole = registry.build(name, latent_dim=dims[-1], image_shape=image_shape, seed=seed)
        parts = _parts(whole, name=name)
        self.name = name
        self.dims = tuple(dims)
        self.image_shape = image_shape
        self.trunk = parts.trunk
        # One parameter for the latents between two widths: a step at one width leaves those beyond
        # it.
        sizes = [high - low for low, high in zip((0, *dims), dims, strict=False)]
        self.into_DF = _blocks(parts.into.weight, sizes, axis=0)
        self.into_bias_D = _blocks(parts.into.bias, sizes, axis=0)
        self.out_of_FD = _blocks(parts.out_of.weight, sizes, axis=1)
        self.out_of_bias_F = nn.ParameterList(parts.out_of.bias.detach().clone() for _ in dims)
        self.tails = nn.ModuleList(_with_own_norms(parts.tail) for _ in dims)

    def forward(self, x_BCHW: Tensor, latent_dim: int) -> Tensor:
        """Rebuild images from their first ``latent_dim`` latents; it must be one of the widths."""
        index = self.dims.index(latent_dim)
        features_BF = self.trunk(x_BCHW)
        z_BD = linear(features_BF, self._first(self.into_DF, index), self._bias(index))
        decoded_BF = linear(
            z_BD, self._first(self.out_of_FD, index, axis=1), self.out_of_bias_F[index]
        )
        y_BCHW: Tensor = self.tails[index](decoded_BF)
        return y_BCHW

    def cut(self, latent_dim: int) -> Autoencoder:
        """Return a copy of the ordinary autoencoder at one of the widths."""
        index = self.dims.index(latent_dim)
        model = registry.build(self.name, latent_dim=latent_dim, image_shape=self.image_shape)
        parts = _parts(model, name=self.name)
        with torch.no_grad():
            parts.trunk.load_state_dict(self.trunk.state_dict())
            parts.tail.load_state_dict(self.tails[index].state_dict())
            parts.into.weight.copy_(self._first(self.into_DF, index))
            parts.into.bias.copy_(self._bias(index))
            parts.out_of.weight.copy_(self._first(self.out_of_FD, index, axis=1))
            parts.out_of.bias.copy_(self.out_of_bias_F[index])
        return model.to(self.out_of_bias_F[index].device)

    def _bias(self, index: int) -> Tensor:
        return self._first(self.into_bias_D, index)

    @staticmethod
    def _first(blocks: nn.ParameterList, index: int, *, axis: int = 0) -> Tensor:
        return torch.cat(list(blocks[: index + 1]), dim=axis)


def check_nested(name: str, *, dims: Sequence[int], image_shape: ImageShape) -> None:
    """Refuse a model that cannot have several widths at once, without allocating it.

    Raises
    ------
    ConfigError
        If there is no such model, its bottleneck is not two linear layers, or anything else of it
        depends on how wide that is.
    """
    with torch.device("meta"):
        parts = [
            _parts(registry.build(name, latent_dim=dim, image_shape=image_shape), name=name)
            for dim in dims
        ]
    first = _shared_structure(parts[0])
    for dim, other in zip(dims, parts, strict=True):
        differing = _first_difference(first, _shared_structure(other))
        if differing is not None:
            raise ConfigError(
                f"the model {name!r} cannot be trained nested: its layer {differing} depends on "
                f"the latent dimension ({dims[0]} and {dim} differ); leave --method out"
            )


class _Parts(NamedTuple):
    """An autoencoder taken apart at its bottleneck; the parts are the model's own."""

    trunk: nn.Sequential
    into: nn.Linear
    out_of: nn.Linear
    tail: nn.Sequential


def _parts(model: Autoencoder, *, name: str) -> _Parts:
    if type(model) is not Autoencoder:
        raise ConfigError(
            f"the model {name!r} cannot be trained nested: its code is more than numbers, or its "
            "objective more than their error; leave --method out"
        )
    encoder, decoder = model.encoder, model.decoder
    if isinstance(encoder, nn.Sequential) and isinstance(decoder, nn.Sequential):
        into = encoder[-1] if len(encoder) else None
        out_of = decoder[0] if len(decoder) else None
        if _is_linear(into) and _is_linear(out_of):
            return _Parts(encoder[:-1], into, out_of, decoder[1:])
    raise ConfigError(
        f"the model {name!r} cannot be trained nested: its bottleneck is not two linear layers "
        "with biases; leave --method out"
    )


def _is_linear(layer: nn.Module | None) -> TypeGuard[nn.Linear]:
    # No other subclass: it may compute something else from its weight.
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        return False
    return type(layer) in (nn.Linear, FactoredLinear)


Structure: TypeAlias = "dict[str, object]"
"""What each layer of a network is, by its name in the network."""


def _shared_structure(parts: _Parts) -> Structure:
    """Describe all that the widths have in common: everything but the width of the bottleneck."""
    return {
        **{f"encoder.{name}": each for name, each in _structure(parts.trunk).items()},
        **{f"decoder.{name}": each for name, each in _structure(parts.tail).items()},
        "at the bottleneck": (parts.into.in_features, parts.out_of.out_features),
    }


def _structure(layers: nn.Sequential) -> Structure:
    return {name: _description(layer) for name, layer in layers.named_modules() if name}


def _description(layer: nn.Module) -> object:
    """Describe one layer without those inside it: class, settings, parameters, buffers."""
    settings = {key: value for key, value in vars(layer).items() if _is_plain(value)}
    parameters = {
        key: (tuple(parameter.shape), parameter.dtype, parameter.requires_grad)
        for key, parameter in layer.named_parameters(recurse=False)
    }
    buffers = {
        key: (tuple(buffer.shape), buffer.dtype)
        for key, buffer in layer.named_buffers(recurse=False)
    }
    return type(layer), settings, parameters, buffers


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(each) for each in value)
    return isinstance(value, bool | int | float | str | None)


def _first_difference(first: Structure, other: Structure) -> str | None:
    """Return the name of a layer that only one network has, or that differs between them."""
    names = dict.fromkeys([*first, *other])
    return next((name for name in names if first.get(name) != other.get(name)), None)


def _blocks(weight: Tensor, sizes: list[int], *, axis: int) -> nn.ParameterList:
    parts = weight.detach().split(sizes, dim=axis)
    return nn.ParameterList(part.clone() for part in parts)


def _with_own_norms(layers: nn.Sequential) -> nn.Sequential:
    """Copy layers so that norms at any depth, and every buffer, are the copy's own.

    All other weights stay the same tensors. A buffer is a state, such as running statistics, and
    each width has its own.
    """
    own = {
        id(parameter)
        for layer in layers.modules()
        if isinstance(layer, NORMS)
        for parameter in layer.parameters()
    }
    shared: dict[int, object] = {
        id(parameter): parameter for parameter in layers.parameters() if id(parameter) not in own
    }
    return copy.deepcopy(layers, shared)
