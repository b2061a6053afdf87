"""Cache of the precision calibration, so that a machine makes the same choice every time."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ae_sweep import training
from ae_sweep.errors import ConfigError
from ae_sweep.files import make_private, read_regular, write_atomically
from ae_sweep.isolation import PRECISION_VARIABLE, asked_precision
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_NAME = "calibration.json"
MOST_BYTES = 2**22
"""Of the file: a choice takes 300 bytes."""


def remembered_precision(
    setting: str,
    calibrate: Callable[[], training.Precision],
    *,
    cache: Path,
    announce: Callable[[str], None],
) -> training.Precision:
    """Choose the precision as this machine chose it before, or calibrate and keep the answer.

    A file that cannot be read is written anew; one that cannot be written is ignored. What the
    environment asks for is taken as it is, and not kept.

    Parameters
    ----------
    setting
        All that the answer depends on: hardware, versions, shapes.
    calibrate
        Finds the answer.
    cache
        The directory that keeps it.
    announce
        Called with a line before a measurement.

    Raises
    ------
    ConfigError
        If the environment asks for one of an unknown name.
    """
    asked = requested_precision()
    if asked is not None:
        return asked
    path = cache / FILE_NAME
    kept = _kept(_read(path), setting)
    if kept is not None:
        return kept
    announce("measuring once which precision is right and fastest here")
    precision = calibrate()
    known = _read(path)  # again: another process may have kept its answer meanwhile
    kept = _kept(known, setting)
    if kept is not None:
        return kept
    with contextlib.suppress(OSError):
        _write(path, known | {setting: asdict(precision)})
    return precision


def requested_precision() -> training.Precision | None:
    """Return the precision that the user asks for, None where it is to be calibrated.

    Raises
    ------
    ConfigError
        If there is no such precision.
    """
    match asked_precision():
        case "" | "auto":
            return None
        case "fp32" | "bf16" as name:
            return training.Precision(name, f"{PRECISION_VARIABLE} asks for it")
        case other:
            raise ConfigError(
                f"{PRECISION_VARIABLE} is {shorten(other)}; it may be fp32, bf16 or auto"
            )


def setting_of(hardware: str, model: str, image_shape: tuple[int, ...], batch_size: int) -> str:
    """Name all that a calibration depends on; ``hardware`` is what `training.hardware` returns."""
    return f"{hardware} {model} {image_shape} batch={batch_size}"


def _kept(known: dict[str, Any], setting: str) -> training.Precision | None:
    entry = known.get(setting)
    if isinstance(entry, dict) and entry.get("name") in ("fp32", "bf16"):
        return training.Precision(entry["name"], str(entry.get("reason")))
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(read_regular(path, most_bytes=MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    make_private(path.parent)
    write_atomically(path, json.dumps(known, indent=1).encode())
