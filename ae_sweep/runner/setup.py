"""Set-up shared by all trials of a sweep: device, images, precision, memory check."""

from __future__ import annotations

import dataclasses
import functools
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import data, models, training
from ae_sweep.config import (
    IMAGE_OPTIONS,
    PARAMETERS,
    Hyperparameters,
    ImageOptions,
    TrialConfig,
    bounds,
)
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.isolation import asked_kernels
from ae_sweep.locations import cache_dir
from ae_sweep.runner.place import ThisMachine
from ae_sweep.runner.precision_cache import remembered_precision, setting_of
from ae_sweep.runner.schedule import with_schedule, within_images
from ae_sweep.runner.worker_process import WorkerSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard
    from ae_sweep.runner.place import Place


@dataclass(frozen=True, kw_only=True)
class SweepSetup:
    """What every trial of a sweep shares."""

    config: SweepConfig
    dataset: data.ImageDataset
    data_dir: Path | None
    devices: tuple[str, ...]
    """The first one trains; several workers are dealt out over all of them."""
    precision: training.Precision
    most_workers: int
    """For how many there is memory."""
    chosen: frozenset[str] = frozenset()
    """Hyperparameters whose values were chosen by the number of images."""
    image_memory: int | None = None
    """Bytes of memory that the images may take in a process; None decides by what there is."""
    checkpoints: training.Checkpoints | None = None
    """Where unfinished trials are saved; None saves none."""
    seat: Mapping[str, str | int] = field(default_factory=dict)
    """What a seat of a cluster says of itself, for the plan: node, device, threads. Empty where
    this machine trains."""

    @property
    def card(self) -> DatasetCard:
        """The description of the data set."""
        return self.dataset.card

    @property
    def on_cpu(self) -> bool:
        """Whether the processor trains."""
        return self.devices == ("cpu",)

    @functools.cached_property
    def images(self) -> training.DeviceImages:
        """The images on the first device, for trainings in this process."""
        return training.place(
            self.dataset,
            training.resolve_device(self.devices[0]),
            most_bytes=self.image_memory,
        )

    def saved_in(self, directory: Path) -> SweepSetup:
        """Return a setup whose unfinished trials are saved in a sweep's directory."""
        checkpoints = training.Checkpoints(
            folder=directory / "checkpoints",
            dataset_digest=self.card.digest,
            recipe=training.recipe_name(self.config),
        )
        return dataclasses.replace(self, checkpoints=checkpoints)

    def identity(self) -> dict[str, str]:
        """Return the settings that may not change when the sweep is resumed."""
        return self.config.identity() | {
            "recipe": training.recipe_name(self.config),
            "dataset_digest": self.card.digest,
        }

    def parameters(self) -> dict[str, str | int | float]:
        """Return the run parameters that the setup decides: batch size, precision, method."""
        return {
            # Of trials whose batch size is at its default; another is a hyperparameter of its own.
            "batch_size": min(PARAMETERS["batch_size"].default, self.card.train_images),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
            "method": self.config.method,
        }

    def speed(self, dim: int) -> training.Speed:
        """Time a few training steps in this process."""
        return training.measure_speed(self.timed_config(dim), self.images, precision=self.precision)

    def timed_config(self, dim: int) -> TrialConfig:
        """Return the training whose steps are timed for a dim.

        It has the smallest batch size of the sweep, with which an epoch takes longest, and the last
        of its models: models of a sweep differ in settings alone.
        """
        smallest = int(min(bounds(self.config.space["batch_size"])))
        return TrialConfig(
            latent_dim=dim,
            hyperparameters=Hyperparameters(lr=1e-3, epochs=1, batch_size=smallest),
            model=self.config.models[-1],
            recipe=self.config.recipe,
        )

    def worker_spec(self, number: int, *, threads: int) -> WorkerSpec:
        """Return all that a worker process needs.

        Parameters
        ----------
        number
            Of the process, from 0: they are dealt out over the devices in turn.
        """
        return WorkerSpec(
            dataset=self.config.dataset,
            digest=self.card.digest,
            options=self.config.images,
            train_limit=self.config.train_limit,
            cache_dir=cache_dir(),
            data_dir=self.data_dir,
            device=self.devices[number % len(self.devices)],
            precision=self.precision,
            threads=threads,
            kernels=training.kernels_version(self.devices[0]),
            image_memory=self.image_memory,
            checkpoints=self.checkpoints,
        )


