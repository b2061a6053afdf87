"""One nested network for eight dims beside separate trainings of each: seconds and test MSE.

python benchmarks/nested.py [--json]
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from common import ready_to_train, spread
from section import cells, main, section, table, verdict

from ae_sweep import training
from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR

if TYPE_CHECKING:
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.sweep import Train

DIMS = (1, 2, 4, 8, 32, 128, 512, 1024)
SEEDS = (0, 1, 2)
EPOCHS = {"nested": 4, "1 epoch": 1, "2 epochs": 2}
"""Of the network, and of each separate training; both are the defaults' longest."""
TARGET_SHARE = 1 / 3
TARGET_GAP = 0.05


def measure() -> dict[str, Any]:
    """Train every dim each way, the ways in turns, with every seed."""
    images, precision = ready_to_train()
    rows: dict[str, dict[int, list[dict[str, float]]]] = {
        way: {dim: [] for dim in DIMS} for way in EPOCHS
    }
    for seed in SEEDS:
        nested = training.NestedTrainings(images, dims=DIMS, precision=precision)

        def separate(config: TrialConfig) -> training.Training:
            return training.train(config, images, precision=precision)

        for dim in DIMS:
            for way, epochs in EPOCHS.items():
                config = TrialConfig(
                    latent_dim=dim,
                    hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=epochs),
                    seed=seed,
                )
                rows[way][dim].append(_trained(nested if way == "nested" else separate, config))
    return {
        "precision": precision.name,
        "ways": {
            way: {str(dim): {key: spread([row[key] for row in seeds]) for key in seeds[0]}
                  for dim, seeds in dims.items()}
            for way, dims in rows.items()
        },
    }  # fmt: skip


def report(document: dict[str, Any]) -> str:
    """Write the section of docs/benchmarks.md."""
    ways = document["ways"]
    seconds = {
        way: sum(row["seconds"]["median"] for row in dims.values()) for way, dims in ways.items()
    }
    gaps = {dim: _gap(ways, dim, "test_mse") for dim in ways["nested"]}
    rows = [
        (
            dim,
            *(cell for way in EPOCHS for cell in cells(ways[way][dim]["test_mse"], ".5f")),
            f"{_gap(ways, dim, 'raw_val_mse', 'val_mse'):+.0%}",
            f"{gaps[dim]:+.0%}",
        )
        for dim in ways["nested"]
    ]
    costs = ", ".join(f"{way} {total:.0f} s" for way, total in seconds.items())
    return section(
        "One network for all dims",
        f"`--method nested` ({EPOCHS['nested']} epochs of the network, then half an epoch of each "
        f"dim) beside separate trainings of one and of two epochs: test MSE, median and range of "
        f"{len(SEEDS)} seeds, in {document['precision']}. The gaps are to two epochs: raw is the "
        "network cut and not fine-tuned, by validation MSE, the last column by test MSE. Seconds "
        f"of all dims together: {costs}.",
        table(
            ("latent dim", *(head for way in EPOCHS for head in (way, "range")), "raw", "tuned"),
            rows,
        ),
        verdict(
            "share of the time of two epochs each",
            seconds["nested"] / seconds["2 epochs"],
            target=TARGET_SHARE,
            unit="",
        )
        + " "
        + verdict("largest gap", max(gaps.values()), target=TARGET_GAP, unit=""),
        name="nested",
    )


def _trained(train: Train, config: TrialConfig) -> dict[str, float]:
    started = time.perf_counter()
    generator = train(config)
    validations: list[EpochResult] = []
    while True:
        try:
            validations.append(next(generator))
        except StopIteration as end:
            result: TrialResult = end.value
            break
    at_end = [row.val_mse for row in validations if row.epoch == config.hyperparameters.epochs]
    return {
        "seconds": time.perf_counter() - started,
        "raw_val_mse": at_end[0],
        "val_mse": result.val_mse,
        "test_mse": result.test_mse,
    }


def _gap(ways: dict[str, Any], dim: str, ours: str, theirs: str | None = None) -> float:
    nested, separate = ways["nested"][dim][ours], ways["2 epochs"][dim][theirs or ours]
    return float(nested["median"] / separate["median"]) - 1


if __name__ == "__main__":
    main(measure, report)
