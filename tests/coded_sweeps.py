"""A small store with a sweep of every kind of model, for tests of measured rates."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import shared

import ae_sweep
from ae_sweep import inspection, training
from ae_sweep.runner import setup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SWEEPS: dict[str, dict[str, Any]] = {
    "conv": {"dims": (8,)},
    "mlp": {"dims": (8,)},
    "vae": {"dims": (4,)},
    "vqvae": {"dims": (4,), "codebook": 16},
    "fsq": {"dims": (4,), "codebook": 16},
    "ntc": {"dims": (4,)},
    "seeds": {"model": "mlp", "dims": (2, 6), "repeats": 1},
}
"""By name, which is that of the model unless another is given."""
SETTINGS: dict[str, Any] = {"dataset": "shapes", "train_limit": 512, "epochs": 1, "trials": 1}


def write(root: Path) -> None:
    speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:  # what is measured beforehand takes seconds
        patch.setattr(training, "measure_speed", lambda *_, **__: speed)
        patch.setattr(setup, "remembered_precision", lambda *_, **__: training.FP32)
        for name, settings in SWEEPS.items():
            ae_sweep.run_sweep(
                name, store=root, progress=False, **SETTINGS | {"model": name} | settings
            )


def measure(root: Path, cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        for name in SWEEPS:
            sweep = ae_sweep.load_sweep(name, store=root)
            inspection.log(sweep, inspection.measured_rates(sweep))


def trained() -> Path:
    """Return the store, for reading only, made once in a run of the tests."""
    place, _ = shared.made_once("coded sweeps", lambda place: _elsewhere(write, place / "store"))
    return place / "store"


def measured() -> Path:
    """Return such a store with the rates of all sweeps, for reading only; beside it a cache."""

    def make(place: Path) -> None:
        shared.copy_store(trained(), place / "store")
        _elsewhere(measure, place / "store", place / "cache")

    return shared.made_once("measured sweeps", make)[0] / "store"


def _elsewhere(work: Callable[..., None], *arguments: Path) -> None:
    """Work in a process of its own: connections left open here would write when they close."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(work, *arguments).result()
