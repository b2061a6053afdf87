"""The frontier in bits on the command line: measure, draw, print, write curves for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.measuring import show_measuring
from ae_sweep.cli.output_file import write_figure
from ae_sweep.messages import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import RateComparison
    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep


def show_bits(
    opened: Sequence[Sweep],
    *,
    which: Sequence[str],
    targets: Sequence[Target],
    interpolation: str,
    mark_dimensions: bool,
    out: Path | None,
    csv: bool,
    json_output: bool,
    rd_json: Path | None,
) -> None:
    """Measure the rates of all sweeps and of references, and print and draw them.

    Rates are logged to the runs in MLflow, figure and document of one sweep to its run.

    Parameters
    ----------
    opened
        Sweeps on the same images; at least one.
    which
        Names of references.
    targets
        Qualities that are good enough.
    interpolation
        Of curves whose BD-rates are computed.
    mark_dimensions
        Whether the dimension at each quality is marked.
    rd_json
        Directory for one file per curve; None writes none.
    """
    from ae_sweep import inspection, tables, tracking
    from ae_sweep.analysis.bjontegaard import Interpolation
    from ae_sweep.cli.rd_files import write_rd_files

    found = inspection.rate_frontier(
        opened,
        which=which,
        targets=targets,
        interpolation=Interpolation(interpolation),
        mark_dimensions=mark_dimensions,
        measure=lambda sweep: show_measuring(inspection.iter_measured_rates(sweep)),
        announce=say,
    )
    path = out or Path(f"frontier-{opened[0].name}.png")
    write_figure(found.figure, path)
    if json_output:
        print_json(found.document())
    elif csv:
        points = tables.rate_points(found.comparison)
        typer.echo(tracking.table_csv(points.records()), nl=False)
    else:
        _print_tables(found.comparison)
    for line in found.findings:
        say(line)
    if rd_json is not None:
        for line in write_rd_files(found.comparison, rd_json):
            say(line)
    for sweep, measured in zip(opened, found.measured, strict=True):
        log_or_say(sweep, measured)
    if len(opened) == 1:
        log_or_say(opened[0], found)
    say(f"figure: {path}")


def _print_tables(comparison: RateComparison) -> None:
    """Print the quality at round rates, and from how many images on a code pays."""
    from ae_sweep import tables

    qualities = tables.quality_at_rates(comparison)
    print_table(qualities)
    payoffs = tables.payoffs(comparison)
    if payoffs.rows:
        typer.echo()
        print_table(payoffs)
    say(f"the table is of the {qualities.caption}")
    count = sum(len(curve.points) for curve in comparison.curves())
    say(f"all {counted(count, 'operating point')}, with bytes of side information: --csv or --json")
