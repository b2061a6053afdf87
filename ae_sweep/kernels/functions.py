"""The kernels as functions of tensors, with their gradients.

Shapes: B batch, C channels, H height, W width, O channels out (one), K the taps of a 3×3 kernel,
P products of a pixel with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ae_sweep.kernels.library import library

if TYPE_CHECKING:
    from collections.abc import Callable

TAPS = 9
PRODUCTS = 16
"""Of a pixel with the taps, filled up (source/narrow_conv.h)."""
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def batch_norm_relu(
    x_BCHW: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    *,
    running_mean_C: Tensor,
    running_variance_C: Tensor,
    momentum: float,
    eps: float,
    overwrite_gradient: bool = False,
) -> Tensor:
    """Normalise each channel over a batch (Ioffe and Szegedy 2015, arXiv:1502.03167), then ReLU.

    It has no second derivative.

    Parameters
    ----------
    x_BCHW
        Features that `Kernels.take` accepts.
    running_mean_C, running_variance_C
        Moved towards those of the batch by a share of ``momentum``, in place.
    overwrite_gradient
        Whether the gradient of the result may be overwritten by that of ``x_BCHW``: nobody else may
        see it, neither a second term of a sum nor a hook.
    """
    y_BCHW: Tensor = _BatchNormReLU.apply(
        x_BCHW, weight_C, bias_C, running_mean_C, running_variance_C, momentum, eps,
        overwrite_gradient,
    )  # fmt: skip
    return y_BCHW


def narrow_conv(x_BCHW: Tensor, weight_OCKK: Tensor) -> Tensor:
    """Convolve with a 3×3 kernel, stride 1 and padding 1, to one channel of float32.

    It has no second derivative.

    Parameters
    ----------
    x_BCHW
        Features that `Kernels.take` accepts.
    """
    y_BOHW: Tensor = _NarrowConv.apply(x_BCHW, weight_OCKK)
    return y_BOHW


def to_bf16(x: Tensor) -> Tensor:
    """Round a contiguous tensor of float32 to bfloat16, as ``x.to(torch.bfloat16)`` does."""
    rounded = torch.empty_like(x, dtype=torch.bfloat16)
    _function("to_bf16")(_at(x), _at(rounded), x.numel(), torch.get_num_threads())
    return rounded


class _BatchNormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_BCHW: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        running_mean_C: Tensor,
        running_variance_C: Tensor,
        momentum: float,
        eps: float,
        overwrite_gradient: bool,
    ) -> Tensor:
        ctx.overwrite_gradient = overwrite_gradient
        y_BCHW = torch.empty_like(x_BCHW)
        mean_C, inverse_deviation_C = torch.empty_like(weight_C), torch.empty_like(weight_C)
        channels = x_BCHW.shape[1]
        _kernel("batch_norm_relu_forward", x_BCHW.dtype)(
            _at(x_BCHW), _at(y_BCHW), x_BCHW.numel() // channels, channels,
            _at(weight_C), _at(bias_C), eps, momentum,
            _at(running_mean_C), _at(running_variance_C), _at(mean_C), _at(inverse_deviation_C),
            torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x_BCHW, weight_C, bias_C, mean_C, inverse_deviation_C)
        return y_BCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, weight_C, bias_C, mean_C, inverse_deviation_C = ctx.saved_tensors
        gradient_BCHW = gradients[0].contiguous(memory_format=torch.channels_last)
        # The gradient's memory is in the cache already: that saves a thirtieth of a step.
        x_gradient_BCHW = gradient_BCHW if ctx.overwrite_gradient else torch.empty_like(x_BCHW)
        weight_gradient_C, bias_gradient_C = torch.empty_like(weight_C), torch.empty_like(weight_C)
        channels = x_BCHW.shape[1]
        _kernel("batch_norm_relu_backward", x_BCHW.dtype)(
            _at(gradient_BCHW), _at(x_BCHW), _at(x_gradient_BCHW), x_BCHW.numel() // channels,
            channels, _at(weight_C), _at(bias_C), _at(mean_C), _at(inverse_deviation_C),
            _at(weight_gradient_C), _at(bias_gradient_C), torch.get_num_threads(),
        )  # fmt: skip
        return x_gradient_BCHW, weight_gradient_C, bias_gradient_C, None, None, None, None, None


class _NarrowConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight_OCKK: Tensor) -> Tensor:
        batch, channels, height, width = x_BCHW.shape
        taps_KC = weight_OCKK.permute(2, 3, 0, 1).reshape(TAPS, channels).contiguous()
        taps_CP = taps_KC.new_zeros(channels, PRODUCTS)
        taps_CP[:, :TAPS] = taps_KC.T
        y_BOHW = taps_KC.new_empty(batch, 1, height, width)
        _kernel("narrow_conv_forward", x_BCHW.dtype)(
            _at(x_BCHW), _at(taps_CP), _at(y_BOHW), batch, height, width, channels,
            torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(x_BCHW, taps_KC)
        return y_BOHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x_BCHW, taps_KC = ctx.saved_tensors
        gradient_BOHW = gradients[0].contiguous()
        batch, channels, height, width = x_BCHW.shape
        x_gradient_BCHW, taps_gradient_KC = torch.empty_like(x_BCHW), torch.empty_like(taps_KC)
        _kernel("narrow_conv_backward", x_BCHW.dtype)(
            _at(gradient_BOHW), _at(x_BCHW), _at(taps_KC), _at(x_gradient_BCHW),
            _at(taps_gradient_KC), batch, height, width, channels, torch.get_num_threads(),
        )  # fmt: skip
        return x_gradient_BCHW, taps_gradient_KC.view(3, 3, 1, channels).permute(2, 3, 0, 1)


def _kernel(name: str, dtype: torch.dtype) -> Callable[..., None]:
    return _function(f"{name}_{NAMES[dtype]}")


def _function(name: str) -> Callable[..., None]:
    function: Callable[..., None] = getattr(library().handle, name)
    return function


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()
