"""``ae-sweep data``: fetch a data set, verify it, print where it is."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import DataDirOption, JsonOption
from ae_sweep.locations import cache_dir, data_dir_at


@handled
def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set.")] = "mnist",
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fetch and verify a data set, and print where it is.

    Example: ae-sweep data fashion-mnist
    """
    from ae_sweep import data as images

    located = images.fetch(
        name, cache_dir=cache_dir(), data_dir=data_dir_at(data_dir), announce=say
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
