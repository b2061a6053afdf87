"""``ae-sweep reconstruct``: test images over their reconstructions from each bottleneck."""

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

MOST_IMAGES = 100


@handled
def reconstruct(
    sweep: SweepArgument = None,
    dims: DimsOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes",
            "--digits",
            metavar="CLASS ...",
            help="Show these classes only, by name or number; --digits 3 8 for digits.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Images to show.")
    ] = 10,
    worst: Annotated[
        bool,
        typer.Option(
            "--worst",
            help="Show the test images that are rebuilt worst, over all dims shown, instead of "
            "the first of each class, or evenly spaced ones where there are no classes.",
        ),
    ] = False,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Show the absolute error under each row.")
    ] = False,
    out: Annotated[Path | None, out_option("reconstruct")] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
) -> None:
    """Draw test images over their reconstructions, a row for each latent dim.

    The best run of each dim rebuilds the same images. The picture is also logged to the sweep's
    run in MLflow, as reconstructions.png.

    Example: ae-sweep reconstruct --digits 3 8 --worst
    """
    check_out(out)
    check_count("count", count, most=MOST_IMAGES)
    wanted = some_dims(dims)

    from ae_sweep import inspection

    trained = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    found = inspection.reconstructions(
        trained,
        trained.points(wanted),
        classes=classes or (),
        count=count,
        worst=worst,
        residuals=residuals,
    )
    path = out or Path(f"reconstruct-{trained.name}.png")
    write_figure(found.figure, path)
    say(f"test images: {' '.join(found.listed)}")
    log_or_say(trained, found)
    say(f"figure: {path}")
