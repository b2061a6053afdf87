"""A linear layer that can leave the gradient of its weight in factors.

Shapes: B samples, R outputs, S inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ae_sweep.models.layer_kernels import KernelLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.models.layer_kernels import LayerKernels


class Factors(NamedTuple):
    """A weight's gradient R×S, as the product of the first one transposed and the second."""

    output_gradients_BR: Tensor
    inputs_BS: Tensor


class FactoredLinear(KernelLayer, nn.Linear):
    """A linear layer whose backward pass can leave out the gradient of its weight.

    That gradient has no more directions than a batch has samples. An optimiser that can use this
    sets ``keeps_factors``, and takes the factors of each backward pass from ``factors``; the weight
    then has no gradient, and may be used by calling the layer alone. Otherwise this is torch's own
    layer.
    """

    keeps_factors = False

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.factors: list[Factors] = []

    def forward(self, x_BS: Tensor) -> Tensor:
        """Map B×S to B×R; with ``keeps_factors``, leading dimensions of any number are B."""
        if not (self.keeps_factors and torch.is_grad_enabled()):
            return super().forward(x_BS)
        y_BR: Tensor = _KeptFactors.apply(
            x_BS, self.weight, self.bias, self.factors.append, self.kernels
        )
        return y_BR


class _KeptFactors(torch.autograd.Function):
    """A linear map; in place of the gradient of its weight, the factors go to a callback."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BS: Tensor,
        weight_RS: Tensor,
        bias_R: Tensor | None,
        keep: Callable[[Factors], None],
        kernels: LayerKernels | None,
    ) -> Tensor:
        device = x_BS.device.type
        dtype = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_BS.dtype
        )
        # Kept, where autocast would convert again.
        x = x_BS.to(dtype)
        weight = weight_RS.to(dtype) if kernels is None else kernels.rounded(weight_RS, dtype)
        ctx.save_for_backward(x, weight)
        ctx.x_dtype, ctx.keep = x_BS.dtype, keep
        with torch.autocast(device, enabled=False):
            return linear(x, weight, None if bias_R is None else bias_R.to(dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_BR,) = gradients
        x_BS, weight_RS = ctx.saved_tensors
        factors = Factors(gradient_BR.flatten(0, -2), x_BS.flatten(0, -2))
        ctx.keep(factors)
        needs_x, _, needs_bias, *_ = ctx.needs_input_grad
        x_gradient = (gradient_BR @ weight_RS).to(ctx.x_dtype) if needs_x else None
        bias_gradient = factors.output_gradients_BR.float().sum(0) if needs_bias else None
        return x_gradient, None, bias_gradient, None, None
