"""Choice of arithmetic: bfloat16 where it proves right and faster, else fp32."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import mse_loss

from ae_sweep import models
from ae_sweep.training.device import computing_with, kernels_on
from ae_sweep.training.failures import environment_errors

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

MAX_GRADIENT_ERROR = 0.1
"""Allowed distance of the bfloat16 gradient from the float32 one, relative to its norm."""
MIN_SPEEDUP = 1.25
"""By less, bfloat16 is not worth its rounding: with more threads it may gain nothing."""
ROUNDS = 5
LEAST_SECONDS = 0.1
"""Of one timing: some systems count a thread's time in steps of 16 ms."""
LATENT_DIM = 32


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a training's forward and backward passes; weights stay float32."""

    name: Literal["fp32", "bf16"]
    reason: str
    """Why it was chosen, in words."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers."""
        return torch.bfloat16 if self.name == "bf16" else torch.float32

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context in which a forward pass runs in this precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.name == "bf16")


def exact_convolutions() -> AbstractContextManager[None]:
    """Return the context in which a GPU's convolutions are float32, and the same each time.

    By default cuDNN rounds the factors of float32 convolutions to TensorFloat-32, of 10 bits.
    Matrix products are float32 by torch's own default.
    """
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


FP32 = Precision("fp32", "asked for")


@environment_errors()
def choose_precision(
    device: torch.device, *, model: str, image_shape: models.ImageShape, batch_size: int
) -> Precision:
    """Choose the precision of a device by what its hardware can do, and a calibration.

    On the model's real shapes, one gradient in bfloat16 is compared with the same in float32, since
    torch releases have had wrong bfloat16 convolutions on some processors; then both are timed, in
    turns. On a CPU one thread computes, and the time is that which a processor gave it: the answer
    hardly depends on what else the machine does, and not on how many threads will train
    (docs/LOG.md, 2026-11-28). A second timing may still come out otherwise: whoever wants a
    machine always to choose the same keeps the answer.

    Raises
    ------
    TrainingFailedError
        If there is not enough memory, or a library of torch fails.
    DeviceLostError
        If the GPU fails.
    """
    missing = why_no_bf16(device)
    if missing:
        return Precision("fp32", missing)
    x_BCHW = torch.rand((batch_size, *image_shape), generator=torch.Generator().manual_seed(0))
    network = models.build(model, latent_dim=LATENT_DIM, image_shape=image_shape)
    network = network.to(device).to(memory_format=torch.channels_last)
    models.use_kernels(network, kernels_on(device))
    x_BCHW = x_BCHW.to(device).contiguous(memory_format=torch.channels_last)
    with computing_with(threads=1):
        error = _gradient_error(network, x_BCHW)
        if not error <= MAX_GRADIENT_ERROR:
            return Precision("fp32", f"bf16 gradients are off by {error:.1%} here")
        speedup = _speedup(network, x_BCHW)
    if speedup < MIN_SPEEDUP:
        return Precision("fp32", f"bf16 is {speedup:.2f} times as fast here: not worth it")
    return Precision(
        "bf16", f"{speedup:.1f} times as fast as fp32; gradients within {error:.1%} of it"
    )


def why_no_bf16(device: torch.device) -> str | None:
    """Return why a device's hardware has no bfloat16, or None where it has."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if native else "no native bf16 on this GPU"
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return None if has.get("avx512_bf16") or has.get("amx_bf16") else "no bf16 on this CPU"
    return f"bf16 is not used on {device.type}"


def _gradient_error(network: models.Autoencoder, x_BCHW: torch.Tensor) -> float:
    exact = _gradient(network, x_BCHW, Precision("fp32", ""))
    rough = _gradient(network, x_BCHW, Precision("bf16", ""))
    return float((rough - exact).norm() / exact.norm())


def _speedup(network: models.Autoencoder, x_BCHW: torch.Tensor) -> float:
    clock = time.thread_time if x_BCHW.device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(ROUNDS):
        for precision in (Precision("fp32", ""), Precision("bf16", "")):
            started, passes = clock(), 0
            while (taken := clock() - started) < LEAST_SECONDS:
                _gradient(network, x_BCHW, precision).norm().item()  # waits for a GPU
                passes += 1
            seconds[precision.name].append(taken / passes)
    return statistics.median(seconds["fp32"]) / statistics.median(seconds["bf16"])


def _gradient(
    network: models.Autoencoder, x_BCHW: torch.Tensor, precision: Precision
) -> torch.Tensor:
    network.zero_grad()
    with precision.autocast(x_BCHW.device):
        y_BCHW = network(x_BCHW)
    mse_loss(y_BCHW.float(), x_BCHW).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
