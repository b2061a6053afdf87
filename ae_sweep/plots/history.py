"""Figure of a sweep's history: every trial, study by study, and the best so far."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, SymmetricalLogLocator

from ae_sweep.config import with_symbols
from ae_sweep.plots.export import Figure
from ae_sweep.plots.style import BLUE, DARK_GREY, GREY, VERMILLION, paper_style, plain
from ae_sweep.records import Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ae_sweep.config import Condition
    from ae_sweep.records import TrialRecord

COLUMNS = 4
PANEL_INCHES = (1.75, 1.35)
MOST_PANELS = 60


def history_figure(trials: Sequence[TrialRecord], *, title: str) -> Figure:
    """Draw the validation objective of all search trials in the order they were started.

    One panel per study, 60 at most; pruned trials are drawn at the last objective they reached. The
    axis is logarithmic; where an objective is 0 or less, it is linear next to 0.

    Parameters
    ----------
    trials
        In the order they were started. Those that never validated are not drawn.
    """
    by_condition: dict[Condition, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if trial.role is Role.SEARCH and trial.val_objective is not None:
            by_condition[trial.point.condition].append(trial)
    shown = sorted(by_condition, key=lambda each: each.order)[:MOST_PANELS]
    cut = "" if len(shown) == len(by_condition) else f", the first {len(shown)} studies"
    columns = min(COLUMNS, max(len(shown), 1))
    rows = max(math.ceil(len(shown) / columns), 1)
    width, height = PANEL_INCHES
    with paper_style():
        size = (max(width * columns, 3.5), height * rows + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
        for axes in panels[len(shown) :]:
            axes.remove()
        for axes, condition in zip(panels, shown, strict=False):
            _draw(axes, by_condition[condition], name=with_symbols(plain(str(condition))))
        for axes in panels[max(len(shown) - columns, 0) : len(shown)]:
            axes.tick_params(labelbottom=True)  # those with nothing below them
            axes.set_xlabel("search trial")
        figure.suptitle(
            plain(f"{title}{cut}"),
            x=0.01,
            ha="left",
            fontsize=7.0,
            color=DARK_GREY,
            parse_math=False,
        )
        figure.supylabel("validation objective", fontsize=7.5)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=3)
        return figure


def _draw(axes: Axes, trials: Sequence[TrialRecord], *, name: str) -> None:
    objectives = [math.nan if (o := trial.val_objective) is None else o for trial in trials]
    best: list[float] = []
    for trial, objective in zip(trials, objectives, strict=True):
        counts = objective if trial.outcome is Outcome.FINISHED else math.inf
        best.append(min(counts, best[-1] if best else math.inf))
    for outcome, colour, marker in ((True, BLUE, "o"), (False, GREY, "x")):
        chosen = [
            (number, objective)
            for number, (trial, objective) in enumerate(zip(trials, objectives, strict=True))
            if (trial.outcome is Outcome.FINISHED) is outcome
        ]
        axes.plot(
            [number for number, _ in chosen],
            [objective for _, objective in chosen],
            linestyle="none",
            marker=marker,
            markersize=3.2,
            color=colour,
        )
    reached = [(number, value) for number, value in enumerate(best) if math.isfinite(value)]
    axes.step(
        [number for number, _ in reached],
        [value for _, value in reached],
        where="post",
        color=VERMILLION,
        linewidth=0.9,
    )
    axes.set_title(name, fontsize=7.0, parse_math=False)
    axes.margins(x=0.08, y=0.1)
    _scale(axes, [objective for objective in objectives if math.isfinite(objective)])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.tick_params(labelsize=6.5)


def _scale(axes: Axes, objectives: Sequence[float]) -> None:
    if min(objectives, default=1.0) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        return
    smallest = min((abs(objective) for objective in objectives if objective), default=1.0)
    axes.set_yscale("symlog", linthresh=smallest, linscale=0.5)
    locator = SymmetricalLogLocator(base=10, linthresh=smallest)
    locator.set_params(numticks=6)
    axes.yaxis.set_major_locator(locator)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], linestyle="none", marker="o", markersize=3.2, color=BLUE, label="finished"),
        Line2D(
            [], [], linestyle="none", marker="x", markersize=3.2, color=GREY,
            label="pruned, failed or interrupted",
        ),
        Line2D([], [], color=VERMILLION, linewidth=0.9, label="best so far"),
    ]  # fmt: skip
