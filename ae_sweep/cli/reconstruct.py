"""Owns ``ae-sweep reconstruct``: test images over what each bottleneck makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import DataDirOption, DimsOption, StoreOption, SweepArgument, whole_number
from ae_sweep.cli.talk import say
from ae_sweep.cli.values import parse_digits, some_dims
from ae_sweep.config import check_count
from ae_sweep.places import DEFAULT_STORE

if TYPE_CHECKING:
    import numpy as np

    from ae_sweep.plots import ImageRow

MOST_IMAGES = 100


@handled
def reconstruct(
    sweep: SweepArgument = None,
    dims: DimsOption = None,
    digits: Annotated[
        list[str] | None,
        typer.Option(
            "--digits", metavar="CLASS ...", help="Show these classes only, as in --digits 3 8."
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
            "the first of each class.",
        ),
    ] = False,
    residuals: Annotated[
        bool, typer.Option("--residuals", help="Show the absolute error under each row.")
    ] = False,
    out: Annotated[Path | None, out_option("reconstruct")] = None,
    data_dir: DataDirOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Draw test images over their reconstructions, a row for each latent dim.

    The best run of each dim rebuilds the same images. The picture is put on the sweep's run in
    MLflow as well, as reconstructions.png.

    Example: ae-sweep reconstruct --digits 3 8 --worst
    """
    check_count("count", count, most=MOST_IMAGES)
    wanted, asked = some_dims(dims), parse_digits(digits)

    from ae_sweep import analysis, plots

    trained = load_sweep(sweep, store=store, data_dir=data_dir, announce=say)
    points = trained.points(wanted)
    x_NCHW, labels_N = trained.dataset.test_NCHW, trained.dataset.test_labels_N
    classes = trained.classes(asked)
    models = {point.latent_dim: trained.model(point.latent_dim) for point in points}
    if worst:
        errors = [
            analysis.squared_errors(x_NCHW, model.reconstruct(x_NCHW)) for model in models.values()
        ]
        chosen = analysis.worst(errors, labels_N, classes, count=count)
    else:
        chosen = analysis.first_of_each(labels_N, classes, count=count)
    shown_NCHW = x_NCHW[chosen]
    rows = [plots.ImageRow("original", shown_NCHW)]
    for point in points:
        rebuilt_NCHW = models[point.latent_dim].reconstruct(shown_NCHW)
        label = f"d={point.latent_dim}, MSE {point.test_mse:.2g}"
        rows += _rows(label, shown_NCHW, rebuilt_NCHW, residuals=residuals)
    which = "rebuilt worst" if worst else "first of each class"
    title = f"{trained.name}: test images, {which}; MSE of all {len(x_NCHW):,}"
    path = out or Path(f"reconstruct-{trained.name}.png")
    figure = plots.image_rows_figure(rows, title=title)
    write_figure(figure, path)
    trained.add_picture("reconstructions.png", figure)
    say(f"test images: {' '.join(map(str, chosen))}")
    say(f"figure: {path}")


def _rows(
    label: str,
    original_NCHW: np.ndarray[Any, Any],
    rebuilt_NCHW: np.ndarray[Any, Any],
    *,
    residuals: bool,
) -> list[ImageRow]:
    from ae_sweep import analysis, plots

    rows = [plots.ImageRow(label, analysis.as_bytes(rebuilt_NCHW))]
    if residuals:
        error_NCHW = abs(original_NCHW / 255 - rebuilt_NCHW)
        rows.append(plots.ImageRow("|error|", analysis.as_bytes(error_NCHW)))
    return rows
