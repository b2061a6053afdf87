"""``ae-sweep frontier``: the curve of a stored sweep as figure, table and document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption, SweepArgument
from ae_sweep.cli.output_file import check_out, out_option, write_figure
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from ae_sweep.analysis import Frontier


@handled
def frontier(
    sweep: SweepArgument = None,
    out: Annotated[Path | None, out_option("frontier")] = None,
    beside: Annotated[
        str | None,
        typer.Option(metavar="SWEEP", help="Draw the curve of another sweep too, and compare."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fit and plot a sweep's empirical rate-distortion curve.

    Runs are read back from MLflow. Of each dim the best by validation is reported by its test MSE.

    Example: ae-sweep frontier --out frontier.pdf
    """
    check_out(out)
    if csv and json_output:
        raise ConfigError("--csv and --json are two forms of one table; give one of them")

    from ae_sweep import analysis, plots, tables, tracking
    from ae_sweep.cli.frontier_text import comparison, findings

    curve = load_sweep(sweep, store=store, announce=say).frontier
    other = _other(beside, store=store)
    if other is not None and other.dataset_digest != curve.dataset_digest:
        raise ConfigError(
            f"{curve.sweep} and {other.sweep} measured different images (data set digests "
            f"{curve.dataset_digest} and {other.dataset_digest}), so their errors do not compare"
        )
    path = out or Path(f"frontier-{curve.sweep}.png")
    write_figure(plots.frontier_figure(curve, beside=other), path)
    if json_output:
        print_json(analysis.to_document(curve))
    elif csv:
        typer.echo(tracking.table_csv(tables.frontier_table(curve).records()), nl=False)
    else:
        print_table(tables.frontier_table(curve))
    for line in findings(curve):
        say(line)
    for line in comparison(curve, other) if other else ():
        say(line)
    say(f"figure: {path}")


def _other(beside: str | None, *, store: str | None) -> Frontier | None:
    if beside is None:
        return None
    # What there is to announce was announced with the first sweep.
    return load_sweep(beside, store=store, announce=lambda _: None).frontier
