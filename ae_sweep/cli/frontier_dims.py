"""The frontier over latent dims on the command line: figure, table, findings, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.output_file import write_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.api import Sweep


def show_dims(
    opened: Sequence[Sweep],
    *,
    over_dims: bool,
    out: Path | None,
    csv: bool,
    json_output: bool,
) -> None:
    """Write the figure of all sweeps, print the table of the first, and compare it with the others.

    Parameters
    ----------
    opened
        Sweeps on the same images; at least one.
    over_dims
        Whether the axis is latent_dim even where all codes have a rate in bits.
    """
    from ae_sweep import analysis, plots, tables, tracking
    from ae_sweep.cli.frontier_text import comparison, findings

    curve, *others = (sweep.frontier for sweep in opened)
    path = out or Path(f"frontier-{curve.sweep}.png")
    write_figure(plots.frontier_figure(curve, beside=others, over_dims=over_dims), path)
    if json_output:
        print_json(analysis.to_document(curve))
    elif csv:
        typer.echo(tracking.table_csv(tables.frontier_table(curve).records()), nl=False)
    else:
        print_table(tables.frontier_table(curve))
    for line in findings(curve):
        say(line)
    for other in others:
        for line in comparison(curve, other):
            say(line)
    say(f"figure: {path}")
