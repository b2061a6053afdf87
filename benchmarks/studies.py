"""A long study: ask, reports and tell around its 2,000th trial."""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from ae_sweep.config import Condition, Range, SearchSpace, SweepConfig
from ae_sweep.records import QUARTERS
from ae_sweep.sweep import open_studies
from ae_sweep.sweep.space import distributions, draw
from ae_sweep.sweep.storage import open_storage, study_name
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.text import cells, paragraphs, spread, table, verdict

if TYPE_CHECKING:
    from ae_sweep.sweep import ConditionStudy

DIM = 32
TARGET_MS = 50.0
SPACE = SearchSpace(lr=Range(1e-3, 1e-2), epochs=Range(2, 8))


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    before: int
    """Trials that are in the study already."""
    trials: int
    """Trials that are timed after them."""


def measure(size: Size) -> Figures:
    """Fill a study, then time the trials that follow."""
    config = SweepConfig(
        name="long", dims=(DIM,), space=SPACE, trials=size.before + size.trials, sampler="tpe",
        pruner="median",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ae-sweep-studies-") as directory:
        path = Path(directory) / "optuna.db"
        open_studies(path, config, identity=config.identity())
        started = time.perf_counter()
        _fill(path, config, size.before)
        filling_seconds = time.perf_counter() - started
        started = time.perf_counter()
        (study,) = open_studies(path, config, identity=config.identity())
        slots = study.open_slots()
        opening_seconds = time.perf_counter() - started
        trials = [_one_trial(study, slot) for slot in slots]
    parts = {part: spread([trial[part] for trial in trials]) for part in trials[0]}
    total = spread([sum(trial.values()) for trial in trials])
    return {
        "trials_before": size.before, "trials": len(trials), "filling_seconds": filling_seconds,
        "opening_seconds": opening_seconds, "seconds": {**parts, "ask, reports and tell": total},
        "ask_and_tell": spread([trial["ask"] + trial["tell"] for trial in trials]),
    }  # fmt: skip


def report(figures: Figures) -> str:
    """Render the figures."""
    timed = {**figures["seconds"], "**ask + tell**": figures["ask_and_tell"]}
    before = figures["trials_before"]
    return paragraphs(
        f"Trials {before:,} to {before + figures['trials'] - 1:,} of one study. The "
        f"{before:,} before them were added with Optuna in {figures['filling_seconds']:.0f} s; "
        f"opening the study with them took {figures['opening_seconds']:.1f} s.",
        table(
            ["", "ms, median", "min to max"],
            [[part, *cells(of, ".1f", 1_000)] for part, of in timed.items()],
        ),
        verdict(
            "ask + tell",
            figures["ask_and_tell"]["median"] * 1_000,
            target=TARGET_MS,
            unit="ms",
            form=".1f",
        ),
    )


def _fill(path: Path, config: SweepConfig, count: int) -> None:
    name = study_name(config.name, Condition(DIM, config.model))
    study = optuna.load_study(study_name=name, storage=open_storage(path))
    rng = random.Random(0)
    study.add_trials([_finished_trial(slot, rng) for slot in range(count)])


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


def _one_trial(study: ConditionStudy, slot: int) -> dict[str, float]:
    moments = [time.perf_counter()]
    ask = study.ask(slot)
    moments.append(time.perf_counter())
    error = _error(ask.params.lr, ask.params.epochs)
    for quarter in range(1, QUARTERS + 1):
        study.report(ask, quarter=quarter, val_objective=error * QUARTERS / quarter)
    moments.append(time.perf_counter())
    study.complete(ask, val_objective=error)
    moments.append(time.perf_counter())
    durations = [after - before for before, after in pairwise(moments)]
    return dict(zip(("ask", "reports", "tell"), durations, strict=True))


def _error(lr: float, epochs: int) -> float:
    return (abs(lr - 4e-3) + 1e-3) / epochs


BENCHMARK = Benchmark(
    name="studies",
    title="A study of 2,000 trials",
    about="The last trials of a long study: TPE, median pruner, SQLite as in a sweep; a trial "
    f"reports at each of its {QUARTERS} quarters.",
    measure=measure,
    report=report,
    full=Size(before=1_990, trials=21),
    smallest=Size(before=10, trials=2),
)

if __name__ == "__main__":
    BENCHMARK.main()
