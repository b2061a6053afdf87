"""What a codec needs of a network: its decoder's metric, and images decoded to bytes.

Shapes: N images, B batch, C channels, H height, W width, D latents.
"""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ae_sweep.container import usable_cores
from ae_sweep.models.narrow import NarrowConv2d
from ae_sweep.models.normalised import BatchNormReLU2d
from ae_sweep.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from ae_sweep.models.autoencoder import Autoencoder
    from ae_sweep.models.vae import VariationalAutoencoder

    Array: TypeAlias = np.ndarray[Any, Any]

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCHES_OF_INFERENCE = 5
"""A fifth of the images of an inference batch are decoded at a time: the features of 100 images of
28×28 stay in a processor's cache, those of 500 do not, which takes 1.4 times as long an image."""
DIRECTIONS_PER_LATENT = 64
LEAST_DIRECTIONS, MOST_DIRECTIONS = 4_096, 16_384
SEED = 20_171_207
"""Of the directions: the same metric on every call."""


def coding_threads() -> int:
    """Return how many threads encode and decode: torch's, but not more than there are cores."""
    return max(1, min(torch.get_num_threads(), usable_cores()))


def side_by_side(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """Yield the result for each item in order, some at a time, torch with a thread for each.

    Two batches at a time, each with one thread, are decoded in 0.7 times the time of one after
    the other with two.

    Parameters
    ----------
    threads
        ``coding_threads`` if left out.
    """
    before = torch.get_num_threads()
    try:
        yield from in_threads(
            work,
            items,
            threads=threads or coding_threads(),
            begin=functools.partial(torch.set_num_threads, 1),
        )
    finally:
        # Set in a thread, it holds for all that start later.
        torch.set_num_threads(before)


def fused(network: Autoencoder) -> Autoencoder:
    """Return a network with the same weights that runs in about half the time.

    Every normalisation that follows a convolution becomes part of it, features have the layout in
    which processors convolve, and a convolution to one channel is a matrix product (0.02 ms an
    image of 28×28 for 0.05; with three channels it gains nothing). Numbers differ by 1e-7; an
    encoder or decoder that is not a plain sequence of layers stays as it is.
    """
    faster = copy.copy(network)
    faster._modules = dict(network._modules)  # noqa: SLF001 - a copy shares it otherwise
    for name in ("encoder", "decoder"):
        part = getattr(network, name)
        if type(part) is nn.Sequential:  # a subclass may compute something else
            setattr(faster, name, nn.Sequential(*_fused([*part])).eval())
    return faster


def _fused(layers: list[nn.Module]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for layer in layers:
        before = found[-1] if found else None
        is_convolution = type(before) is nn.Conv2d or type(before) is nn.ConvTranspose2d
        if is_convolution and _is_fixed_norm(layer):
            transpose = type(before) is nn.ConvTranspose2d
            fuse: Any = fuse_conv_bn_eval
            joined = fuse(before, layer, transpose=transpose)
            found[-1] = joined.to(memory_format=torch.channels_last)
            if type(layer) is BatchNormReLU2d:
                found.append(nn.ReLU(inplace=True))
        elif type(layer) is NarrowConv2d and layer.out_channels == 1:
            by_taps = copy.copy(layer)
            by_taps.always_by_taps = True
            found.append(by_taps)
        else:
            found.append(layer)
    return found


def _is_fixed_norm(layer: nn.Module) -> bool:
    is_norm = type(layer) is nn.BatchNorm2d or type(layer) is BatchNormReLU2d
    return is_norm and not layer.training and bool(layer.track_running_stats)


def coding_batch(network: Autoencoder) -> int:
    """Return how many images are decoded at a time."""
    return max(1, network.inference_batch // BATCHES_OF_INFERENCE)


def metric_directions(latents: int) -> int:
    """Return from how many directions `decoder_metric` estimates the metric of that many latents.

    An eigenvalue is off by about √(latents / directions): 9 % at 32 latents, 25 % at 1,024. The
    codes cost 0.1 to 0.3 % more bits than with the exact metric (docs/LOG.md).
    """
    return min(max(DIRECTIONS_PER_LATENT * latents, LEAST_DIRECTIONS), MOST_DIRECTIONS)


def decoder_metric(network: Autoencoder, z_ND: Array) -> Array:
    """Estimate the mean over images of JᵀJ, J the Jacobian of the decoder at an image's latents.

    For random signs v, the mean of (Jᵀv)(Jᵀv)ᵀ is JᵀJ (Hutchinson 1990), and one backward pass
    gives Jᵀv of a batch. Each direction is that of another image, as far as there are images.

    Parameters
    ----------
    z_ND
        Latents of training images, of which evenly spaced ones are used.

    Returns
    -------
    numpy.ndarray
        D×D, float64: squared error of an image, summed over its numbers, per squared latent.
    """
    directions = metric_directions(z_ND.shape[1])
    chosen = np.arange(directions) * len(z_ND) // directions
    batch = coding_batch(network)
    network = fused(network)
    signs = torch.Generator().manual_seed(SEED)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, directions, batch):
            # A copy: torch warns of arrays that cannot be written, and latents may be mapped.
            z_BD = torch.from_numpy(z_ND[chosen[start : start + batch]].astype(np.float32))
            shape = (len(z_BD), *network.image_shape)
            yield z_BD, torch.randint(0, 2, shape, generator=signs, dtype=z_BD.dtype) * 2 - 1

    def pull_back(batch: tuple[Tensor, Tensor]) -> Array:
        z_BD, v_BCHW = batch
        z_BD.requires_grad_()
        with torch.enable_grad():
            (gradient_BD,) = torch.autograd.grad(network.decode(z_BD), z_BD, v_BCHW)
        pulled_BD: Array = gradient_BD.numpy().astype(np.float64)
        return pulled_BD

    metric_DD = np.zeros((z_ND.shape[1],) * 2)
    for pulled_BD in side_by_side(pull_back, batches()):
        metric_DD += pulled_BD.T @ pulled_BD
    return metric_DD / directions


def decode_to_bytes(
    decode: Callable[[Tensor], Tensor], codes_ND: Array, *, batch: int
) -> Iterator[Array]:
    """Decode latents or tokens to images of bytes, B×C×H×W uint8, a batch after the other.

    The last batch is filled up, so that an image is computed alike in any number of images: sums of
    floats depend on the size of the batch, and a pixel would sometimes round to another byte.

    Parameters
    ----------
    decode
        Method of a network, best of a `fused` one.
    batch
        `coding_batch` of the network.
    """
    with torch.inference_mode():
        for start in range(0, len(codes_ND), batch):
            part_ND = codes_ND[start : start + batch]
            filled_BD = np.zeros((batch, codes_ND.shape[1]), codes_ND.dtype)
            filled_BD[: len(part_ND)] = part_ND
            y_BCHW = decode(torch.from_numpy(filled_BD))[: len(part_ND)]
            yield as_bytes(y_BCHW)


def drawn_images(
    network: VariationalAutoencoder, batches: Iterable[Tensor], seed: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the divergence of images' codes in bits, and images of bytes from drawn codes."""
    noise = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        for x_BCHW in batches:
            posterior = network.posterior(x_BCHW)
            bits_B = posterior.divergence_nats().double().sum(dim=1) / math.log(2)
            yield bits_B.numpy(), as_bytes(network.decode(posterior.sample(noise)))


def as_bytes(y_BCHW: Tensor) -> Array:
    """Round images in [0, 1] to bytes."""
    bytes_BCHW = (y_BCHW.float() * 255).round().clamp(0, 255).to(torch.uint8)
    array: Array = bytes_BCHW.contiguous().numpy()
    return array
