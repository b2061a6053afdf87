"""Suggestions are those of version 0.1.0: a sweep that it began goes on as it would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from fakes import golden, sweep_config

from ae_sweep.config import Choices, Range, SearchSpace
from ae_sweep.sweep import open_studies, studies

if TYPE_CHECKING:
    from pathlib import Path

SPACES = {
    "ranges": SearchSpace(lr=Range(1e-3, 1e-2), epochs=Range(1, 2)),
    "wide": SearchSpace(lr=Range(1e-4, 1e-1), epochs=Range(2, 9)),
    "choices": SearchSpace(lr=Choices((1e-3, 4e-3, 1e-2)), epochs=Choices((2, 4, 8))),
    "fixed epochs": SearchSpace(lr=Range(1e-4, 1e-1), epochs=Choices((2,))),
}


def suggestions(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[dict[str, Any]]:
    """Fill the slots of a study; the parameters are what Optuna stores of each."""
    storage = optuna.storages.InMemoryStorage()
    monkeypatch.setattr(studies, "open_storage", lambda _path: storage)
    config = sweep_config(dims=(4,), trials=14, seed=3, **changes)
    (study,) = open_studies(None, config, identity={})  # type: ignore[arg-type]
    asked = []
    for slot in study.open_slots():
        ask = study.ask(slot)
        params = ask.trial.params
        asked.append(params)
        study.complete(ask, val_objective=abs(params["lr"] - 4e-3) + 1 / params["epochs"])
    return asked


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_suggestions_are_the_golden_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sampler: str
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {"choices": SPACES["choices"]} if sampler == "grid" else SPACES
    suggested = {
        name: suggestions(monkeypatch, sampler=sampler, space=space)
        for name, space in spaces.items()
    }
    expected = golden(f"suggestions_{sampler}.json", suggested)
    assert suggested.keys() == expected.keys()
    for name, rows in suggested.items():
        assert len(rows) == len(expected[name])
        for row, known in zip(rows, expected[name], strict=True):
            assert row.keys() == known.keys()
            assert row == pytest.approx(known, rel=1e-9)
