"""What a worker process is given, and its set-up for training or for measuring speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import data, training
from ae_sweep.errors import DataError, DeviceError
from ae_sweep.isolation import KERNELS_VARIABLE, leave_kernels_out
from ae_sweep.locations import cache_dir

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ae_sweep.config import ImageOptions, TrialConfig
    from ae_sweep.sweep import Train, Work


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a process needs to train the trials of a sweep; it loads the images itself."""

    dataset: str
    digest: str
    """Of the data set as the parent found it."""
    options: ImageOptions
    """How own images are converted."""
    train_limit: int | None
    cache_dir: Path | None
    """None is the user cache of where the process runs."""
    data_dir: Path | None
    device: str
    precision: training.Precision
    threads: int
    kernels: str | None = None
    """Version of the kernels that it has to use, ``none`` for torch's functions; None leaves it to
    the machine."""
    image_memory: int | None = None
    """Bytes of memory that the images may take; None decides by what there is."""
    checkpoints: training.Checkpoints | None = None
    """Where unfinished trials are saved; None saves none."""


@dataclass(frozen=True)
class Probe:
    """A measurement to be made."""

    config: TrialConfig
    """Whose steps are timed."""
    threads: int


def open_training(spec: WorkerSpec) -> Train:
    """Set a process up for training: images on the device, threads, memory.

    Raises
    ------
    DataError
        If the data set is not what it was.
    """
    return partial(
        training.train,
        images=place_images(spec),
        precision=spec.precision,
        checkpoints=spec.checkpoints,
    )


def open_probe(spec: WorkerSpec) -> Work:
    """Set a process up for measuring, as for training; a job is a ``Probe``."""
    return partial(measure, spec, place_images(spec))


def measure(
    spec: WorkerSpec, images: training.DeviceImages, probe: Probe
) -> Generator[None, None, training.Speed]:
    """Time a few steps, at the same time as all others that measure."""
    training.use_threads(probe.threads)
    yield  # until all that measure at once are here
    return training.measure_speed(probe.config, images, precision=spec.precision)


def place_images(
    spec: WorkerSpec, dataset: data.ImageDataset | None = None
) -> training.DeviceImages:
    """Prepare this process, and bring the images to its device.

    Parameters
    ----------
    dataset
        The images, if they are here already; None loads them.

    Raises
    ------
    DataError
        If they are not what they were when the sweep began.
    DeviceError
        If this process cannot use the kernels that the sweep uses.
    """
    training.use_threads(spec.threads)
    _prepare_process(spec)
    if dataset is None:
        dataset = data.load(
            spec.dataset,
            options=spec.options,
            cache_dir=spec.cache_dir or cache_dir(),
            data_dir=spec.data_dir,
            train_limit=spec.train_limit,
        )
    if dataset.card.digest != spec.digest:
        raise DataError(
            f"the data set {spec.dataset} has changed since the sweep began: its digest is "
            f"{dataset.card.digest}, not {spec.digest}"
        )
    return training.place(
        dataset, training.resolve_device(spec.device), most_bytes=spec.image_memory
    )


def _prepare_process(spec: WorkerSpec) -> None:
    if spec.kernels == "none":
        leave_kernels_out()
    training.prepare_process()
    kernels = training.kernels_on(training.resolve_device(spec.device))
    if kernels is not None and spec.kernels not in (None, kernels.version):
        if kernels.used:
            raise DeviceError("it has other kernels than the sweep; --resume goes on with these")
        raise DeviceError(
            f"it cannot use the kernels that the sweep uses: {kernels.what}; with "
            f"{KERNELS_VARIABLE}=off the sweep trains without"
        )
