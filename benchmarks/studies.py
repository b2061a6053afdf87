"""Measures what a study costs late in its life: ask, reports and tell around its 2,000th trial."""

from __future__ import annotations

import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import section
from common import spread

from ae_sweep.config import Range, SearchSpace, SweepConfig
from ae_sweep.records import QUARTERS
from ae_sweep.sweep import open_studies
from ae_sweep.sweep.space import distributions, draw
from ae_sweep.sweep.storage import open_storage, study_name

if TYPE_CHECKING:
    from ae_sweep.sweep import DimStudy

BEFORE = 1_990
MEASURED = 21
DIM = 32
TARGET_MS = 50.0
SPACE = SearchSpace(lr=Range(1e-3, 1e-2), epochs=Range(2, 8))


def measure() -> dict[str, Any]:
    """Fill a study up to its 1,990th trial, then time the next 21."""
    config = SweepConfig(
        name="long", dims=(DIM,), space=SPACE, trials=BEFORE + MEASURED, sampler="tpe",
        pruner="median",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "optuna.db"
        open_studies(path, config, identity=config.identity())
        started = time.perf_counter()
        _fill(path, config)
        filling_seconds = time.perf_counter() - started
        started = time.perf_counter()
        (study,) = open_studies(path, config, identity=config.identity())
        slots = study.open_slots()
        opening_seconds = time.perf_counter() - started
        trials = [_one_trial(study, slot) for slot in slots]
    parts = {part: spread([trial[part] for trial in trials]) for part in trials[0]}
    total = spread([sum(trial.values()) for trial in trials])
    return {
        "trials_before": BEFORE, "trials": len(trials), "filling_seconds": filling_seconds,
        "opening_seconds": opening_seconds, "seconds": {**parts, "ask, reports and tell": total},
        "ask_and_tell": spread([trial["ask"] + trial["tell"] for trial in trials]),
    }  # fmt: skip


def report(document: dict[str, Any]) -> str:
    """Tell the figures as a section of docs/benchmarks.md."""
    rows = [
        [part, *section.cells(of, ".1f", 1_000)]
        for part, of in {
            **document["seconds"], "**ask + tell**": document["ask_and_tell"],
        }.items()
    ]  # fmt: skip
    return section.section(
        "A study of 2,000 trials",
        f"Trials {BEFORE:,} to {BEFORE + document['trials'] - 1:,} of one study: TPE, median "
        f"pruner, SQLite as in a sweep; a trial reports at each of its {QUARTERS} quarters. The "
        f"{BEFORE:,} before them were added with Optuna in {document['filling_seconds']:.0f} s; "
        f"opening the study with them took {document['opening_seconds']:.1f} s.",
        section.table(["", "ms, median", "min to max"], rows),
        section.verdict(
            "ask + tell",
            document["ask_and_tell"]["median"] * 1_000,
            target=TARGET_MS,
            unit="ms",
            form=".1f",
        ),
        name="studies",
    )


def _fill(path: Path, config: SweepConfig) -> None:
    study = optuna.load_study(study_name=study_name(config.name, DIM), storage=open_storage(path))
    rng = random.Random(0)
    study.add_trials([_finished_trial(slot, rng) for slot in range(BEFORE)])


def _finished_trial(slot: int, rng: random.Random) -> optuna.trial.FrozenTrial:
    params = draw(SPACE, rng)
    error = _error(params.lr, params.epochs)
    pruned = rng.random() < 0.5
    quarters = range(1, 2 if pruned else QUARTERS + 1)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=None if pruned else error,
        params=params.written(),
        distributions=distributions(SPACE),
        user_attrs={"slot": slot},
        system_attrs={"fixed_params": {}},
        intermediate_values={quarter: error * QUARTERS / quarter for quarter in quarters},
    )


def _one_trial(study: DimStudy, slot: int) -> dict[str, float]:
    moments = [time.perf_counter()]
    ask = study.ask(slot)
    moments.append(time.perf_counter())
    error = _error(ask.params.lr, ask.params.epochs)
    for quarter in range(1, QUARTERS + 1):
        study.report(ask, quarter=quarter, val_mse=error * QUARTERS / quarter)
    moments.append(time.perf_counter())
    study.complete(ask, val_mse=error)
    moments.append(time.perf_counter())
    durations = [after - before for before, after in pairwise(moments)]
    return dict(zip(("ask", "reports", "tell"), durations, strict=True))


def _error(lr: float, epochs: int) -> float:
    return (abs(lr - 4e-3) + 1e-3) / epochs


if __name__ == "__main__":
    section.main(measure, report)
