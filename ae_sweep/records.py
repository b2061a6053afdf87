"""Records that pass between the rooms: plain values without behaviour."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ae_sweep.config import Condition, Hyperparameters, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

QUARTERS = 4
"""A schedule's parts: trials validate at the end of each, and are compared there."""
RATE_BITS = "bits"
"""Among the measures of a rate: bits per image, of models whose code has such a number."""
RATE_MSE = "mse"
"""Among the measures of a rate: the test MSE of what those bits carry."""


class Outcome(StrEnum):
    """How a trial ended."""

    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Role(StrEnum):
    """Why a trial was trained."""

    SEARCH = "search"
    """Suggested by a study."""
    REPEAT = "repeat"
    """The best configuration of a dim once more, with another seed."""


@dataclass(frozen=True, kw_only=True)
class TrialIdentity:
    """What identifies a trial's work: equal points are the same training."""

    dataset_digest: str
    model: str
    latent_dim: int
    hyperparameters: Hyperparameters
    seed: int
    recipe: str

    @property
    def condition(self) -> Condition:
        """What its study measures."""
        return Condition(self.latent_dim, self.model)

    @property
    def key(self) -> str:
        """16 hexadecimal digits, equal for equal points in every process."""
        return digest(self.as_flat_dict())

    def as_flat_dict(self) -> dict[str, str | int | float]:
        """Return the fields by name, and those of the hyperparameters that are not default."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        fields.pop("hyperparameters")
        return fields | self.hyperparameters.written()


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What is written of a data set where it is used."""

    name: str
    digest: str
    """Hash of the pixels used and of how they are split."""
    source: str
    """Where the files were found."""
    train_images: int
    val_images: int
    test_images: int
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    leaks: int = 0
    """Validation images that equal a training image, and test images that equal one of either."""
    classes: int = 0
    """0 where the images have no labels."""

    @property
    def pixels(self) -> int:
        """Numbers in one image."""
        channels, height, width = self.image_shape
        return channels * height * width


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What is known when a training pauses to validate: after each epoch and each quarter."""

    epoch: float
    """Epochs trained so far; a fraction where a quarter of the schedule ends inside an epoch."""
    step: int
    """Optimiser steps taken so far."""
    quarter: int | None
    """1 to 4 where this is the end of a quarter of the schedule, else None."""
    train_mse: float
    """Mean squared error per number of the batches since the last result, as they were
    trained."""
    val_mse: float
    """Mean squared error per number of the validation images."""
    val_psnr: float | None
    """In dB; None for a perfect reconstruction."""
    images_per_second: float
    """Training images since the last result per second, validation not counted."""
    epoch_seconds: float
    """Seconds per epoch at that speed."""
    val_penalty: float = 0.0
    """What the model's training objective adds to ``val_mse``, on the validation images."""
    restored: bool = False
    """Whether it was measured before an interruption and is handed over once more, since the trial
    goes on from a checkpoint."""
    note: str = ""
    """What the user should read about the trial's checkpoint: that the trial goes on from it, that
    it is of no use, or that it could not be written."""
    seat: Mapping[str, str | int] = field(default_factory=dict)
    """Run parameters that are known only where it was measured: node, device, threads of a seat of
    a cluster. Empty where all trials have them in common."""

    @property
    def val_objective(self) -> float:
        """What trials are compared by."""
        return self.val_mse + self.val_penalty


@dataclass(frozen=True, kw_only=True)
class Reconstructions:
    """Some test images and what a model made of them, as raw bytes in N×C×H×W order."""

    shape: tuple[int, int, int, int]
    originals: bytes
    reconstructions: bytes


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a finished training hands over."""

    val_mse: float
    """Mean squared error per number of the validation images."""
    test_mse: float
    """Mean squared error per number of the test images: what is reported."""
    test_psnr: float | None
    """10·log10(1 / test_mse) in dB; None for a perfect reconstruction."""
    compression_ratio: float
    """Pixels of an image / latent_dim. No bit rate: a latent is a float32."""
    parameters: int
    """Weights and biases of the model, those that are frozen included."""
    train_seconds: float
    step: int
    """Optimiser steps taken in all."""
    pictures: Reconstructions
    weights: bytes
    """The model as a safetensors file, its architecture in the metadata."""
    val_penalty: float = 0.0
    """What the model's training objective adds to ``val_mse``, on the validation images."""
    rate: Mapping[str, float] = field(default_factory=dict)
    """What the code of the test images costs, in the words of the model; see `RATE_BITS`."""

    @property
    def val_objective(self) -> float:
        """What trials are chosen by."""
        return self.val_mse + self.val_penalty


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial as read from the tracking store."""

    run_id: str
    sweep: str
    name: str
    point: TrialIdentity
    role: Role
    outcome: Outcome
    pixels: int
    """Numbers in one image of its data set: pixels times channels."""
    compression_ratio: float
    """``pixels`` / latent_dim."""
    channels: int = 1
    """Of its images: 1 is grey, 3 is colour."""
    val_mse: float | None = None
    """None unless the trial validated at least once."""
    test_mse: float | None = None
    """None unless the trial finished."""
    test_psnr: float | None = None
    """None unless the trial finished, and for a perfect reconstruction."""
    train_seconds: float | None = None
    val_penalty: float = 0.0
    """What the model's training objective adds to ``val_mse``."""
    rate: Mapping[str, float] = field(default_factory=dict)
    """What the code of the test images costs; see `RATE_BITS`."""

    @property
    def val_objective(self) -> float | None:
        """What trials are chosen by; None unless the trial validated at least once."""
        return None if self.val_mse is None else self.val_mse + self.val_penalty


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """One sweep as read from the tracking store."""

    run_id: str
    experiment_id: str
    name: str
    outcome: Outcome
    started_ms: int
    """Milliseconds since the epoch."""
    config: dict[str, str]
    """The parameters of the sweep, as texts."""
    dataset_digest: str
    counts: dict[Outcome, int]
    """Trials by how they ended."""
    linear_mse: dict[int, float] = field(default_factory=dict)
    """Test MSE of principal components by their number; empty where it was not measured."""


class Status(StrEnum):
    """What a check of this machine or of a store means for a sweep."""

    OK = "ok"
    WARN = "warn"
    """A sweep runs, with less than could be had."""
    STOP = "stop"
    """A sweep would not run, or would lose results."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    """What was checked, in a word or two."""
    status: Status
    what: str
    """In words, with the values."""
    remedy: str = ""
    """What to do next; empty where nothing is to be done."""
