"""Trainer throughput: images per second of the product beside the plain reference, in turns.

python benchmarks/training.py [--json]
"""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from common import mnist, mnist_root, spread, train_indices
from reference import Reference
from section import cells, main, section, table, verdict
from torch.utils.flop_counter import FlopCounterMode

from ae_sweep import training
from ae_sweep.config import TrialConfig
from ae_sweep.sweep.space import GOOD_LR
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

DIMS = (2, 32, 1024)
ROUNDS = 9
STEPS = 20
"""Of each trainer in each round; the first round warms up and is not counted."""
TARGET = 3.0


def measure() -> dict[str, Any]:
    """Time blocks of steps, reference and product in turns; then one whole epoch of each."""
    training.prepare_process()
    device = torch.device("cpu")
    images = training.place(mnist(), device)
    precision = training.choose_precision(
        device, model="conv", image_shape=(1, 28, 28), batch_size=training.RECIPE.batch_size
    )
    peak = peak_flops(precision.dtype)
    return {
        "precision": f"{precision.name} ({precision.reason})",
        "peak_gflops": round(peak / 1e9),
        "dims": [compare(dim, images, precision, peak=peak) for dim in DIMS],
    }


def compare(
    dim: int, images: training.DeviceImages, precision: training.Precision, *, peak: float
) -> dict[str, Any]:
    """Compare throughput at one latent dimension, and the test MSE after one epoch."""
    reference, product = _reference(dim), _product(dim, images, precision)
    blocks = {"reference": _reference_steps(reference), "product": _product_steps(product)}
    speeds: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(ROUNDS):
        for name, steps in blocks.items():
            started = time.perf_counter()
            count = sum(itertools.islice(steps, STEPS))
            speeds[name].append(count / (time.perf_counter() - started))
    ratios = [
        fast / plain
        for fast, plain in zip(speeds["product"][1:], speeds["reference"][1:], strict=True)
    ]
    flops = _flops_per_image(reference)
    return {
        "latent_dim": dim,
        "reference": spread(speeds["reference"][1:]),
        "product": spread(speeds["product"][1:]),
        "ratio": spread(ratios),
        "share_of_peak": statistics.median(speeds["product"][1:]) * flops / peak,
        "test_mse": _after_one_epoch(dim, images, precision),
    }


def peak_flops(dtype: torch.dtype) -> float:
    """Measure the most floating-point operations a second of a large matrix product."""
    a, b = torch.randn(2, 3072, 3072).to(dtype)
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * 3072**3 / min(seconds)


def report(document: dict[str, Any]) -> str:
    """Write the section of docs/benchmarks.md."""
    speeds = [
        (
            str(row["latent_dim"]),
            *cells(row["reference"], ",.0f"),
            *cells(row["product"], ",.0f"),
            *cells(row["ratio"], ".2f"),
            f"{row['share_of_peak']:.0%}",
        )
        for row in document["dims"]
    ]
    errors = [
        (
            str(row["latent_dim"]),
            *(f"{row['test_mse'][who]:.5f}" for who in ("reference", "product")),
        )
        for row in document["dims"]
    ]
    return section(
        "Trainer throughput",
        f"The whole training loop in images per second: median and range of {ROUNDS - 1} rounds of "
        f"{STEPS} steps, reference and product in turns. The product's precision: "
        f"{document['precision']}. A large matrix product in it reaches "
        f"{document['peak_gflops']} GFLOP/s, of which the last column is a share.",
        table(
            ("latent dim", "reference", "range", "product", "range", "ratio", "range", "of peak"),
            speeds,
        ),
        verdict(
            "least ratio",
            min(row["ratio"]["median"] for row in document["dims"]),
            target=TARGET,
            unit="×",
            at_least=True,
        ),
        "Test MSE after one epoch of each, the schedule as long as that epoch:",
        table(("latent dim", "reference", "product"), errors),
        name="training",
    )


def _reference(dim: int) -> Reference:
    return Reference(mnist_root(), latent_dim=dim, epochs=1, train_indices=train_indices())


def _product(dim: int, images: training.DeviceImages, precision: training.Precision) -> Trainer:
    config = TrialConfig(latent_dim=dim, lr=GOOD_LR, epochs=1)
    return Trainer(config, images, precision=precision)


def _reference_steps(reference: Reference) -> Iterator[int]:
    while True:
        yield from reference.epoch()


def _product_steps(product: Trainer) -> Iterator[int]:
    while True:
        product.take_step()
        yield product.batch_size


def _after_one_epoch(
    dim: int, images: training.DeviceImages, precision: training.Precision
) -> dict[str, float]:
    reference, product = _reference(dim), _product(dim, images, precision)
    sum(reference.epoch())
    for pause in product.pauses:
        val_mse = product.train_until(pause).val_mse
    return {
        "reference": reference.test_mse(),
        "product": product.finish(val_mse=val_mse).test_mse,
    }


def _flops_per_image(reference: Reference) -> float:
    """Count a forward pass, and twice as much for the backward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        reference.model(torch.zeros(8, 1, 28, 28))
    return 3 * counter.get_total_flops() / 8


if __name__ == "__main__":
    main(measure, report)
