"""Time to the frontier: how soon the product is as good as the plain reference after 15 epochs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.training.trainer import Trainer
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import FEW_SHAPES, MNIST, Images, ready_to_train
from benchmarks.reference import ReferenceProcess
from benchmarks.text import cells, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from ae_sweep import training

REFERENCE = Path(__file__).parent / "results" / "reference.jsonl"
"""What ``python -m benchmarks.reference`` printed: one line an epoch."""
TARGETS = {"bf16": 0.07, "fp32": 0.1}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: Images
    epochs: dict[int, int]
    """By latent dimension."""
    sample_steps: int
    """Of the reference, after each of the product's validations."""


def measure(size: Size) -> Figures:
    """Train every dim; sample the reference's speed between epochs."""
    images, precision = ready_to_train(size.images)
    references = reference_results()
    rows = [
        compare(
            dim, size, images, precision,
            reference_epochs=references[dim][0], reference_test_mse=references[dim][1],
        )
        for dim in size.epochs
    ]  # fmt: skip
    return {"precision": precision.name, "dims": rows}


def reference_results() -> dict[int, tuple[int, float]]:
    """Read the reference's last epoch and its test MSE, by latent dimension."""
    lines = [json.loads(line) for line in REFERENCE.read_text(encoding="utf-8").splitlines()]
    return {line["latent_dim"]: (line["epoch"], line["test_mse"]) for line in lines}


def compare(
    dim: int,
    size: Size,
    images: training.DeviceImages,
    precision: training.Precision,
    *,
    reference_epochs: int,
    reference_test_mse: float,
) -> Figures:
    """Train one dim; estimate the reference's time from the speed it has meanwhile."""
    config = TrialConfig(
        latent_dim=dim, hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=size.epochs[dim])
    )
    product = Trainer(config, images, precision=precision)
    results, speeds = [], []
    with ReferenceProcess(size.images, latent_dim=dim, epochs=reference_epochs) as reference:
        reference.images_per_second(size.sample_steps)  # warms up
        for pause in product.pauses:
            results.append(product.train_until(pause))
            speeds.append(reference.images_per_second(size.sample_steps))
    speed = spread(speeds)
    return {
        "latent_dim": dim,
        "epochs": size.epochs[dim],
        "test_mse": product.finish(results[-1]).test_mse,
        "seconds": product.train_seconds,
        "reference_epochs": reference_epochs,
        "reference_test_mse": reference_test_mse,
        "reference_speed": speed,
        "reference_seconds": reference_epochs * len(images.train) / speed["median"],
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        (
            str(row["latent_dim"]),
            str(row["reference_epochs"]),
            f"{row['reference_test_mse']:.5f}",
            *cells(row["reference_speed"], ",.0f"),
            f"{row['reference_seconds']:.0f}",
            str(row["epochs"]),
            f"{row['test_mse']:.5f}",
            f"{row['seconds']:.0f}",
        )
        for row in figures["dims"]
    ]
    ours, theirs = (
        sum(row[who] for row in figures["dims"]) for who in ("seconds", "reference_seconds")
    )
    worse = [r["latent_dim"] for r in figures["dims"] if r["test_mse"] > r["reference_test_mse"]]
    target = TARGETS[figures["precision"]]
    return paragraphs(
        f"In {figures['precision']}:",
        table(
            ("latent dim", "reference epochs", "test MSE", "images/s", "range", "s",
             "product epochs", "test MSE", "s"),
            rows,
        ),
        f"Sum: {ours:.0f} s instead of {theirs:.0f} s. "
        + (f"Worse than the reference at d = {', '.join(map(str, worse))}. " if worse else "")
        + verdict(
            "share of the reference's time", ours / theirs, target=target, unit="", form=".3f"
        ),
    )  # fmt: skip


BENCHMARK = Benchmark(
    name="frontier_time",
    title="Time to the frontier",
    about="Seconds of training until the test MSE is that of the reference after 15 epochs, with "
    "schedules just long enough for it, found by trying. The whole reference was trained once "
    "(docs/LOG.md); its seconds here are its images divided by the speed it had in samples taken "
    "between the product's validations. Both times are of training alone.",
    measure=measure,
    report=report,
    full=Size(images=MNIST, epochs={2: 3, 8: 4, 32: 3, 128: 2, 1024: 2}, sample_steps=15),
    smallest=Size(images=FEW_SHAPES, epochs={2: 1}, sample_steps=1),
    long=True,
)

if __name__ == "__main__":
    BENCHMARK.main()
