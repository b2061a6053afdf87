"""Owns the options that several commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.messages import shorten

StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where runs, artifacts and studies are kept.",
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
SweepArgument = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep; the latest if left out.")
]
DimsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dims", metavar="D ...", help="Latent dimensions of the sweep; all if left out."
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the data set's files are, or are to be kept; the user cache if left out.",
    ),
]


def whole_number(text: str) -> int:
    """Read a number of an option.

    Raises
    ------
    typer.BadParameter
        If it is none; Typer's own message would not repeat the value.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a whole number") from None
