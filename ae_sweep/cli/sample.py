"""``ae-sweep sample``: images decoded from codes that are drawn from the prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.options import DimsOption, StoreOption, SweepArgument, whole_number
from ae_sweep.cli.output_file import check_out, out_option, write_figure
from ae_sweep.config import MAX_SEED, check_count
from ae_sweep.config.parsing import some_dims

MOST_SAMPLES = 40
"""Side by side on a page."""


@handled
def sample(
    sweep: SweepArgument = None,
    dims: DimsOption = None,
    count: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Images per row.")
    ] = 10,
    seed: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Seeds the codes.")
    ] = 0,
    out: Annotated[Path | None, out_option("sample")] = None,
    store: StoreOption = None,
) -> None:
    """Draw codes from the prior of a vae or ntc and decode them: images that were never seen.

    A row for each point of the curve. The picture is also logged to the sweep's run in MLflow, as
    samples.png.

    Example: ae-sweep sample --dims 8
    """
    check_out(out)
    check_count("count", count, most=MOST_SAMPLES)
    check_count("seed", seed, least=0, most=MAX_SEED)
    wanted = some_dims(dims)

    from ae_sweep import inspection

    trained = load_sweep(sweep, store=store, announce=say)
    found = inspection.prior_samples(trained, trained.points(wanted), count=count, seed=seed)
    path = out or Path(f"sample-{trained.name}.png")
    write_figure(found.figure, path)
    log_or_say(trained, found)
    say(f"figure: {path}")
