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
    """BatchNorm, followed by ReLU: torch's two layers, or in training the kernel for both."""

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
        )
