"""``ae-sweep interpolate``: the images between two images, at each latent dimension."""

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
    DimsOption,
    MovedOption,
    StoreOption,
    SweepArgument,
    whole_number,
)
from ae_sweep.cli.output_file import check_out, out_option, write_figure
from ae_sweep.config import check_count
from ae_sweep.config.parsing import some_dims
from ae_sweep.errors import ConfigError

MOST_STEPS = 50


@handled
def interpolate(
    sweep: SweepArgument = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CLASS",
            help="Class to begin with, by name or number. [default: 4, else the first]",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="CLASS",
            help="Class to end with, by name or number. [default: 9, else the last]",
        ),
    ] = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images",
            help="--from and --to are numbers of test images, not classes; needed where the images "
            "have no classes.",
        ),
    ] = False,
    means: Annotated[
        bool,
        typer.Option(
            "--means",
            help="Between the mean latents of the two classes, not their first test images.",
        ),
    ] = False,
    dims: DimsOption = None,
    steps: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Images in a strip.")
    ] = 11,
    out: Annotated[Path | None, out_option("interpolate")] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
) -> None:
    """Decode the straight line between two images' latents, a strip for each latent dim.

    The last strip fades between the two in pixels, without any network: what a latent space must
    beat. The picture is also logged to the sweep's run in MLflow, as interpolation.png.

    Example: ae-sweep interpolate --from 4 --to 9
    """
    check_out(out)
    check_count("steps", steps, least=2, most=MOST_STEPS)
    if images and means:
        raise ConfigError("--images and --means exclude each other: an image has no mean")
    wanted = some_dims(dims)

    from ae_sweep import inspection

    trained = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    found = inspection.interpolation(
        trained, trained.points(wanted), (start, end), steps=steps, images=images, means=means
    )
    path = out or Path(f"interpolate-{trained.name}.png")
    write_figure(found.figure, path)
    log_or_say(trained, found)
    say(f"figure: {path}")
