"""Hyperparameters of tests, for helpers that must not import Optuna or torch."""

from __future__ import annotations

from typing import Any

from ae_sweep.config import PARAMETERS, Hyperparameters


def with_hyperparameters(fields: dict[str, Any]) -> dict[str, Any]:
    """Gather the fields that are hyperparameters, lr 0.004 and 2 epochs if left out, in one."""
    chosen = {"lr": 4e-3, "epochs": 2}
    chosen |= {key: value for key, value in fields.items() if key in PARAMETERS}
    others = {key: value for key, value in fields.items() if key not in PARAMETERS}
    return others | {"hyperparameters": Hyperparameters(**chosen)}
