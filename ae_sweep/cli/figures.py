"""Owns how a figure leaves the program: the option that names its file, and the writing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ae_sweep.config import shorten
from ae_sweep.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.plots import Figure


def out_option(command: str) -> object:
    """Make the option ``--out`` of a command that draws a figure."""
    return typer.Option(
        "--out",
        metavar="FILE",
        help="Where the figure goes: png, svg or pdf by its ending. "
        f"[default: {command}-SWEEP.png here]",
    )


def write_figure(figure: Figure, path: Path) -> bytes:
    """Write a figure where the user wants it.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    ConfigError
        If the path ends in none of png, svg and pdf.
    StoreError
        If it cannot be written.
    """
    from ae_sweep import plots

    content = plots.render(figure, path.suffix.removeprefix("."))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoreError(
            f"the figure cannot be written to {shorten(str(path), 200)}: {error.strerror}; "
            "choose another --out"
        ) from error
    return content
