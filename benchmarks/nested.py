"""One nested network for eight dims beside separate trainings of each: seconds and test MSE."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import training
from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import FEW_SHAPES, MNIST, Images, ready_to_train
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.sweep import Train

NESTED, ONE, TWO = "nested", "1 epoch", "2 epochs"
"""The ways to train; the defaults' longest schedule has two epochs."""
TARGET_SHARE = 1 / 3
TARGET_GAP = 0.05


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: Images
    dims: tuple[int, ...]
    seeds: tuple[int, ...]
    nested_epochs: int


def measure(size: Size) -> Figures:
    """Train every dim each way, the ways in turns, with every seed."""
    images, precision = ready_to_train(size.images)
    epochs = {NESTED: size.nested_epochs, ONE: 1, TWO: 2}
    trained: dict[str, dict[int, list[dict[str, float]]]] = {
        way: {dim: [] for dim in size.dims} for way in epochs
    }
    for seed in size.seeds:
        nested = training.NestedTrainings(images, dims=size.dims, precision=precision)

        def separate(config: TrialConfig) -> training.Training:
            return training.train(config, images, precision=precision)

        for dim in size.dims:
            for way, count in epochs.items():
                config = TrialConfig(
                    latent_dim=dim,
                    hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=count),
                    seed=seed,
                )
                trained[way][dim].append(_trained(nested if way == NESTED else separate, config))
    spreads = {
        way: {dim: {key: spread([row[key] for row in rows]) for key in rows[0]}
              for dim, rows in dims.items()}
        for way, dims in trained.items()
    }  # fmt: skip
    return {
        "precision": precision.name,
        "seeds": len(size.seeds),
        "epochs": epochs,
        "seconds": {
            way: sum(of["seconds"]["median"] for of in dims.values())
            for way, dims in spreads.items()
        },
        "dims": [_row(dim, {way: dims[dim] for way, dims in spreads.items()}) for dim in size.dims],
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        (
            str(row["latent_dim"]),
            *(cell for way in figures["epochs"] for cell in cells(row["test_mse"][way], ".5f")),
            f"{row['raw_gap']:+.0%}",
            f"{row['gap']:+.0%}",
        )
        for row in figures["dims"]
    ]
    seconds = figures["seconds"]
    costs = ", ".join(f"{way} {total:.0f} s" for way, total in seconds.items())
    heads = [head for way in figures["epochs"] for head in (way, "range")]
    return paragraphs(
        f"{counted(figures['epochs'][NESTED], 'epoch')} of the network; median and range of "
        f"{counted(figures['seeds'], 'seed')}, in {figures['precision']}. Seconds of all dims "
        f"together: {costs}.",
        table(("latent dim", *heads, "raw", "tuned"), rows),
        verdict(
            "share of the time of two epochs each",
            seconds[NESTED] / seconds[TWO],
            target=TARGET_SHARE,
            unit="",
        )
        + " "
        + verdict(
            "largest gap",
            max(row["gap"] for row in figures["dims"]),
            target=TARGET_GAP,
            unit="",
        ),
    )


def _row(dim: int, ways: dict[str, dict[str, dict[str, float]]]) -> Figures:
    nested, two = ways[NESTED], ways[TWO]
    return {
        "latent_dim": dim,
        "test_mse": {way: of["test_mse"] for way, of in ways.items()},
        "raw_gap": nested["raw_val_mse"]["median"] / two["val_mse"]["median"] - 1,
        "gap": nested["test_mse"]["median"] / two["test_mse"]["median"] - 1,
    }


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


BENCHMARK = Benchmark(
    name="nested",
    title="One network for all dims",
    about="Test MSE of `--method nested` (some epochs of the network, then half an epoch of each "
    "dim) beside separate trainings of one and of two epochs. The gaps are to two epochs: raw is "
    "the network cut and not fine-tuned, by validation MSE; the last column is by test MSE.",
    measure=measure,
    report=report,
    full=Size(
        images=MNIST, dims=(1, 2, 4, 8, 32, 128, 512, 1024), seeds=(0, 1, 2), nested_epochs=4
    ),
    smallest=Size(images=FEW_SHAPES, dims=(2, 4), seeds=(0,), nested_epochs=1),
    long=True,
)

if __name__ == "__main__":
    BENCHMARK.main()
