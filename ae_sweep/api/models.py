"""Loading of a trial's model from the tracking store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ae_sweep.config import Condition
    from ae_sweep.models import TrainedAutoencoder
    from ae_sweep.tracking import TrackingStore


class LoadedModel(NamedTuple):
    """A model and the identity of its file."""

    model: TrainedAutoencoder
    sha256: str
    """Of the file, hexadecimal."""


def load_model(
    runs: TrackingStore, run_id: str, *, expected: Condition | None = None
) -> LoadedModel:
    """Load the model of a finished trial, anew at each call.

    Parameters
    ----------
    expected
        The trial whose model is expected.

    Raises
    ------
    NotStoredError
        If the run has no model: it was deleted, or the trial has not finished.
    StoreError, DataError
        If it cannot be read, or is damaged or another than expected.
    """
    from ae_sweep import models

    with runs.model_file(run_id) as file:
        network = models.load(file, expected=expected)
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return LoadedModel(models.TrainedAutoencoder(network), sha256)


def model_sha256(runs: TrackingStore, run_id: str) -> str:
    """Return the SHA-256 of a trial's model file, hexadecimal, without loading it.

    Raises
    ------
    NotStoredError, StoreError
        See `load_model`.
    """
    with runs.model_file(run_id) as file, file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
