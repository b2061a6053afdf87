"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from ae_sweep.locations import DEFAULT_STORE
from ae_sweep.messages import shorten

# As text: a path would lose the second slash of an address that is given by mistake.
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where runs, artifacts and studies are kept; it wins over MLFLOW_TRACKING_URI. "
        f"[default: {DEFAULT_STORE}]",
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
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the data set's files are or will be kept; the user cache if left out.",
    ),
]


def whole_number(text: str) -> int:
    """Parse a number of an option.

    Raises
    ------
    typer.BadParameter
        If it is not one; Typer's own message would not repeat the value.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a whole number") from None


def number(text: str) -> float:
    """Parse a number of an option that need not be whole.

    Raises
    ------
    typer.BadParameter
        If it is not one; Typer's own message would not repeat the value.
    """
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a number") from None
