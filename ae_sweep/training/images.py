"""Images as the trainer uses them: bytes until a batch is made, as near the device as they fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ae_sweep.training.device import memory_bytes
from ae_sweep.training.failures import environment_errors
from ae_sweep.training.image_rows import (
    ArrayRows,
    FileRows,
    ImageRows,
    ResidentRows,
    StreamedRows,
    source_of,
)

if TYPE_CHECKING:
    from ae_sweep.data import ImageDataset
    from ae_sweep.models import ImageShape
    from ae_sweep.records import DatasetCard

    Array: TypeAlias = np.ndarray[Any, Any]

PICTURES_PER_CLASS = 2
MAX_PICTURES = 20

Place = Literal["device", "host", "disk"]
"""Where a data set's images stay: in the device's memory, in the host's, or where they are."""


@dataclass(frozen=True, kw_only=True)
class DeviceImages:
    """A data set's images for the device that trains."""

    train: ImageRows
    val: ImageRows
    test: ImageRows
    pictures_NCHW: Tensor
    """The few test images whose reconstruction is shown, on the device."""
    card: DatasetCard

    @property
    def device(self) -> torch.device:
        """Where their batches are."""
        return self.train.device

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height, width."""
        return self.card.image_shape


@environment_errors()
def place(
    dataset: ImageDataset, device: torch.device, *, most_bytes: int | None = None
) -> DeviceImages:
    """Bring a data set as near to the device as it fits, once for all trials.

    No number depends on where the images are. The labels choose which test images are shown; they
    are not used otherwise.

    Parameters
    ----------
    most_bytes
        Memory that the images may take; None decides by the memory there is.

    Raises
    ------
    DataError
        If a file of images cannot be read.
    TrainingFailedError
        If there is not enough memory for them.
    DeviceLostError
        If the GPU fails.
    """
    where = choose_place(dataset.card, device, most_bytes=most_bytes)
    shown = picture_indices(dataset.test_labels_N, images=dataset.card.test_images)
    pictures_NCHW = torch.from_numpy(np.array(dataset.test_NCHW[shown]))
    return DeviceImages(
        train=_rows(dataset.train_NCHW, device, where),
        val=_rows(dataset.val_NCHW, device, where),
        test=_rows(dataset.test_NCHW, device, where),
        pictures_NCHW=pictures_NCHW.to(device),
        card=dataset.card,
    )


def choose_place(card: DatasetCard, device: torch.device, *, most_bytes: int | None) -> Place:
    """Choose where a data set's images stay.

    That is the device if they take at most half of its memory (on a GPU, of what is free there),
    else the host if they take at most half of its memory, else the disk.
    """
    needed = image_bytes(card)
    limit = math.inf if most_bytes is None else most_bytes
    if needed <= min(limit, _available_bytes(device) / 2):
        return "device"
    if device.type == "cuda" and needed <= min(limit, memory_bytes(torch.device("cpu")) / 2):
        return "host"
    return "disk"


def image_bytes(card: DatasetCard) -> int:
    """Return the size of a data set's images."""
    return (card.train_images + card.val_images + card.test_images) * card.pixels


def as_floats(x_BCHW: Tensor) -> Tensor:
    """Turn bytes into numbers in [0, 1], in the memory layout convolutions are fastest with."""
    return x_BCHW.float().div_(255).contiguous(memory_format=torch.channels_last)


def as_bytes(x_BCHW: Tensor) -> Tensor:
    """Turn numbers in [0, 1] into the nearest bytes."""
    return x_BCHW.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def picture_indices(labels_N: Array | None, *, images: int) -> Array:
    """Choose the test images that are shown, at most 20.

    Up to ten classes, those are the first two of each. Of more classes, it is the first of each, or
    of 20 evenly spaced ones; without classes, 20 evenly spaced images.
    """
    if labels_N is None:
        return _spaced(np.arange(images))
    present = np.unique(labels_N)
    few = len(present) * PICTURES_PER_CLASS <= MAX_PICTURES
    each = PICTURES_PER_CLASS if few else 1
    return np.concatenate([np.flatnonzero(labels_N == label)[:each] for label in _spaced(present)])


def _spaced(values: Array) -> Array:
    """Return at most 20 values, evenly spaced, the first among them."""
    if len(values) <= MAX_PICTURES:
        return values
    return values[np.arange(MAX_PICTURES) * len(values) // MAX_PICTURES]


def _available_bytes(device: torch.device) -> int:
    """Return what is free on a GPU, and all that there is elsewhere."""
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return int(free)
    return memory_bytes(device)


def _rows(x_NCHW: Array, device: torch.device, where: Place) -> ImageRows:
    source = source_of(x_NCHW)
    if where == "device":
        return ResidentRows(_copied(source, x_NCHW).to(device))
    if where == "host" and isinstance(source, FileRows):
        source = ArrayRows(source.whole().numpy())
    return StreamedRows(source, device)


def _copied(source: ArrayRows | FileRows, x_NCHW: Array) -> Tensor:
    return source.whole() if isinstance(source, FileRows) else torch.from_numpy(x_NCHW.copy())