def prepare(
    config: SweepConfig,
    *,
    data_dir: Path | None,
    device_name: str,
    announce: Callable[[str], None],
    workers: int | None = 1,
    unsettled: frozenset[str] = frozenset(),
    image_memory: int | None = None,
    place: Place | None = None,
) -> SweepSetup:
    """Find the device, load the images and choose the precision.

    Parameters
    ----------
    announce
        Called with a line on each download and measurement.
    workers
        How many are wanted; None leaves the number open.
    unsettled
        Hyperparameters to choose by the number of images.
    image_memory
        Bytes of memory that the images may take in a process; None decides by what there is.
    place
        Where trainings run; None is this machine.

    Raises
    ------
    ConfigError
        If a name is unknown, or a dim needs more memory than the device has.
    DeviceError, DataError
        If the device or the data set is not available.
    """
    place = place or ThisMachine(device_name, workers)
    for model in config.models:
        models.check_name(model)
    dataset = data.load(
        config.dataset,
        options=config.images,
        cache_dir=cache_dir(),
        data_dir=data_dir,
        train_limit=config.train_limit,
        announce=announce,
    )
    config = with_schedule(config, chosen=unsettled, train_images=dataset.card.train_images)
    config = within_images(config, chosen=unsettled, numbers=dataset.card.pixels)
    most_workers = place.most_workers(config, dataset.card, image_memory=image_memory)
    if config.method == "nested":
        models.check_nested(config.model, dims=config.dims, image_shape=dataset.card.image_shape)
    training.prepare_process()
    if isinstance(place, ThisMachine):
        _announce_missing_kernels(place.devices[0], announce)
    precision = _precision(config, place, dataset.card, announce=announce)
    return SweepSetup(
        config=config,
        dataset=dataset,
        data_dir=data_dir,
        devices=place.devices,
        precision=precision,
        most_workers=most_workers,
        chosen=unsettled - {"dims"},
        image_memory=image_memory,
        seat=place.parameters,
    )


def with_stored_options(setup: SweepSetup, stored: Mapping[str, str]) -> SweepSetup:
    """Return a setup with a stored sweep's options of own images, if they give the same pixels.

    An option that changes nothing is not worth storing. The images lie where they lay, so that
    they are prepared with those options already.
    """
    texts = {name: stored[name] for name in IMAGE_OPTIONS if name in stored}
    try:
        options = ImageOptions.from_texts(texts)
        dataset = data.load(
            setup.config.dataset,
            options=options,
            cache_dir=cache_dir(),
            train_limit=setup.config.train_limit,
        )
    except (ConfigError, DataError):  # they no longer do; those that are given do
        return setup
    if dataset.card.digest != setup.card.digest:
        return setup
    config = dataclasses.replace(setup.config, images=options)
    return dataclasses.replace(setup, config=config, dataset=dataset)


def _announce_missing_kernels(device: str, announce: Callable[[str], None]) -> None:
    kernels = training.kernels_on(training.resolve_device(device))
    can_be_had = sys.platform == "linux" and asked_kernels() != "off"
    if kernels is not None and not kernels.used and can_be_had:
        announce(f"training with torch's kernels, which takes longer: {kernels.what}")


def _precision(
    config: SweepConfig,
    place: Place,
    card: DatasetCard,
    *,
    announce: Callable[[str], None],
) -> training.Precision:
    """Return the precision that is right at the ends of the batch sizes; float32 if one wants it.

    A product of matrices may be wrong or slow at one size and not at another.
    """
    for batch_size in sorted(set(bounds(config.space["batch_size"]))):
        precision = remembered_precision(
            setting_of(place.hardware, config.model, card.image_shape, batch_size),
            partial(
                place.choose_precision,
                model=config.model,
                image_shape=card.image_shape,
                batch_size=batch_size,
            ),
            cache=cache_dir(),
            announce=announce,
        )
        if precision.name == "fp32":
            break
    return precision
