"""A convolution to few channels, computed as matrix products over pixels where that is faster.

Shapes: B batch, C channels in, H height, W width, O channels out (few), K the nine taps of a 3×3
kernel, M = B·H·W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ae_sweep.models.layer_kernels import KernelLayer

TAPS = tuple((row, column) for row in range(3) for column in range(3))
"""Kernel positions, in the order of a kernel's elements."""


class NarrowConv2d(KernelLayer, nn.Conv2d):
    """A 3×3 convolution with stride 1 and padding 1, for few channels out.

    Processors compute 16 output channels at a time, and with one channel most of that is wasted.
    So training on a CPU multiplies all pixels with all nine taps at once and adds up the shifted
    results, the same sum in another order: three times as fast forward and backward, and faster
    again by kernels, where there are any. Elsewhere, and for inference, it is torch's own
    convolution, unless ``always_by_taps``.
    """

    always_by_taps = False

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, kernel_size=3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve; B×O×H×W, in training on a CPU as float32 for any type of input."""
        by_taps = torch.is_grad_enabled() or self.always_by_taps
        if x_BCHW.device.type != "cpu" or not by_taps:
            return super().forward(x_BCHW)
        y_BOHW: Tensor
        kernels = self.kernels if self.training and self.out_channels == 1 else None
        if kernels is not None and kernels.take(x_BCHW, self.weight):
            y_BOHW = kernels.narrow_conv(x_BCHW, self.weight)
        else:
            y_BOHW = _TapProducts.apply(x_BCHW, self.weight.to(x_BCHW.dtype))
        return y_BOHW if self.bias is None else y_BOHW + self.bias[:, None, None]


class _TapProducts(torch.autograd.Function):
    """Convolution by one matrix product and nine shifted sums."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_OCKK: Tensor) -> Tensor:
        pixels_MC = _pixels(x_BCHW)
        taps_KOC = weight_OCKK.permute(2, 3, 0, 1).reshape(-1, weight_OCKK.shape[1])
        ctx.save_for_backward(pixels_MC, taps_KOC)
        ctx.shape = x_BCHW.shape
        batch, _, height, width = x_BCHW.shape
        outputs = weight_OCKK.shape[0]
        with torch.autocast("cpu", enabled=False):
            products = (taps_KOC @ pixels_MC.t()).view(9, outputs, batch, height, width)
        y_OBHW = torch.zeros(outputs, batch, height + 2, width + 2)
        for (row, column), product_OBHW in zip(TAPS, products, strict=True):
            # Tap (0, 0) reads up and left, so a pixel's contribution through it goes down and
            # right.
            top, left = 2 - row, 2 - column
            y_OBHW[..., top : top + height, left : left + width] += product_OBHW
        return y_OBHW[..., 1:-1, 1:-1].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        pixels_MC, taps_KOC = ctx.saved_tensors
        (gradient_BOHW,) = gradients
        batch, channels, height, width = ctx.shape
        padded_OBHW = pad(gradient_BOHW.transpose(0, 1).to(pixels_MC.dtype), (1, 1, 1, 1))
        shifted_KOM = torch.stack(
            [
                padded_OBHW[..., 2 - row : 2 - row + height, 2 - column : 2 - column + width]
                for row, column in TAPS
            ]
        ).view(len(taps_KOC), -1)
        x_gradient_MC = shifted_KOM.t() @ taps_KOC
        # Image by image: one product with so long a sum is slower in bfloat16.
        taps_gradient_BKC = torch.bmm(
            shifted_KOM.view(len(taps_KOC), batch, height * width).transpose(0, 1),
            pixels_MC.view(batch, height * width, channels),
        )
        taps_gradient_KOC = taps_gradient_BKC.sum(0).view(3, 3, -1, channels)
        return (
            x_gradient_MC.view(batch, height, width, channels).permute(0, 3, 1, 2),
            taps_gradient_KOC.permute(2, 3, 0, 1),
        )


def _pixels(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])
