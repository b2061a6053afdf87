"""Owns ``ae-sweep manifold``: a grid over the latent plane, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import DataDirOption, StoreOption, SweepArgument, whole_number
from ae_sweep.cli.talk import say
from ae_sweep.config import check_count
from ae_sweep.places import DEFAULT_STORE

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
    data_dir: DataDirOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Decode a grid over the latent plane, spaced by the quantiles of the test images.

    Beyond two latents the plane is that of their first two principal components. The picture is put
    on the sweep's run in MLflow as well, as manifold.png.

    Example: ae-sweep manifold --dim 2
    """
    check_count("side", side, least=2, most=MOST_SIDE)

    from ae_sweep import analysis, plots

    trained = load_sweep(sweep, store=store, data_dir=data_dir, announce=say)
    latent_dim = trained.nearest(2).latent_dim if dim is None else dim
    model = trained.model(latent_dim)
    grid = analysis.grid(model.encode(trained.dataset.test_NCHW), side=side)
    rows = [
        plots.ImageRow("", analysis.as_bytes(model.decode(latents_CD))) for latents_CD in grid.z_RCD
    ]
    directions = ("across", "upwards")[: len(grid.axes)]
    axes = ", ".join(f"{axis} {way}" for axis, way in zip(grid.axes, directions, strict=True))
    figure = plots.image_rows_figure(rows, title=f"{trained.name}, d={latent_dim}: {axes}", gap=0)
    path = out or Path(f"manifold-{trained.name}.png")
    write_figure(figure, path)
    trained.add_picture("manifold.png", figure)
    say(f"figure: {path}")
