"""The kernels as they are given to a training, and the check that they agree with torch here.

Shapes: B batch, C channels, H height, W width, K sides of a kernel.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, relu

from ae_sweep.kernels.functions import NAMES, batch_norm_relu, narrow_conv, to_bf16
from ae_sweep.kernels.library import library

TILE = 32
"""Channels that a kernel computes at once (source/numbers.h)."""
MAX_ERROR = 0.02
"""Allowed distance from torch's results, relative to their norm; bfloat16 has 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels of this machine, or why there are none."""

    used: bool
    what: str
    """What compiled them, or why they are not used."""
    version: str
    """Changes with what their rounding depends on; ``none`` where torch computes instead."""

    def take(self, x_BCHW: Tensor, weight: Tensor) -> bool:
        """Return whether they compute with features and a layer's weight.

        They take float32 or bfloat16 on a CPU in ``channels_last`` layout, with a multiple of 32
        channels and more than one pixel in all, and weights of float32.
        """
        return (
            self.used
            and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
            and x_BCHW.device.type == "cpu"
            and x_BCHW.dtype in NAMES
            and x_BCHW.ndim == 4
            and x_BCHW.shape[1] % TILE == 0
            and x_BCHW.numel() > x_BCHW.shape[1] > 0
            and x_BCHW.is_contiguous(memory_format=torch.channels_last)
        )

    def rounded(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert a tensor as ``x.to(dtype)`` does."""
        takes = self.used and x.device.type == "cpu" and x.is_contiguous()
        if takes and (x.dtype, dtype) == (torch.float32, torch.bfloat16):
            return to_bf16(x)
        return x.to(dtype)

    batch_norm_relu = staticmethod(batch_norm_relu)
    narrow_conv = staticmethod(narrow_conv)


@functools.cache
def kernels() -> Kernels:
    """Load the kernels, compiled if need be, and compare them with torch.

    Raises
    ------
    ConfigError
        If ``AE_SWEEP_KERNELS`` is neither on nor off.
    """
    found = library()
    if found.handle is None:
        return Kernels(used=False, what=found.what, version="none")
    # In one thread: a process that is forked later could not use OpenMP's others.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        error = float(torch.stack([_error(dtype) for dtype in NAMES]).max())
    finally:
        torch.set_num_threads(before)
    if not error <= MAX_ERROR:  # NaN neither
        what = f"{found.what}, which are off by {error:.1%} here"
        return Kernels(used=False, what=what, version="none")
    return Kernels(used=True, what=found.what, version=found.version)


def _error(dtype: torch.dtype) -> Tensor:
    """Return the largest distance of results and gradients from those of torch, NaN if one is."""
    noise = torch.Generator("cpu").manual_seed(0)
    drawn = partial(torch.randn, generator=noise, dtype=torch.float32, device="cpu")
    channels = 2 * TILE
    x_BCHW = drawn((3, channels, 13, 11)).to(dtype)
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
    weight_C, bias_C = drawn(channels).abs() + 0.5, drawn(channels)
    kernel_1CKK = drawn((1, channels, 3, 3))
    results = []
    for by_kernel in (True, False):
        leaves = [each.clone().requires_grad_() for each in (x_BCHW, weight_C, bias_C, kernel_1CKK)]
        x, weight, bias, kernel = leaves
        mean_C, variance_C = torch.zeros_like(weight_C), torch.ones_like(weight_C)
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            if by_kernel:
                y_BCHW = batch_norm_relu(
                    x, weight, bias, running_mean_C=mean_C, running_variance_C=variance_C,
                    momentum=0.1, eps=1e-5, overwrite_gradient=True,
                )  # fmt: skip
                y_B1HW = narrow_conv(y_BCHW, kernel)
            else:
                y_BCHW = relu(
                    batch_norm(x.float(), mean_C, variance_C, weight, bias, training=True)
                )
                y_B1HW = conv2d(y_BCHW, kernel, padding=1)
            gradients = torch.autograd.grad(y_B1HW.square().mean(), leaves)
        rounded_C = to_bf16(weight_C) if by_kernel else weight_C.to(torch.bfloat16)
        results.append([y_B1HW.detach(), mean_C, variance_C, rounded_C, *gradients])
    return torch.stack(
        [
            (mine.float() - other.float()).norm() / other.float().norm()
            for mine, other in zip(*results, strict=True)
        ]
    ).max()
