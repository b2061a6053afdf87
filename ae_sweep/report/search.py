"""The search in a report: every trial, the parameters that mattered, how to reproduce it."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from ae_sweep import plots, sweep
from ae_sweep.config import written_parameters
from ae_sweep.inspection import Drawing
from ae_sweep.messages import visible
from ae_sweep.report.page import Cell, Section, Table, make_picture
from ae_sweep.report.words import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ae_sweep.api import Sweep
    from ae_sweep.records import TrialRecord

NOT_GIVEN = ("None", "")


def history_section(opened: Sweep, link: Callable[[str], str]) -> Section:
    """Show all trials, and how much each parameter mattered."""
    figure = plots.history_figure(opened.trials, title=f"{opened.name}: validation objective")
    shares = sweep.importances(opened.store.optuna_path, opened.name)
    parameters = list(dict.fromkeys(key for found in shares.values() for key in found))
    importance = Table(
        caption="Share of the objective's variance that a parameter explains (fANOVA)",
        columns=["Condition", *parameters],
        rows=[
            [Cell(condition), *(Cell(_share(found.get(key))) for key in parameters)]
            for condition, found in shares.items()
        ],
    )
    few = [] if shares else ["No study has the four finished trials that such shares need."]
    return Section(
        name="history",
        title="The search",
        text=[
            (
                "One study for each condition; trials are compared by the model's own training "
                "objective on the validation images."
            ),
            *few,
        ],
        pictures=[
            make_picture(
                figure,
                alternative="The validation objective of search trials in the order they were "
                "started, one panel per condition",
                caption="Search trials that validated at least once.",
            )
        ],
        tables=[*([importance] if shares else []), _trials_table(opened.trials, link)],
        found=[Drawing(sweep=opened.name, file="history.png", figure=figure)],
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _trials_table(trials: Sequence[TrialRecord], link: Callable[[str], str]) -> Table:
    searched = written_parameters(trial.point.hyperparameters for trial in trials)
    return Table(
        caption=f"All {len(trials)} trials",
        columns=["Trial", "State", "Role", *(each.label for each in searched), "Seed", "Val MSE",
                 "Val objective", "Test MSE", "PSNR (dB)", "Seconds"],
        rows=[
            [
                Cell(visible(trial.name), link(trial.run_id)),
                Cell(str(trial.outcome)),
                Cell(str(trial.role)),
                *(
                    Cell(format(getattr(trial.point.hyperparameters, each.name), each.cell))
                    for each in searched
                ),
                Cell(str(trial.point.seed)),
                Cell(number(trial.val_mse, ".5f")),
                Cell(number(trial.val_objective, ".5f")),
                Cell(number(trial.test_mse, ".5f")),
                Cell(number(trial.test_psnr, ".2f")),
                Cell(number(trial.train_seconds, ".1f")),
            ]
            for trial in trials
        ],
        folded=True,
    )  # fmt: skip


def setup_section(opened: Sweep) -> Section:
    """Show the command, the settings and the environment that reproduce the sweep."""
    config = opened.record.config
    best = opened.points()[0]
    environment = {
        key: text
        for key, text in opened.runs.parameters(best.run_id).items()
        if key not in {*config, *best.hyperparameters.written(), "latent_dim", "seed", "model"}
    }
    started = time.strftime("%Y-%m-%d %H:%M %z", time.localtime(opened.record.started_ms / 1000))
    return Section(
        name="setup",
        title="Reproduce",
        text=[
            (
                f"Started {started}. The same settings give the same numbers on the same machine "
                "and device, with as many threads for a trial."
            )
        ],
        code=_command(config),
        tables=[
            _pairs("Settings of the sweep", config.items()),
            _pairs(f"Environment of the run of {best.condition}", environment.items()),
        ],
    )


def _command(config: Mapping[str, str]) -> str:
    """Write the call that runs such a sweep under another name, one option per line."""
    lines = ["ae-sweep run"]
    left_out = {"name"}
    if config.get("sampler") == "grid":
        left_out.add("trials")  # it has as many as it has points
    # What is no option was written by another program.
    for key, text in config.items():
        if key.isidentifier() and key not in left_out and text not in NOT_GIVEN:
            values = [shlex.quote(value) for value in str(text).split()]
            lines.append(" ".join([f"--{key.replace('_', '-')}", *values]))
    return " \\\n    ".join(lines)


def _pairs(caption: str, pairs: Iterable[tuple[str, str]]) -> Table:
    return Table(
        caption=caption,
        columns=["Name", "Value"],
        rows=[[Cell(visible(key)), Cell(visible(text))] for key, text in sorted(pairs)],
        numeric=False,
    )
