"""Owns ``ae-sweep interpolate``: what lies between two images, at each latent dimension."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import DataDirOption, DimsOption, StoreOption, SweepArgument, whole_number
from ae_sweep.cli.talk import say
from ae_sweep.cli.values import some_dims
from ae_sweep.config import check_count
from ae_sweep.errors import ConfigError
from ae_sweep.places import DEFAULT_STORE

if TYPE_CHECKING:
    import numpy as np

    from ae_sweep.api import Sweep
    from ae_sweep.models import TrainedAutoencoder

    Array = np.ndarray[Any, Any]

MOST_STEPS = 50


@handled
def interpolate(
    sweep: SweepArgument = None,
    start: Annotated[
        int,
        typer.Option("--from", parser=whole_number, metavar="CLASS", help="Class to begin with."),
    ] = 4,
    end: Annotated[
        int, typer.Option("--to", parser=whole_number, metavar="CLASS", help="Class to end with.")
    ] = 9,
    images: Annotated[
        bool,
        typer.Option("--images", help="--from and --to are numbers of test images, not classes."),
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
    data_dir: DataDirOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Decode the straight line between two images' latents, a strip for each latent dim.

    The last strip fades between the two in pixels, without any network: what a latent space must
    beat. The picture is put on the sweep's run in MLflow as well, as interpolation.png.

    Example: ae-sweep interpolate --from 4 --to 9
    """
    check_count("steps", steps, least=2, most=MOST_STEPS)
    if images and means:
        raise ConfigError("--images and --means exclude each other: an image has no mean")
    wanted = some_dims(dims)

    from ae_sweep import analysis, plots

    trained = load_sweep(sweep, store=store, data_dir=data_dir, announce=say)
    points = trained.points(wanted)
    ends = [_members(trained, number, images=images, means=means) for number in (start, end)]
    rows = [
        plots.ImageRow(
            f"d={point.latent_dim}",
            analysis.as_bytes(_strip(trained.model(point.latent_dim), ends, steps=steps)),
        )
        for point in points
    ]
    first, last = (x_NCHW.mean(axis=0) / 255 for x_NCHW in ends)
    rows.append(
        plots.ImageRow("pixels", analysis.as_bytes(analysis.line(first, last, steps=steps)))
    )
    what = "test image" if images else "mean of class" if means else "class"
    figure = plots.image_rows_figure(rows, title=f"{trained.name}: from {what} {start} to {end}")
    path = out or Path(f"interpolate-{trained.name}.png")
    write_figure(figure, path)
    trained.add_picture("interpolation.png", figure)
    say(f"figure: {path}")


def _members(trained: Sweep, number: int, *, images: bool, means: bool) -> Array:
    """Return the test images, N×C×H×W bytes, of whose latents an end is the mean."""
    x_NCHW, labels_N = trained.dataset.test_NCHW, trained.dataset.test_labels_N
    if images:
        if not 0 <= number < len(x_NCHW):
            raise ConfigError(f"there is no test image {number}, only 0 to {len(x_NCHW) - 1}")
        return x_NCHW[number : number + 1]
    trained.classes([number])
    members_NCHW: Array = x_NCHW[labels_N == number]
    return members_NCHW if means else members_NCHW[:1]


def _strip(model: TrainedAutoencoder, ends: list[Array], *, steps: int) -> Array:
    from ae_sweep import analysis

    first, last = (model.encode(x_NCHW).mean(axis=0) for x_NCHW in ends)
    return model.decode(analysis.line(first, last, steps=steps))
