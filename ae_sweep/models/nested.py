"""One network that is an autoencoder of several widths at once, by its first d latents.

Nested dropout (Rippel et al. 2014, arXiv:1402.0915) in the form of slimmable networks (Yu et al.
2019, arXiv:1812.08928): the widths share every weight, and each has BatchNorm layers of its own.

Shapes: B batch, C channels, H height, W width of an image, F features, D latents.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ae_sweep.errors import ConfigError
from ae_sweep.models import registry
from ae_sweep.models.autoencoder import Autoencoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.models.autoencoder import ImageShape


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
        If there is no such model, or its bottleneck is not made of two linear layers.
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
        If there is no such model, its bottleneck is not made of two linear layers, or its other
        layers depend on the bottleneck's width.
    """
    with torch.device("meta"):
        narrow, wide = (
            _parts(registry.build(name, latent_dim=dim, image_shape=image_shape), name=name)
            for dim in (dims[0], dims[-1])
        )
    if [p.shape for p in narrow.trunk.parameters()] != [p.shape for p in wide.trunk.parameters()]:
        raise ConfigError(
            f"the model {name!r} cannot be trained nested: its hidden layers depend on the latent "
            "dimension; leave --method out"
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
        into, out_of = encoder[-1], decoder[0]
        if isinstance(into, nn.Linear) and isinstance(out_of, nn.Linear):
            return _Parts(encoder[:-1], into, out_of, decoder[1:])
    raise ConfigError(
        f"the model {name!r} cannot be trained nested: its bottleneck is not two linear layers"
    )


def _blocks(weight: Tensor, sizes: list[int], *, axis: int) -> nn.ParameterList:
    parts = weight.detach().split(sizes, dim=axis)
    return nn.ParameterList(part.clone() for part in parts)


def _with_own_norms(layers: nn.Sequential) -> nn.Sequential:
    own = {
        name: copy.deepcopy(layer) if isinstance(layer, nn.BatchNorm2d) else layer
        for name, layer in layers.named_children()
    }
    return nn.Sequential(OrderedDict(own))
