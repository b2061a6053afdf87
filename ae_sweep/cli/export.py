"""``ae-sweep export``: a sweep as plain files."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption
from ae_sweep.locations import open_at, out_at
from ae_sweep.messages import visible


@handled
def export(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep.")],
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="A new directory; it appears whole or not at all.")
    ],
    store: StoreOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier export in that directory.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a sweep to plain files that need neither ae-sweep nor MLflow to be read.

    Settings, trials and metrics as JSON and CSV, pictures, codecs, models as safetensors, Optuna's
    studies as JSON, and a manifest with the size and SHA-256 of each file. `ae-sweep import` reads
    it back.

    Example: ae-sweep export digits digits-export
    """
    from ae_sweep.runner import archive

    target = out_at(directory, option="DIR", what="directory")
    place = open_at(store, announce=say)
    done = archive.export_sweep(sweep, target, place, force=force, announce=say)
    if json_output:
        print_json({**dataclasses.asdict(done), "directory": str(done.directory)})
    say(f"exported {done.sweep} to {visible(done.directory)}: {done}")
