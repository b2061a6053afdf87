"""``ae-sweep dimensions``: how many dimensions images have, by three definitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.api import load_dataset, load_sweep
from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import (
    BackgroundOption,
    ColourOption,
    DataDirOption,
    FitOption,
    ImageSizeOption,
    JsonOption,
    ScaleOption,
    StoreOption,
    StrictOption,
    image_options,
)
from ae_sweep.cli.output_file import check_out, write_figure
from ae_sweep.errors import ConfigError
from ae_sweep.messages import option_name

if TYPE_CHECKING:
    from ae_sweep.inspection import Dimensions


@handled
def dimensions(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|PATH]",
            help="Name of a data set, or path of your own images; with --sweep, where its images "
            "are now. The images of the latest sweep if left out.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="SWEEP", help="A sweep, for the dimension at a quality."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File of a figure: png, svg or pdf by its ending."
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    fit: FitOption = None,
    colour: ColourOption = None,
    background: BackgroundOption = None,
    scale: ScaleOption = False,
    strict: StrictOption = False,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Estimate how many dimensions images have; three answers, two of them without training.

    The participation ratio of the principal components; nearest neighbours (TwoNN and maximum
    likelihood) in four samples, which give a lower bound; and 6.02 · dR/dPSNR of a sweep's curve in
    bits, if that was measured.

    Example: ae-sweep dimensions mnist
    """
    check_out(out)
    options = image_options(
        scale=scale,
        strict=strict,
        image_size=image_size,
        fit=fit,
        colour=colour,
        background=background,
    )
    if options.written and (sweep is not None or dataset is None):
        given = ", ".join(map(option_name, options.written))
        raise ConfigError(f"{given}: a sweep's images are converted as they were; leave it out")
    if dataset is not None and sweep is None and store is not None:
        raise ConfigError("--store is for a sweep; name one with --sweep, or leave it out")

    from ae_sweep import inspection, tables

    found: Dimensions
    if dataset is not None and sweep is None:
        images = load_dataset(dataset, options=options, data_dir=data_dir, announce=say)
        found = inspection.dimensions(images, announce=say)
    else:
        opened = load_sweep(sweep, store=store, dataset=dataset, data_dir=data_dir, announce=say)
        found = inspection.dimensions_of_sweep(opened, announce=say)
    if json_output:
        print_json(found.document())
    else:
        print_table(tables.dimensions(found.estimates))
    for line in found.findings:
        say(line)
    if out is not None:
        write_figure(found.figure, out)
        say(f"figure: {out}")
