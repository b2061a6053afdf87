"""Time to the frontier: how soon the product is as good as the plain reference after 15 epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ready_to_train, spread
from reference import ReferenceProcess
from section import cells, main, section, table, verdict

from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from ae_sweep import training

EPOCHS = {2: 4, 8: 5, 32: 4, 128: 3, 1024: 4}
"""Schedules just long enough for the reference's test MSE, found by trying."""
REFERENCE = Path(__file__).parent / "results" / "reference.jsonl"
"""What ``python benchmarks/reference.py`` printed: one line an epoch."""
SAMPLE_STEPS = 15
TARGET = 0.1


def measure() -> dict[str, Any]:
    """Train every dim whose reference is known; sample the reference's speed between epochs."""
    images, precision = ready_to_train()
    rows = [
        compare(dim, images, precision, target_mse=mse, reference_epochs=epochs)
        for dim, (epochs, mse) in reference_results().items()
    ]
    return {"precision": precision.name, "dims": rows}


def reference_results() -> dict[int, tuple[int, float]]:
    """Read the reference's last epoch and its test MSE, by latent dimension."""
    if not REFERENCE.exists():
        raise SystemExit(
            "train the reference first, for over an hour: "
            f"python benchmarks/reference.py > {REFERENCE}"
        )
    lines = [json.loads(line) for line in REFERENCE.read_text(encoding="utf-8").splitlines()]
    return {line["latent_dim"]: (line["epoch"], line["test_mse"]) for line in lines}


def compare(
    dim: int,
    images: training.DeviceImages,
    precision: training.Precision,
    *,
    target_mse: float,
    reference_epochs: int,
) -> dict[str, Any]:
    """Train one dim, and tell how long the reference takes at the speed it has meanwhile."""
    config = TrialConfig(
        latent_dim=dim, hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=EPOCHS[dim])
    )
    product = Trainer(config, images, precision=precision)
    speeds = []
    with ReferenceProcess(latent_dim=dim, epochs=reference_epochs) as reference:
        reference.images_per_second(SAMPLE_STEPS)  # warms up
        for pause in product.pauses:
            val_mse = product.train_until(pause).val_mse
            speeds.append(reference.images_per_second(SAMPLE_STEPS))
    reference_images = reference_epochs * len(images.train_NCHW)
    return {
        "latent_dim": dim,
        "epochs": EPOCHS[dim],
        "test_mse": product.finish(val_mse=val_mse).test_mse,
        "seconds": product.train_seconds,
        "reference_epochs": reference_epochs,
        "reference_test_mse": target_mse,
        "reference_speed": spread(speeds),
        "reference_seconds": reference_images / spread(speeds)["median"],
    }


def report(document: dict[str, Any]) -> str:
    """Write the section of docs/benchmarks.md."""
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
        for row in document["dims"]
    ]
    ours, theirs = (
        sum(row[who] for row in document["dims"]) for who in ("seconds", "reference_seconds")
    )
    worse = [r["latent_dim"] for r in document["dims"] if r["test_mse"] > r["reference_test_mse"]]
    return section(
        "Time to the frontier",
        "The whole reference was trained once (docs/LOG.md); its seconds here are its images "
        "divided by the speed it had in samples taken between the product's validations. Both "
        "times are of training alone.",
        table(
            ("latent dim", "reference epochs", "test MSE", "images/s", "range", "s",
             "product epochs", "test MSE", "s"),
            rows,
        ),
        f"Summed: {ours:.0f} s for {theirs:.0f} s. "
        + (f"Not as good as the reference at d = {', '.join(map(str, worse))}. " if worse else "")
        + verdict("share of the reference's time", ours / theirs, target=TARGET, unit=""),
        name="frontier_time",
    )  # fmt: skip


if __name__ == "__main__":
    main(measure, report)
