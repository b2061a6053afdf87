"""Trainer throughput on images that stay in their file, beside the same images in memory."""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ae_sweep import data, training
from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.data.file_map import open_map
from ae_sweep.records import DatasetCard
from ae_sweep.training.trainer import Trainer
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, counted, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = 0.9
CHUNK_IMAGES = 20_000
PARTS = {"train": 0, "val": 256, "test": 256}
"""Of each part, how many images; for training as many as the size says."""
KINDS = {"resident": None, "streamed": 1}
"""How many bytes the images may take; None for as many as fit."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: int
    """For training."""
    image_shape: tuple[int, int, int]
    latent_dim: int
    rounds: int
    """Of each kind, after one more that warms up and is not counted."""
    steps: int
    """Of each kind in each round."""


def measure(size: Size) -> Figures:
    """Time steps on resident and on streamed images in turns; then reading alone."""
    training.prepare_process()
    with tempfile.TemporaryDirectory(prefix="ae-sweep-streaming-") as directory:
        dataset = _images_in_files(size, Path(directory))
        placed = {
            kind: training.place(dataset, torch.device("cpu"), most_bytes=most)
            for kind, most in KINDS.items()
        }
        config = TrialConfig(
            latent_dim=size.latent_dim, hyperparameters=Hyperparameters(lr=GOOD_LR, epochs=1)
        )
        trainers = {kind: Trainer(config, images) for kind, images in placed.items()}
        steps = {
            kind: _rate(trainer.take_step, size.steps * trainer.batch_size, times=size.steps)
            for kind, trainer in trainers.items()
        }
        reads = {kind: _reading(images, size) for kind, images in placed.items()}
        return {
            "images": size.images,
            "image_bytes": size.images * int(np.prod(size.image_shape)),
            "latent_dim": size.latent_dim,
            "rounds": size.rounds,
            "steps": size.steps,
            "training": _in_turns(steps, size.rounds),
            "reading": _in_turns(reads, size.rounds),
        }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows = [
        (
            what,
            *(cell for kind in KINDS for cell in cells(figures[what][kind], ",.0f")),
            *cells(figures[what]["ratio"]),
        )
        for what in ("training", "reading")
    ]
    return paragraphs(
        f"{figures['images']:,} images, {figures['image_bytes'] / 1e6:,.0f} MB, latent dimension "
        f"{figures['latent_dim']}; {counted(figures['rounds'], 'round')} of "
        f"{counted(figures['steps'], 'step')}. Images per second of processor time:",
        table(
            ("", "resident", "range", "streamed", "range", "ratio", "range"),
            rows,
        ),
        verdict(
            "ratio in training",
            figures["training"]["ratio"]["median"],
            target=TARGET,
            unit="",
            at_least=True,
        ),
    )


def _images_in_files(size: Size, directory: Path) -> data.ImageDataset:
    """Write random images as own images lie in the cache, and map them."""
    random = np.random.default_rng(0)
    counts = PARTS | {"train": size.images}
    for part, count in counts.items():
        path = directory / f"{part}.npy"
        x_NCHW = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *size.image_shape))
        for begin in range(0, count, CHUNK_IMAGES):
            some_NCHW = x_NCHW[begin : begin + CHUNK_IMAGES]
            some_NCHW[...] = random.integers(0, 256, some_NCHW.shape, np.uint8)
        x_NCHW.flush()
    card = DatasetCard(
        name="random",
        digest="0" * 16,
        source="random numbers",
        train_images=counts["train"],
        val_images=counts["val"],
        test_images=counts["test"],
        image_shape=size.image_shape,
    )
    return data.ImageDataset(
        card=card,
        train_NCHW=open_map(directory / "train.npy"),
        val_NCHW=open_map(directory / "val.npy"),
        test_NCHW=open_map(directory / "test.npy"),
        train_labels_N=None,
        val_labels_N=None,
        test_labels_N=None,
    )


def _reading(images: training.DeviceImages, size: Size) -> Callable[[], float]:
    """Return a function that reads batches in random order and returns their rate."""
    batch = min(Hyperparameters.batch_size, len(images.train))
    order_N = torch.randperm(len(images.train), generator=torch.Generator().manual_seed(0))
    batches = itertools.chain.from_iterable(
        images.train.batches(batch, order_N=order_N) for _ in itertools.count()
    )
    # A single batch takes a fraction of a millisecond.
    times = 50 * size.steps
    return _rate(lambda: next(batches), times * batch, times=times)


def _rate(step: Callable[[], object], images: int, *, times: int) -> Callable[[], float]:
    def images_per_second() -> float:
        # Of all threads: the one that reads ahead is part of the cost.
        started = time.process_time()
        for _ in range(times):
            step()
        return images / (time.process_time() - started)

    return images_per_second


def _in_turns(measures: dict[str, Callable[[], float]], rounds: int) -> Figures:
    rates: dict[str, list[float]] = {kind: [] for kind in measures}
    for number in range(1 + rounds):
        for kind, measured in measures.items():
            rate = measured()
            if number:
                rates[kind].append(rate)
    ratios = [
        streamed / resident
        for streamed, resident in zip(rates["streamed"], rates["resident"], strict=True)
    ]
    return {**{kind: spread(values) for kind, values in rates.items()}, "ratio": spread(ratios)}


BENCHMARK = Benchmark(
    name="streaming",
    title="Images that stay in their file",
    about="Training steps on images that are read from their file batch by batch in random order, "
    "beside the same images in memory, in turns in one process. The file has just been written, so "
    "that it is in the system's cache if there is room for it: a cold disk is not measured.",
    measure=measure,
    report=report,
    full=Size(images=399_000, image_shape=(3, 32, 32), latent_dim=32, rounds=12, steps=4),
    smallest=Size(images=300, image_shape=(1, 8, 8), latent_dim=2, rounds=1, steps=1),
)

if __name__ == "__main__":
    BENCHMARK.main()
