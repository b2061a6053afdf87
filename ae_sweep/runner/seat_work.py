"""What a seat of a cluster does on its node: it describes itself, measures and trains."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep import training
from ae_sweep.cluster.seat import node_name
from ae_sweep.errors import DataError, DeviceError
from ae_sweep.runner.worker_process import Probe, WorkerSpec, measure, place_images

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep import data
    from ae_sweep.config import TrialConfig
    from ae_sweep.models import ImageShape
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.sweep import Train, Work


@dataclass(frozen=True, kw_only=True)
class SeatFacts:
    """What a seat says of itself before it has images."""

    device: str
    """As torch has it."""
    hardware: str
    """What its speed and rounding depend on, but threads."""
    memory_bytes: int
    """Of the device."""
    parameters: dict[str, str | int]
    """Run parameters of its trials: node, device, threads."""


@dataclass(frozen=True)
class Describe:
    """The job to say what the seat is."""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """The job to choose a precision."""

    model: str
    image_shape: ImageShape
    batch_size: int


def open_bare(device_name: str, gpus: float, threads: int) -> Work:
    """Set a seat up for jobs that need no images.

    Raises
    ------
    DeviceError
        If the node does not have the device.
    """
    training.use_threads(threads)
    training.prepare_process()
    return partial(_answer, seat_device(device_name, gpus), threads)


def seat_device(name: str, gpus: float) -> str:
    """Return the name of the device of a seat that was given a share of a GPU, or none.

    Raises
    ------
    DeviceError
        If Ray counts a GPU that torch cannot use: nothing else trains in its place.
    """
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    try:
        return str(training.resolve_device(name))
    except DeviceError as error:
        raise DeviceError(f"on the node {node_name()}: {error}") from error


def open_seat(
    spec: WorkerSpec, gpus: float, pixels_sha256: str, dataset: data.ImageDataset | None = None
) -> Work:
    """Set a seat up for training and measuring.

    Parameters
    ----------
    gpus
        Share of a GPU that the seat was given.
    pixels_sha256
        What `hash_pixels` returned where the images come from.
    dataset
        The images that were sent; None loads them on the node.

    Raises
    ------
    DataError
        If the images are not those of the sweep.
    DeviceError
        If the node lacks the device, or cannot compute in the sweep's precision.
    """
    spec = dataclasses.replace(spec, device=seat_device(spec.device, gpus))
    node = node_name()
    why = training.why_no_bf16(training.resolve_device(spec.device))
    if spec.precision.name == "bf16" and why is not None:
        raise DeviceError(
            f"the node {node} cannot train in {spec.precision.name}, as the sweep does: {why}; "
            "take it out of the cluster, or run the sweep on nodes like it"
        )
    if dataset is not None and hash_pixels(dataset) != pixels_sha256:
        raise DataError(f"the images that reached the node {node} are not those that were sent")
    images = place_images(spec, dataset)
    train = partial(training.train, images=images, precision=spec.precision)
    return partial(_carry_out, spec, images, train, _parameters(spec.device, spec.threads))


def hash_pixels(dataset: data.ImageDataset) -> str:
    """Return the SHA-256 of all pixels, whatever arrays hold them."""
    digest = hashlib.sha256()
    for part_NCHW in (dataset.train_NCHW, dataset.val_NCHW, dataset.test_NCHW):
        digest.update(np.ascontiguousarray(part_NCHW).data)
    return digest.hexdigest()


def _answer(
    device_name: str, threads: int, job: Describe | Calibrate
) -> Generator[None, None, SeatFacts | training.Precision]:
    yield from ()
    device = training.resolve_device(device_name)
    if isinstance(job, Calibrate):
        return training.choose_precision(
            device, model=job.model, image_shape=job.image_shape, batch_size=job.batch_size
        )
    return SeatFacts(
        device=device_name,
        hardware=training.hardware(device),
        memory_bytes=training.memory_bytes(device),
        parameters=_parameters(device_name, threads),
    )


def _parameters(device: str, threads: int) -> dict[str, str | int]:
    return {
        "node": node_name(),
        "device": device,
        "device_name": training.describe_device(device, threads=threads),
        "threads": threads,
        "kernels": training.kernels_version(device),
        "node_torch_version": training.torch_version(),
    }


def _carry_out(
    spec: WorkerSpec,
    images: training.DeviceImages,
    train: Train,
    parameters: dict[str, str | int],
    job: Probe | TrialConfig,
) -> Generator[Any, None, Any]:
    if isinstance(job, Probe):
        return (yield from measure(spec, images, job))
    return (yield from _trained(train, parameters, job))


def _trained(
    train: Train, parameters: dict[str, str | int], config: TrialConfig
) -> Generator[EpochResult, None, TrialResult]:
    """Train, and say with each result where it comes from."""
    steps = train(config)
    try:
        while True:
            try:
                result = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield dataclasses.replace(result, seat=parameters)
    finally:
        steps.close()
