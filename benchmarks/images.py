"""Images for the benchmarks that train, for the product and for the plain reference."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ae_sweep import data, training
from ae_sweep.config import Hyperparameters
from ae_sweep.data import generated
from ae_sweep.data.split import split
from ae_sweep.locations import cache_dir
from ae_sweep.runner.precision_cache import requested_precision

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Images:
    """What a benchmark trains on."""

    dataset: str
    """``mnist``, fetched where it is not on this machine yet, or ``shapes``, drawn on the spot."""
    train_limit: int | None = None
    """Train on this many images only; None takes all."""


MNIST = Images("mnist")
FEW_SHAPES = Images("shapes", train_limit=256)


def ready_to_train(images: Images) -> tuple[training.DeviceImages, training.Precision]:
    """Prepare this process for training on the CPU: images in place, precision calibrated."""
    training.prepare_process()
    device = torch.device("cpu")
    precision = requested_precision() or training.choose_precision(
        device, model="conv", image_shape=(1, 28, 28), batch_size=Hyperparameters.batch_size
    )
    dataset = data.load(images.dataset, cache_dir=cache_dir(), train_limit=images.train_limit)
    return training.place(dataset, device), precision


@contextlib.contextmanager
def torchvision_root(images: Images) -> Iterator[Path]:
    """Provide the directory from which torchvision's ``MNIST`` reads the images."""
    if images.dataset == "mnist":
        data.fetch("mnist", cache_dir=cache_dir())
        yield cache_dir()
        return
    with tempfile.TemporaryDirectory(prefix="ae-sweep-idx-") as directory:
        raw = Path(directory, "MNIST", "raw")
        raw.mkdir(parents=True)
        kinds = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        for kind, array in zip(kinds, generated.draw(), strict=True):
            header = struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape)
            (raw / f"{kind}-ubyte").write_bytes(header + array.tobytes())
        yield Path(directory)


def train_indices(images: Images) -> list[int]:
    """Return which of the data set's training images the product trains on."""
    count = 60_000 if images.dataset == "mnist" else generated.TRAIN_IMAGES
    train, _ = split(count, train_limit=images.train_limit)
    return [int(index) for index in np.sort(train)]
