"""The search in a report: every trial, the parameters that mattered, how to reproduce it."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from ae_sweep import plots, sweep, tables
from ae_sweep.inspection import Drawing
from ae_sweep.messages import option_name
from ae_sweep.report.page import Section, make_picture, make_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ae_sweep.api import Sweep

NOT_GIVEN = ("None", "")
FLAGS = ("scale", "strict")
"""Options without a value."""


def history_section(opened: Sweep, link: Callable[[str], str]) -> Section:
    """Show all trials, and how much each parameter mattered."""
    figure = plots.history_figure(opened.trials, title=f"{opened.name}: validation objective")
    shares = sweep.importances(opened.store.optuna_path, opened.name)
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
        tables=[
            *([make_table(tables.importances(shares))] if shares else []),
            make_table(tables.trials(opened.trials), link=link, folded=True),
        ],
        found=[Drawing(sweep=opened.name, file="history.png", figure=figure)],
    )


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
            make_table(tables.pairs("Settings of the sweep", config.items())),
            make_table(
                tables.pairs(f"Environment of the run of {best.condition}", environment.items())
            ),
        ],
    )


def _command(config: Mapping[str, str]) -> str:
    """Write the call that runs such a sweep under another name, one option per line."""
    lines = ["ae-sweep run"]
    left_out = {"name", "recipe"}  # a new sweep has the recipe of its version
    if config.get("sampler") == "grid":
        left_out.add("trials")  # it has as many as it has points
    # What is not an option was written by another program.
    for key, text in config.items():
        if key.isidentifier() and key not in left_out and text not in NOT_GIVEN:
            values = [text] if key == "dataset" else [] if key in FLAGS else str(text).split()
            lines.append(shlex.join([option_name(key), *values]))
    return " \\\n    ".join(lines)
