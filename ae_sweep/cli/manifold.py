"""Owns ``ae-sweep manifold``: a grid over the latent plane, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import (
    DEFAULT_STORE,
    DataDirOption,
    StoreOption,
    SweepArgument,
    data_dir_at,
    whole_number,
)
from ae_sweep.cli.talk import say
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
    from ae_sweep.cli.trained import open_trained

    trained = open_trained(sweep, store, data_dir_at(data_dir))
    point = trained.point(dim, otherwise=2)
    model = trained.model(point)
    grid = analysis.grid(model.encode(trained.dataset.test_NCHW), side=side)
    rows = [
        plots.ImageRow("", analysis.as_bytes(model.decode(latents_CD))) for latents_CD in grid.z_RCD
    ]
    directions = ("across", "upwards")[: len(grid.axes)]
    axes = ", ".join(f"{axis} {way}" for axis, way in zip(grid.axes, directions, strict=True))
    figure = plots.image_rows_figure(
        rows, title=f"{trained.record.name}, d={point.latent_dim}: {axes}", gap=0
    )
    path = out or Path(f"manifold-{trained.record.name}.png")
    write_figure(figure, path)
    trained.add_picture("manifold.png", figure)
    say(f"figure: {path}")
