"""``ae-sweep import``: an exported sweep, written into a store."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption
from ae_sweep.locations import export_at, open_at
from ae_sweep.messages import shorten


@handled
def import_(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A directory that `ae-sweep export` wrote.")
    ],
    store: StoreOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the sweep here; the exported one if left out."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Write an exported sweep into a store, where it is shown and resumed as before.

    Every file is verified first. Nothing is overwritten: a name that is taken is refused.

    Example: ae-sweep import digits-export --store elsewhere
    """
    from ae_sweep.runner import archive

    source = export_at(directory)
    place = open_at(store, announce=say)
    done = archive.import_sweep(source, place, name=name)
    if json_output:
        print_json({**dataclasses.asdict(done), "directory": str(done.directory)})
    say(f"imported {done.sweep} into {shorten(place.runs_place, 200)}: {done}")
    say(f"show it with: {place.command('show', done.sweep)}")
