"""Training on a GPU: checks against the CPU, speed of a trial, gain of several at a time.

python benchmarks/gpu.py                 # checks and times one GPU, and writes the page
python benchmarks/gpu.py --device cpu    # the same on the CPU, where nothing is stored
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if not __package__:  # started as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ae_sweep import data, training
from ae_sweep.locations import cache_dir
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.gpu_checks import check
from benchmarks.gpu_packing import IN_ONE_PROCESS, IN_PROCESSES, packed_seconds
from benchmarks.gpu_variants import (
    EAGER,
    GRAPH,
    VARIANTS,
    TrainerSettings,
    trainer,
    variant_speeds,
)
from benchmarks.images import FEW_SHAPES, MNIST, Images
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET_TRIAL_SECONDS = 2.0
TRIAL_EPOCHS = 10
TARGET_PACKED = 5.0
EXIT_WITHOUT_GPU = 3


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    device: str
    images: Images
    latent_dim: int
    batch_size: int
    variants: tuple[str, ...]
    """Of `VARIANTS`; the others are reported as left out."""
    rounds: int
    steps: int
    """Of each variant in each round."""
    trials: tuple[int, ...]
    """Numbers of trials that are trained at a time."""
    packed_steps: int
    """Of each of them."""
    epochs: int
    """Of the whole trial."""


def missing() -> str | None:
    """Return why the full measurement cannot run here; None if it can."""
    if torch.cuda.is_available():
        return None
    built = torch.version.cuda
    reason = "it was built without CUDA" if built is None else f"CUDA {built} finds no device"
    return f"torch {torch.__version__} has no GPU here: {reason}"


def measure(size: Size) -> Figures:
    """Check that training is right on the device, then time variants, packing, and one trial."""
    device = training.resolve_device(size.device)
    training.prepare_process()
    dataset = data.load(
        size.images.dataset, cache_dir=cache_dir(), train_limit=size.images.train_limit
    )
    images = training.place(dataset, device)
    settings: TrainerSettings = {
        "latent_dim": size.latent_dim,
        "batch_size": size.batch_size,
    }
    checks = check(dataset, images, **settings)
    speeds, left_out = variant_speeds(
        images, names=size.variants, rounds=size.rounds, steps=size.steps, **settings
    )
    packed = {
        kind: {
            str(count): packed_seconds(
                kind, count, images=size.images, device=str(device), steps=size.packed_steps,
                **settings,
            )
            for count in size.trials
        }
        for kind in (IN_PROCESSES, IN_ONE_PROCESS)
    }  # fmt: skip
    started = time.perf_counter()
    whole = trainer(images, epochs=size.epochs, **settings)
    for pause in whole.pauses:
        last = whole.train_until(pause)
    whole.finish(last)
    return {
        "device": training.describe_device(device),
        "train_images": len(images.train),
        **settings,
        "checks": checks,
        "rounds": size.rounds,
        "steps": size.steps,
        "images_per_second": {name: spread(each) for name, each in speeds.items()},
        "left_out": left_out,
        "packed_steps": size.packed_steps,
        "packed_seconds": packed,
        "epochs": size.epochs,
        "trial_seconds": time.perf_counter() - started,
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    checks = figures["checks"]
    speeds = [[name, *cells(of, ",.0f")] for name, of in figures["images_per_second"].items()]
    packed = figures["packed_seconds"]
    gains = {kind: _gains(of) for kind, of in packed.items()}
    counts = list(packed[IN_PROCESSES])
    best = max(of[counts[-1]] for of in gains.values())
    left_out = "".join(
        f" Not measured: {name}: {why}." for name, why in figures["left_out"].items()
    )
    return paragraphs(
        f"{figures['device']}; d = {figures['latent_dim']}, batches of {figures['batch_size']}, "
        f"float32, {figures['train_images']:,} images.",
        f"Checks: first loss {checks['first_loss_gap']:.1e} and validation MSE after "
        f"{counted(checks['steps'], 'step')} {checks['val_mse_gap']:.1e} from the CPU's, relative; "
        f"the same training twice gives {checks['repeated']}; synchronisation inside an epoch: "
        f"{checks['synchronisation']}.",
        table(("variant", "images/s, median", "min to max"), speeds),
        f"{counted(figures['rounds'], 'round')} of {counted(figures['steps'], 'step')}.{left_out}",
        table(
            (
                "trials at a time",
                *(f"{kind}, s" for kind in packed),
                *(f"{kind}, gain" for kind in packed),
            ),
            [
                (
                    count,
                    *(f"{of[count]:.2f}" for of in packed.values()),
                    *(f"{gains[kind][count]:.2f}" for kind in packed),
                )
                for count in counts
            ],
        ),
        f"Each trial takes {counted(figures['packed_steps'], 'step')}; start-up is not in the "
        "time. The gain is over the same trials one after the other, by the first row.",
        verdict(
            f"a trial of {counted(figures['epochs'], 'epoch')}, all evaluation included,",
            figures["trial_seconds"], target=TARGET_TRIAL_SECONDS, unit="s",
        ),
        verdict(
            f"gain of {counts[-1]} trials", best, target=TARGET_PACKED, unit="×", at_least=True
        ),
    )  # fmt: skip


def _gains(seconds: dict[str, float]) -> dict[str, float]:
    count, alone = next(iter(seconds.items()))
    one = alone / int(count)
    return {count: int(count) * one / taken for count, taken in seconds.items()}


SMALLEST = Size(
    device="cpu", images=FEW_SHAPES, latent_dim=2, batch_size=64, variants=(EAGER, GRAPH), rounds=1,
    steps=1, trials=(1, 2), packed_steps=2, epochs=1,
)  # fmt: skip
BENCHMARK = Benchmark(
    name="gpu",
    title="Training on a GPU",
    about="Checks against the CPU, then the training loop as it is, with its forward and backward "
    "pass as a CUDA graph, and compiled, in turns; then several trials at a time, each in a "
    "process of its own or taking steps in turns in one process, each on a stream of its own. "
    "`python benchmarks/gpu.py` does all of it.",
    measure=measure,
    report=report,
    full=Size(
        device="cuda", images=MNIST, latent_dim=32, batch_size=128, variants=tuple(VARIANTS),
        rounds=5, steps=200, trials=(1, 4, 16), packed_steps=400, epochs=TRIAL_EPOCHS,
    ),
    smallest=SMALLEST,
    missing=missing,
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Measure; store the figures of a GPU and write the page. Return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/gpu.py", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--smallest", action="store_true", help="check that it runs; the figures mean nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, store none")
    options = parser.parse_args(words)
    if options.device == "cuda" and (reason := missing()) is not None:
        print(
            f"{reason}; run this where torch.cuda.is_available() is true, or check the code "
            "with: python benchmarks/gpu.py --device cpu --smallest",
            file=sys.stderr,
        )
        return EXIT_WITHOUT_GPU
    if options.device == "cuda" and not (options.json or options.smallest):
        from benchmarks import run_all  # noqa: PLC0415 - it imports this module

        return run_all.main(["gpu"])
    size = SMALLEST if options.smallest else BENCHMARK.full
    figures = measure(replace(size, device=options.device))
    print(json.dumps(figures) if options.json else report(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
