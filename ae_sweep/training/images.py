"""Images as the trainer uses them: on the device, as bytes until a batch is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ae_sweep.analysis import evenly_spaced
from ae_sweep.training.failures import environment_errors

if TYPE_CHECKING:
    from ae_sweep.data import ImageDataset
    from ae_sweep.models import ImageShape
    from ae_sweep.records import DatasetCard

PICTURES_PER_CLASS = 2
MOST_PICTURES = 20


@dataclass(frozen=True, kw_only=True)
class DeviceImages:
    """A data set's images, uint8 N×C×H×W, on the device that trains."""

    train_NCHW: Tensor
    val_NCHW: Tensor
    test_NCHW: Tensor
    pictures_NCHW: Tensor
    """The few test images whose reconstruction is shown."""
    card: DatasetCard

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.train_NCHW.device

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height, width."""
        return self.card.image_shape


@environment_errors()
def place(dataset: ImageDataset, device: torch.device) -> DeviceImages:
    """Copy a data set to the device, once for all trials.

    The labels choose which test images are shown, two of each class if there are few; they are not
    used otherwise.

    Raises
    ------
    TrainingFailedError
        If there is not enough memory for them.
    DeviceLostError
        If the GPU fails.
    """
    shown = _shown(dataset)
    return DeviceImages(
        train_NCHW=_to_device(dataset.train_NCHW, device),
        val_NCHW=_to_device(dataset.val_NCHW, device),
        test_NCHW=_to_device(dataset.test_NCHW, device),
        pictures_NCHW=_to_device(dataset.test_NCHW[shown], device),
        card=dataset.card,
    )


def as_floats(x_BCHW: Tensor) -> Tensor:
    """Turn bytes into numbers in [0, 1], in the memory layout convolutions are fastest with."""
    return x_BCHW.float().div_(255).contiguous(memory_format=torch.channels_last)


def as_bytes(x_BCHW: Tensor) -> Tensor:
    """Turn numbers in [0, 1] into the nearest bytes."""
    return x_BCHW.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _to_device(x_NCHW: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    return torch.tensor(x_NCHW, device=device)  # a copy, also of an array that is read-only


def _shown(dataset: ImageDataset) -> np.ndarray[Any, Any]:
    """Return the numbers of the images to show: of few classes two each, else evenly spaced."""
    labels_N = dataset.test_labels_N
    if labels_N is None or len(set(labels_N)) * PICTURES_PER_CLASS > MOST_PICTURES:
        return evenly_spaced(len(dataset.test_NCHW), count=MOST_PICTURES)
    return _picture_indices(labels_N)


def _picture_indices(labels_N: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    firsts = [np.flatnonzero(labels_N == label)[:PICTURES_PER_CLASS] for label in set(labels_N)]
    return np.concatenate(sorted(firsts, key=lambda indices: labels_N[indices[0]]))
