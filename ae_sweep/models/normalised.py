"""BatchNorm and ReLU as one layer.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import relu_

from ae_sweep.models.layer_kernels import KernelLayer

if TYPE_CHECKING:
    from torch import Tensor


class BatchNormReLU2d(KernelLayer, nn.BatchNorm2d):
    """BatchNorm, followed by ReLU: torch's two layers, or in training the kernel for both.

    By the kernel it has no second derivative.

    Parameters
    ----------
    channels
        C.
    used_once
        Promises that one layer alone uses the result, and that nothing else sees its gradient: the
        kernel then overwrites that. A residual connection breaks the promise, as does a hook.
    """

    def __init__(self, channels: int, *, used_once: bool = False) -> None:
        super().__init__(channels)
        self.used_once = used_once

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise each channel, and set what is negative to 0."""
        mean_C, variance_C, count = self.running_mean, self.running_var, self.num_batches_tracked
        if (
            mean_C is None
            or variance_C is None
            or count is None
            or self.momentum is None
            or self.kernels is None
            or not self.training
            or x_BCHW.shape[1:2] != self.weight.shape  # torch says what is wrong
            or not self.kernels.take(x_BCHW, self.weight)
        ):
            return relu_(super().forward(x_BCHW))
        count.add_(1)
        return self.kernels.batch_norm_relu(
            x_BCHW,
            self.weight,
            self.bias,
            running_mean_C=mean_C,
            running_variance_C=variance_C,
            momentum=self.momentum,
            eps=self.eps,
            overwrite_gradient=self.used_once,
        )
