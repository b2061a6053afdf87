"""What a training may give to layers to compute with, in place of torch's functions.

Shapes: B batch, C channels, H height, W width, O channels out, K sides of a convolution's kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class LayerKernels(Protocol):
    """Functions that compute what torch's do, faster, each with its gradient."""

    def take(self, x_BCHW: Tensor, weight: Tensor) -> bool:
        """Return whether the functions compute with these features and a layer's weight."""

    def batch_norm_relu(
        self,
        x_BCHW: Tensor,
        weight_C: Tensor,
        bias_C: Tensor,
        *,
        running_mean_C: Tensor,
        running_variance_C: Tensor,
        momentum: float,
        eps: float,
        overwrite_gradient: bool,
    ) -> Tensor:
        """Normalise over the batch, and set what is negative to 0."""

    def narrow_conv(self, x_BCHW: Tensor, weight_OCKK: Tensor) -> Tensor:
        """Convolve with a 3×3 kernel, padding 1, to one channel of float32."""

    def rounded(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert to another type."""


class KernelLayer(nn.Module):
    """A layer that uses such kernels in training, if it has been given any."""

    kernels: LayerKernels | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kernels of this machine out of copies and pickles."""
        return {name: value for name, value in self.__dict__.items() if name != "kernels"}


def use_kernels(model: nn.Module, kernels: LayerKernels | None) -> None:
    """Have a model train with these kernels, None for torch's functions."""
    for layer in model.modules():
        if isinstance(layer, KernelLayer):
            layer.kernels = kernels
