"""Owns the choice of arithmetic: bfloat16 where hardware has it and it proves right, else fp32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import mse_loss

from ae_sweep import models

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

MAX_GRADIENT_ERROR = 0.1
"""Allowed distance of the bfloat16 gradient from the float32 one, relative to its norm."""


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a training's forward and backward passes; weights stay float32."""

    name: Literal["fp32", "bf16"]
    reason: str
    """Why it was chosen, in words."""

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Give the context in which a forward pass runs in this precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.name == "bf16")


FP32 = Precision("fp32", "asked for")


def choose_precision(
    device: torch.device, *, model: str, image_shape: models.ImageShape, batch_size: int
) -> Precision:
    """Choose the precision of a device by what its hardware can do and a check of the result.

    The check compares one gradient in bfloat16 with the same in float32, on the model's real
    shapes: torch releases have had wrong bfloat16 convolutions on some processors. No clock takes
    part, so a machine always chooses the same.
    """
    missing = _why_no_bf16(device)
    if missing:
        return Precision("fp32", missing)
    error = _gradient_error(device, model=model, image_shape=image_shape, batch_size=batch_size)
    if not error <= MAX_GRADIENT_ERROR:
        return Precision("fp32", f"bf16 gradients are off by {error:.1%} here")
    return Precision("bf16", f"native here; gradients within {error:.1%} of fp32")


def _why_no_bf16(device: torch.device) -> str | None:
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if native else "no native bf16 on this GPU"
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return None if has.get("avx512_bf16") or has.get("amx_bf16") else "no bf16 on this CPU"
    return f"bf16 is not used on {device.type}"


def _gradient_error(
    device: torch.device, *, model: str, image_shape: models.ImageShape, batch_size: int
) -> float:
    x_BCHW = torch.rand((batch_size, *image_shape), generator=torch.Generator().manual_seed(0)).to(
        device
    )
    exact = _gradient(Precision("fp32", ""), x_BCHW, model=model)
    rough = _gradient(Precision("bf16", ""), x_BCHW, model=model)
    return float((rough - exact).norm() / exact.norm())


def _gradient(precision: Precision, x_BCHW: torch.Tensor, *, model: str) -> torch.Tensor:
    shape = (x_BCHW.shape[1], x_BCHW.shape[2], x_BCHW.shape[3])
    network = (
        models.build(model, latent_dim=32, image_shape=shape)
        .to(x_BCHW.device)
        .to(memory_format=torch.channels_last)
    )
    with precision.autocast(x_BCHW.device):
        y_BCHW = network(x_BCHW)
    mse_loss(y_BCHW.float(), x_BCHW).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
