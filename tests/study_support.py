"""Studies of one latent dim for tests, and the objective that they are asked to lower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes import sweep_config

from ae_sweep.sweep import ConditionStudy, open_studies

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import Hyperparameters
    from ae_sweep.sweep.study import Ask


def open_one(path: Path, **changes: Any) -> ConditionStudy:
    config = sweep_config(**{"dims": (2,)} | changes)
    (study,) = open_studies(path, config, identity=config.identity())
    return study


def error_of(ask: Ask) -> float:
    """Lowest at the highest lr and the most epochs, so that a model is drawn to the bounds."""
    return 1 / ask.params.lr + 1 / ask.params.epochs


def fill(study: ConditionStudy, *, error: Any = error_of) -> list[Hyperparameters]:
    """Train every open slot; tell what was suggested."""
    suggested = []
    for slot in study.open_slots():
        ask = study.ask(slot)
        study.complete(ask, val_objective=error(ask))
        suggested.append(ask.params)
    return suggested
