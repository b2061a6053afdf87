"""Trials as rows of plain values, from which tables are made."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ae_sweep.config import PARAMETERS
from ae_sweep.records import RATE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ae_sweep.records import TrialRecord

TRIAL_MEASURES = (
    "val_mse", "val_objective", "test_mse", "test_psnr", "train_seconds", "rate_bits",
)  # fmt: skip
"""Numbers that a trial has if it got so far."""
TRIAL_KEYS = (
    "name", "outcome", "role", "model", "latent_dim", *PARAMETERS, "seed", *TRIAL_MEASURES,
    "run_id",
)  # fmt: skip


def trial_rows(trials: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """Return trials as rows with the keys `TRIAL_KEYS`; what was not measured is None."""
    return [_row(trial) for trial in trials]


def _row(trial: TrialRecord) -> dict[str, Any]:
    measured = {key: getattr(trial, key) for key in TRIAL_MEASURES if key != "rate_bits"}
    values = {
        "name": trial.name,
        "outcome": str(trial.outcome),
        "role": str(trial.role),
        **{key: getattr(trial.point, key) for key in ("model", "latent_dim", "seed")},
        **dataclasses.asdict(trial.point.hyperparameters),
        **measured,
        "rate_bits": trial.rate.get(RATE_BITS),
        "run_id": trial.run_id,
    }
    return {key: values[key] for key in TRIAL_KEYS}
