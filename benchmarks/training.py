"""Trainer throughput: images per second of the product beside the plain reference, in turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.training.trainer import Trainer
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import FEW_SHAPES, MNIST, Images, ready_to_train
from benchmarks.reference import ReferenceProcess, autoencoder
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from ae_sweep import training

TARGETS = {"bf16": 3.0, "fp32": 2.5}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: Images
    dims: tuple[int, ...]
    rounds: int
    """Of each trainer, after one more that warms up and is not counted."""
    steps: int
    """Of each trainer in each round."""
    matrix: int
    """Rows and columns of the matrices whose product shows the processor's peak."""


def measure(size: Size) -> Figures:
    """Time blocks of steps, reference and product in turns; then one whole epoch of each."""
    images, precision = ready_to_train(size.images)
    peak = peak_flops(precision.dtype, size.matrix)
    return {
        "rounds": size.rounds,
        "steps": size.steps,
        "precision": f"{precision.name} ({precision.reason})",
        "peak_gflops": round(peak / 1e9, 1),
        "dims": [compare(dim, size, images, precision, peak=peak) for dim in size.dims],
    }


def compare(
    dim: int,
    size: Size,
    images: training.DeviceImages,
    precision: training.Precision,
    *,
    peak: float,
) -> Figures:
    """Compare throughput at one latent dimension, and the test MSE after one epoch."""
    speeds: dict[str, list[float]] = {"reference": [], "product": []}
    product = _product(dim, images, precision)
    with ReferenceProcess(size.images, latent_dim=dim, epochs=1) as reference:
        for _ in range(1 + size.rounds):
            speeds["reference"].append(reference.images_per_second(size.steps))
            speeds["product"].append(_images_per_second(product, size.steps))
        errors = {
            "reference": reference.test_mse_of_an_epoch(),
            "product": _test_mse_of_an_epoch(_product(dim, images, precision)),
        }
    measured = {name: values[1:] for name, values in speeds.items()}
    ratios = [
        fast / plain for fast, plain in zip(measured["product"], measured["reference"], strict=True)
    ]
    share = statistics.median(measured["product"]) * _flops_per_image(dim) / peak
    return {
        "latent_dim": dim,
        **{name: spread(values) for name, values in measured.items()},
        "ratio": spread(ratios),
        "share_of_peak": share,
        "test_mse": errors,
    }


def peak_flops(dtype: torch.dtype, matrix: int) -> float:
    """Measure the most floating-point operations per second of a large matrix product."""
    a, b = torch.randn(2, matrix, matrix).to(dtype)
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * matrix**3 / min(seconds)


def report(figures: Figures) -> str:
    """Render the figures."""
    speeds = [
        (
            str(row["latent_dim"]),
            *cells(row["reference"], ",.0f"),
            *cells(row["product"], ",.0f"),
            *cells(row["ratio"]),
            f"{row['share_of_peak']:.0%}",
        )
        for row in figures["dims"]
    ]
    errors = [
        (
            str(row["latent_dim"]),
            *(f"{row['test_mse'][who]:.5f}" for who in ("reference", "product")),
        )
        for row in figures["dims"]
    ]
    return paragraphs(
        f"{counted(figures['rounds'], 'round')} of {counted(figures['steps'], 'step')}. The "
        f"product's precision: {figures['precision']}. A large matrix product in it reaches "
        f"{figures['peak_gflops']:.0f} GFLOP/s, of which the last column is a share.",
        table(
            ("latent dim", "reference", "range", "product", "range", "ratio", "range",
             "of peak"),
            speeds,
        ),
        verdict(
            "least ratio",
            min(row["ratio"]["median"] for row in figures["dims"]),
            target=TARGETS[figures["precision"].split()[0]],
            unit="×",
            at_least=True,
        ),
        "Test MSE after one epoch of each, the schedule as long as that epoch:",
        table(("latent dim", "reference", "product"), errors),
    )  # fmt: skip


def _product(dim: int, images: training.DeviceImages, precision: training.Precision) -> Trainer:
    config = TrialConfig(latent_dim=dim, hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=1))
    return Trainer(config, images, precision=precision)


def _images_per_second(product: Trainer, steps: int) -> float:
    started = time.perf_counter()
    for _ in range(steps):
        product.take_step()
    return steps * product.batch_size / (time.perf_counter() - started)


def _test_mse_of_an_epoch(product: Trainer) -> float:
    results = [product.train_until(pause) for pause in product.pauses]
    return product.finish(results[-1]).test_mse


def _flops_per_image(dim: int) -> float:
    """Count a forward pass, and twice as much for the backward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        autoencoder(dim)(torch.zeros(8, 1, 28, 28))
    return 3 * float(counter.get_total_flops()) / 8


BENCHMARK = Benchmark(
    name="training",
    title="Trainer throughput",
    about="The whole training loop in images per second: median and range of rounds of steps, "
    "reference and product in turns, each in a process of its own. The reference is the same "
    "network trained as a tutorial writes it (benchmarks/reference.py).",
    measure=measure,
    report=report,
    full=Size(images=MNIST, dims=(2, 32, 1024), rounds=8, steps=20, matrix=3072),
    smallest=Size(images=FEW_SHAPES, dims=(2,), rounds=1, steps=1, matrix=128),
)

if __name__ == "__main__":
    BENCHMARK.main()
