"""``ae-sweep manifold``: a grid over the latent plane, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.options import (
    DataDirOption,
    MovedOption,
    StoreOption,
    SweepArgument,
    whole_number,
)
from ae_sweep.cli.output_file import check_out, out_option, write_figure
from ae_sweep.config import check_count

MOST_SIDE = 40


@handled
def manifold(
    sweep: SweepArgument = None,
    dim: Annotated[
        int | None,
        typer.Option(
            "--dim",
            parser=whole_number,
            metavar="D",
            help="Latent dimension. [default: the measured one nearest to 2]",
        ),
    ] = None,
    side: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Images along each side.")
    ] = 20,
    out: Annotated[Path | None, out_option("manifold")] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
) -> None:
    """Decode a grid over the latent plane, spaced by the quantiles of the test images.

    Beyond two latents the plane is that of their first two principal components. The picture is
    also logged to the sweep's run in MLflow, as manifold.png.

    Example: ae-sweep manifold --dim 2
    """
    check_out(out)
    check_count("side", side, least=2, most=MOST_SIDE)

    from ae_sweep import inspection

    trained = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    point = trained.nearest(2) if dim is None else trained.best_at(dim)
    found = inspection.manifold(trained, point, side=side)
    path = out or Path(f"manifold-{trained.name}.png")
    write_figure(found.figure, path)
    log_or_say(trained, found)
    say(f"figure: {path}")
