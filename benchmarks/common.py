"""What the benchmarks share: the images, the machine in words, medians with their spread."""

from __future__ import annotations

import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
import torch

from ae_sweep import data, training
from ae_sweep.config import Hyperparameters
from ae_sweep.data.split import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.data import ImageDataset


def mnist() -> ImageDataset:
    """Load MNIST, fetched where it is not here yet."""
    return data.load("mnist", cache_dir=platformdirs.user_cache_path("ae-sweep"))


def ready_to_train() -> tuple[training.DeviceImages, training.Precision]:
    """Set this process up for trainings on the CPU: MNIST in place, the precision calibrated."""
    training.prepare_process()
    device = torch.device("cpu")
    precision = training.choose_precision(
        device, model="conv", image_shape=(1, 28, 28), batch_size=Hyperparameters.batch_size
    )
    return training.place(mnist(), device), precision


def mnist_root() -> Path:
    """Tell the directory that torchvision's ``MNIST`` takes."""
    mnist()
    return platformdirs.user_cache_path("ae-sweep")


def train_indices() -> list[int]:
    """Tell which of the 60,000 training images the product trains on."""
    train, _ = split(60_000)
    return [int(index) for index in np.sort(train)]


def machine() -> dict[str, str | int]:
    """Describe what a measurement was made on."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "mlflow", "optuna", "ae-sweep")},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise measurements: median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
