"""Where the trainings of a sweep run: this machine, or another kind of place."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from ae_sweep import training
from ae_sweep.runner.memory import most_workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.config import SweepConfig
    from ae_sweep.models import ImageShape
    from ae_sweep.records import DatasetCard


class Place(Protocol):
    """Where trainings run, as far as a sweep's setup depends on it."""

    @property
    def devices(self) -> tuple[str, ...]:
        """The first one trains; several workers are dealt out over all of them."""

    @property
    def hardware(self) -> str:
        """What speed and rounding of the first device depend on, but threads."""

    @property
    def parameters(self) -> Mapping[str, str | int]:
        """Run parameters of the place, where trials do not have them in common."""

    def choose_precision(
        self, *, model: str, image_shape: ImageShape, batch_size: int
    ) -> training.Precision:
        """Choose the precision by a calibration."""

    def most_workers(
        self, config: SweepConfig, card: DatasetCard, *, image_memory: int | None
    ) -> int:
        """Return for how many trials at a time there is memory.

        Raises
        ------
        ConfigError
            If there is not enough for what is asked for.
        """


class ThisMachine:
    """Place of trainings that is this machine.

    Parameters
    ----------
    device_name
        As the user names it.
    workers
        How many are wanted; None leaves the number open.

    Raises
    ------
    DeviceError
        If there is no such device.
    """

    parameters: Mapping[str, str | int] = MappingProxyType({})

    def __init__(self, device_name: str, workers: int | None) -> None:
        self._device = training.resolve_device(device_name)
        self._workers = workers
        self.devices = training.alike_devices(device_name, self._device)

    @property
    def hardware(self) -> str:
        """What speed and rounding of the first device depend on, but threads."""
        return training.hardware(self._device)

    def choose_precision(
        self, *, model: str, image_shape: ImageShape, batch_size: int
    ) -> training.Precision:
        """Choose the precision by a calibration in this process."""
        return training.choose_precision(
            self._device, model=model, image_shape=image_shape, batch_size=batch_size
        )

    def most_workers(
        self, config: SweepConfig, card: DatasetCard, *, image_memory: int | None
    ) -> int:
        """Return for how many processes there is memory.

        Raises
        ------
        ConfigError
            If a dim or a batch needs more memory than a device has, or more are wanted.
        """
        return most_workers(
            config, card, self.devices, wanted=self._workers, image_memory=image_memory
        )
