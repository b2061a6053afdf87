"""The frontier over latent dims on the command line: figure, table, findings, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.output_file import write_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep


def show_dims(
    opened: Sequence[Sweep],
    *,
    over_dims: bool,
    which: Sequence[str],
    targets: Sequence[Target],
    mark_dimensions: bool,
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
    which
        Names of references: principal components, or none.
    targets
        Qualities that are good enough.
    mark_dimensions
        Whether the dimensions of the images are estimated and marked.
    """
    from ae_sweep import analysis, inspection, plots, tables, tracking
    from ae_sweep.cli.frontier_text import comparison, findings

    curve, *others = (sweep.frontier for sweep in opened)
    path = out or Path(f"frontier-{curve.sweep}.png")
    linear = _linear(opened, which)
    dimensions = (
        inspection.dimensions_of_sweep(opened[0], announce=say) if mark_dimensions else None
    )
    figure = plots.frontier_figure(
        curve,
        beside=others,
        linear=linear,
        estimates=None if dimensions is None else dimensions.estimates,
        over_dims=over_dims,
    )
    write_figure(figure, path)
    statistics = [inspection.curve_statistics(sweep, targets, announce=say) for sweep in opened]
    first = statistics[0]
    if json_output:
        known = {} if isinstance(first, analysis.NotApplicable) else first.document()
        answer = opened[0].answer
        print_json(
            analysis.to_document(curve)
            | ({"statistics": known} if known else {})
            | ({} if answer is None else {"answer": answer.document()})
        )
    elif csv:
        typer.echo(tracking.table_csv(tables.frontier_table(curve).records()), nl=False)
    else:
        print_table(tables.frontier_table(curve))
    for line in findings(curve):
        say(line)
    for sweep, found in zip(opened, statistics, strict=True):
        name = f"{sweep.name}: " if others else ""
        if sweep.answer is not None:
            say(f"{name}answer: {sweep.answer.sentence}")
        for line in [found.reason] if isinstance(found, analysis.NotApplicable) else found.findings:
            say(f"{name}{line}")
    for other in others:
        for line in comparison(curve, other):
            say(line)
    for line in () if dimensions is None else dimensions.findings:
        say(f"dimensions {line}")
    if linear:
        listed = ", ".join(f"{mse:.5f} at d={dim}" for dim, mse in linear)
        say(f"test MSE of principal components, 8-bit images: {listed}")
    say(f"figure: {path}")


def _linear(opened: Sequence[Sweep], which: Sequence[str]) -> list[tuple[int, float]]:
    """Return the error of principal components at the dims of all sweeps, if it is asked for."""
    if "pca" not in which:
        return []
    from ae_sweep.inspection.references import references

    dims = [point.latent_dim for sweep in opened for point in sweep.frontier.points]
    found = references(opened[0], which, dims=dims, announce=say)
    for note in found.notes:
        say(note)
    return [(point.latent_dim, point.mse) for point in found.pca]
