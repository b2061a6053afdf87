"""``ae-sweep data``: fetch and verify a data set, or prepare own images and describe them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

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
    StrictOption,
    image_options,
)
from ae_sweep.errors import ConfigError
from ae_sweep.locations import cache_dir, data_dir_at, images_at
from ae_sweep.messages import counted, option_name, visible

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.analysis import Spectrum
    from ae_sweep.config import ImageOptions
    from ae_sweep.data import Prepared


@handled
def data(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH", help="Name of a data set, or path of your own images."),
    ] = "mnist",
    image_size: ImageSizeOption = None,
    fit: FitOption = None,
    colour: ColourOption = None,
    background: BackgroundOption = None,
    scale: ScaleOption = False,
    strict: StrictOption = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Of own images: remove what is prepared in the cache, only."),
    ] = False,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fetch and verify a data set, or prepare your own images and describe them.

    Own images are a folder of pictures, a file of arrays (.npz, .npy) or a folder of IDX files.
    They are read once and kept in the cache, in the form that a sweep uses.

    Example: ae-sweep data fashion-mnist
    """
    options = image_options(
        scale=scale,
        strict=strict,
        image_size=image_size,
        fit=fit,
        colour=colour,
        background=background,
    )

    from ae_sweep import data as images

    # The folder whose prepared images are to be forgotten may be gone.
    is_own = bool(name) and name not in images.names() if forget else images.is_path(name)
    if not is_own:
        if forget:
            raise ConfigError(f"--forget is for own images, and {visible(name)} is a name")
        _show_named(name, options, data_dir, json_output=json_output)
        return
    images.check_no_data_dir(name, data_dir)
    path = images_at(name, option="NAME|PATH")
    if forget:
        _forget(path, options, json_output=json_output)
        return
    prepared = images.prepare(path, options=options, cache_dir=cache_dir(), announce=say)
    _show_own(prepared, json_output=json_output)


def _show_named(
    name: str, options: ImageOptions, data_dir: str | None, *, json_output: bool
) -> None:
    from ae_sweep import data as images

    located = images.fetch(
        name,
        options=options,
        cache_dir=cache_dir(),
        data_dir=data_dir_at(data_dir),
        announce=say,
    )
    if json_output:
        print_json(
            {
                "name": located.name,
                "source": located.source,
                "files": [
                    dataclasses.asdict(file) | {"path": str(file.path)} for file in located.files
                ],
            }
        )
        return
    say(f"{located.name}: {located.source}; every file verified")
    from ae_sweep import tables

    print_table(tables.files(located.files))


def _forget(path: Path, options: ImageOptions, *, json_output: bool) -> None:
    from ae_sweep import data as images

    if options.written:
        given = ", ".join(map(option_name, options.written))
        raise ConfigError(
            f"--forget removes all that is prepared of a path, however it was converted; leave out "
            f"{given}"
        )
    removed = images.forget(path, cache_dir())
    if json_output:
        print_json({"removed": removed})
    say(f"{visible(path)}: removed {counted(removed, 'prepared set')} from the cache")


def _show_own(prepared: Prepared, *, json_output: bool) -> None:
    from ae_sweep import tables

    measured = _spectrum(prepared)
    facts = prepared.facts
    if json_output:
        print_json(
            {
                "name": facts.name,
                "digest": prepared.digest,
                "directory": str(prepared.directory),
                "facts": facts.document(),
                "spectrum": dataclasses.asdict(measured),
            }
        )
        return
    print_table(tables.image_facts(facts, prepared.digest))
    say(
        f"principal components of {counted(measured.images, 'training image')}, and the error of "
        f"{counted(measured.test_images, 'test image')} rebuilt from them; 0 is the mean image"
    )
    print_table(tables.spectrum(measured))


def _spectrum(prepared: Prepared) -> Spectrum:
    """Compute the spectrum, unless that was done before."""
    from ae_sweep import analysis
    from ae_sweep import data as images

    known = analysis.Spectrum.from_document(images.recall(prepared, "spectrum"))
    if known is not None:
        return known
    measured = analysis.spectrum(prepared.arrays["train.npy"], prepared.arrays["test.npy"])
    images.remember(prepared, "spectrum", dataclasses.asdict(measured))
    return measured
