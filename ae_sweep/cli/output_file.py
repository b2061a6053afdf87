"""Files that commands write: the option ``--out``, its check, the writing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import typer

from ae_sweep.errors import ConfigError, ConflictError, StoreError
from ae_sweep.files import write_atomically
from ae_sweep.locations import out_at
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.plots import Figure

FIGURE_ENDINGS = ("png", "svg", "pdf")


def out_option(command: str) -> object:
    """Make the option ``--out`` of a command that draws a figure."""
    return typer.Option(
        "--out",
        metavar="FILE",
        help="File of the figure: png, svg or pdf by its ending. "
        f"[default: {command}-SWEEP.png here]",
    )


def check_out(out: Path | None, *, endings: Sequence[str] = FIGURE_ENDINGS) -> None:
    """Refuse a file that could not be written, before anything is measured.

    Raises
    ------
    ConfigError
        If its name has none of the endings, or it is an address.
    StoreError
        If it is a directory, or in none, or no such file can exist.
    """
    if out is None:
        return
    out_at(out)
    if out.suffix.removeprefix(".").lower() not in endings:
        raise ConfigError(
            f"--out {shorten(str(out), 200)} has no known file extension; end its name in "
            f"{', '.join(endings[:-1])} or {endings[-1]}"
        )
    there = out.is_dir(), out.parent.is_dir()
    if there != (False, True):
        what = "is a directory" if there[0] else "is in no directory"
        raise StoreError(
            f"--out {shorten(str(out), 200)} cannot be written: it {what}; choose another file"
        )


def check_new_file(out: Path, *, force: bool) -> None:
    """Refuse a file that could not be written, or is there already and not to be replaced.

    Raises
    ------
    ConfigError
        If it is an address.
    ConflictError
        If there is a file, and no ``force``.
    StoreError
        If it is a directory, or in none, or no such file can exist.
    """
    out_at(out)
    there = out.is_dir(), out.parent.is_dir()
    if there != (False, True):
        what = "is a directory" if there[0] else "is in no directory"
        raise StoreError(
            f"--out {shorten(str(out), 200)} cannot be written: it {what}; choose another file"
        )
    if out.exists() and not force:
        raise ConflictError(
            f"--out {shorten(str(out), 200)} is there already; choose another file, or give "
            "--force to replace it"
        )


def check_new_folder(out: Path, *, force: bool) -> None:
    """Refuse a folder that could not be written, or holds files that are not to be replaced.

    Raises
    ------
    ConfigError
        If it is an address.
    ConflictError
        If there is anything in it, and no ``force``.
    StoreError
        If it is a file, or no such folder can exist.
    """
    out_at(out)
    if out.exists() and not out.is_dir():
        raise StoreError(
            f"--out {shorten(str(out), 200)} cannot be written: it is a file; choose a folder"
        )
    try:
        is_used = out.is_dir() and any(out.iterdir())
    except OSError as error:
        raise StoreError(
            f"--out {shorten(str(out), 200)} cannot be read: {error.strerror}; choose another "
            "folder"
        ) from error
    if is_used and not force:
        raise ConflictError(
            f"--out {shorten(str(out), 200)} is a folder with files in it; choose another, or give "
            "--force to replace pictures of the same names there"
        )


def make_folder(path: Path) -> None:
    """Make the folder that the user named, and those that it is in.

    Raises
    ------
    StoreError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"--out {shorten(str(path), 200)} cannot be made: {error.strerror}; choose another "
            "folder"
        ) from error


def check_directory(directory: Path | None, *, option: str) -> None:
    """Refuse a directory of results that could not be made, before anything is measured.

    Raises
    ------
    ConfigError
        If it is an address.
    StoreError
        If it is a file, or in no directory.
    """
    if directory is None:
        return
    out_at(directory, option=option, what="directory")
    if directory.is_dir():
        return
    if directory.exists() or not directory.parent.is_dir():
        what = "is a file" if directory.exists() else "is in no directory"
        raise StoreError(
            f"{option} {shorten(str(directory), 200)} cannot be written: it {what}; choose "
            "another directory"
        )


def write_figure(figure: Figure, path: Path) -> bytes:
    """Write a figure to the file that the user named.

    Returns
    -------
    bytes
        The content of the file.

    Raises
    ------
    ConfigError
        If the path does not end in png, svg or pdf.
    StoreError
        If it cannot be written.
    """
    from ae_sweep import plots

    content = plots.render(figure, path.suffix.removeprefix("."))
    write_out(content, path, what="figure")
    return content


def write_out(content: bytes, path: Path, *, what: str) -> None:
    """Write a command's result to the file that the user named; an earlier one stays until then.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    try:
        _write(content, path)
    except OSError as error:
        raise StoreError(
            f"the {what} cannot be written to {shorten(str(path), 200)}: {error.strerror}; "
            "choose another --out"
        ) from error


def _write(content: bytes, path: Path) -> None:
    in_place = path.is_symlink() or (path.exists() and not path.is_file())
    if in_place or not os.access(path.parent, os.W_OK):
        path.write_bytes(content)  # a link, a pipe or a device stays what it is
        return
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    write_atomically(path, content)
    if mode is not None:
        path.chmod(mode)
