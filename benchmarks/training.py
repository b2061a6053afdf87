"""Trainer throughput: images per second of the product beside the plain reference, in turns.

python benchmarks/training.py [--json]
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch
from common import ready_to_train, spread
from reference import ReferenceProcess, autoencoder
from section import cells, main, section, table, verdict
from torch.utils.flop_counter import FlopCounterMode

from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from ae_sweep import training

DIMS = (2, 32, 1024)
ROUNDS = 9
STEPS = 20
"""Of each trainer in each round; the first round warms up and is not counted."""
TARGET = 3.0


def measure() -> dict[str, Any]:
    """Time blocks of steps, reference and product in turns; then one whole epoch of each."""
    images, precision = ready_to_train()
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
    speeds: dict[str, list[float]] = {"reference": [], "product": []}
    product = _product(dim, images, precision)
    with ReferenceProcess(latent_dim=dim, epochs=1) as reference:
        for _ in range(ROUNDS):
            speeds["reference"].append(reference.images_per_second(STEPS))
            speeds["product"].append(_images_per_second(product))
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
        f"{STEPS} steps, reference and product in turns, each in a process of its own. The "
        f"product's precision: {document['precision']}. A large matrix product in it reaches "
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


def _product(dim: int, images: training.DeviceImages, precision: training.Precision) -> Trainer:
    config = TrialConfig(latent_dim=dim, hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=1))
    return Trainer(config, images, precision=precision)


def _images_per_second(product: Trainer) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        product.take_step()
    return STEPS * product.batch_size / (time.perf_counter() - started)


def _test_mse_of_an_epoch(product: Trainer) -> float:
    for pause in product.pauses:
        val_mse = product.train_until(pause).val_mse
    return product.finish(val_mse=val_mse).test_mse


def _flops_per_image(dim: int) -> float:
    """Count a forward pass, and twice as much for the backward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        autoencoder(dim)(torch.zeros(8, 1, 28, 28))
    return 3 * counter.get_total_flops() / 8


if __name__ == "__main__":
    main(measure, report)
