"""What a worker process is given, and its set-up for training or for measuring speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import data, training
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ae_sweep.config import ImageOptions
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
    cache_dir: Path
    data_dir: Path | None
    batch_size: int
    """At which the speed is measured."""
    model: str
    """Whose speed is measured."""
    device: str
    precision: training.Precision
    threads: int
    image_memory: int | None = None
    """Bytes of memory that the images may take; None decides by what there is."""
    checkpoints: training.Checkpoints | None = None
    """Where unfinished trials are saved; None saves none."""


@dataclass(frozen=True)
class Probe:
    """A measurement to be made."""

    latent_dim: int
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
        images=_images(spec),
        precision=spec.precision,
        checkpoints=spec.checkpoints,
    )


def open_probe(spec: WorkerSpec) -> Work:
    """Set a process up for measuring, as for training; a job is a ``Probe``."""
    return partial(_measure, spec, _images(spec))


def _measure(
    spec: WorkerSpec, images: training.DeviceImages, probe: Probe
) -> Generator[None, None, training.Speed]:
    training.use_threads(probe.threads)
    yield  # until all that measure at once are here
    return training.measure_speed(
        probe.latent_dim,
        images,
        model=spec.model,
        precision=spec.precision,
        batch_size=spec.batch_size,
    )


def _images(spec: WorkerSpec) -> training.DeviceImages:
    training.use_threads(spec.threads)
    training.prepare_process()
    dataset = data.load(
        spec.dataset,
        options=spec.options,
        cache_dir=spec.cache_dir,
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
