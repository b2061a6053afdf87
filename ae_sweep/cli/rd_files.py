"""Curves as files for other tools: one JSON document per curve."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ae_sweep import analysis
from ae_sweep.analysis.rd_document import rd_document
from ae_sweep.errors import StoreError
from ae_sweep.files import write_atomically
from ae_sweep.messages import counted, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.analysis import RateComparison

UNSAFE = re.compile(r"[^\w.-]+")


def write_rd_files(comparison: RateComparison, directory: Path) -> list[str]:
    """Write every curve that has points with a rate and a PSNR; files of other names stay.

    Returns
    -------
    list of str
        What was written, and what was not and why, one line each.

    Raises
    ------
    StoreError
        If the directory or a file in it cannot be written.
    """
    lines: list[str] = []
    written: list[str] = []
    try:
        directory.mkdir(exist_ok=True)
        for curve in comparison.curves():
            document = rd_document(curve)
            if isinstance(document, analysis.NotApplicable):
                lines.append(f"no file of {curve.name}: {document.reason}")
                continue
            name = curve.name if not curve.seed else f"{curve.name}, seed {curve.seed}"
            file = file_name(name, taken=written)
            content = json.dumps(document | {"name": name}, indent=2, allow_nan=False)
            write_atomically(directory / file, content.encode())
            written.append(file)
    except OSError as error:
        raise StoreError(
            f"--rd-json {shorten(str(directory), 200)} cannot be written: {error.strerror}; "
            "choose another directory"
        ) from error
    return [*lines, f"curves: {counted(len(written), 'file')} in {directory}"]


def file_name(name: str, *, taken: Sequence[str]) -> str:
    """Return a file name made of a curve's name that no other curve has."""
    stem = UNSAFE.sub("-", name).strip("-.")[:80] or "curve"
    numbered = (f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, len(taken) + 3)))
    return next(each for each in numbered if each not in taken)
