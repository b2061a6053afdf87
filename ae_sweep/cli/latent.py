"""``ae-sweep latent``: how well latents separate classes, in numbers and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.options import (
    DataDirOption,
    JsonOption,
    MovedOption,
    StoreOption,
    SweepArgument,
    whole_number,
)
from ae_sweep.cli.output_file import check_out, out_option, write_figure


@handled
def latent(
    sweep: SweepArgument = None,
    dim: Annotated[
        int | None,
        typer.Option(
            "--dim",
            parser=whole_number,
            metavar="D",
            help="Latent dimension to draw. [default: the measured one nearest to 2]",
        ),
    ] = None,
    umap: Annotated[
        bool,
        typer.Option("--umap", help="Lay the images out by UMAP; needs the extra ae-sweep[umap]."),
    ] = False,
    out: Annotated[Path | None, out_option("latent")] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure how well latents separate classes, at every dim, and draw one plane of them.

    Labels are used here alone, never in training: the classes of the 10 nearest other test images
    (fewer where a class has few), a logistic regression fitted on the validation images, the
    silhouette, and which classes overlap. Without classes only the latents themselves are measured.
    Beyond two latents the plane is that of their first two principal components. The numbers are
    also logged to the runs in MLflow, picture and table to the sweep's.

    Example: ae-sweep latent --dim 2
    """
    check_out(out)
    from ae_sweep import inspection, tables

    opened = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
    point = opened.nearest(2) if dim is None else opened.best_at(dim)
    plane = inspection.latent_plane(opened, point, umap=umap)
    path = out or Path(f"latent-{opened.name}.png")
    write_figure(plane.figure, path)
    spaces = inspection.latent_spaces(opened, opened.points())
    if json_output:
        print_json(spaces.document())
    else:
        print_table(tables.latent_spaces(spaces.measured()))
    for line in (*plane.notes, *spaces.findings):
        say(line)
    log_or_say(opened, plane, spaces)
    say(f"figure: {path}")
