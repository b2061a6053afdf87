"""Export, import and adoption from Python."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ae_sweep.locations import export_at, open_at, out_at

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.runner.archive import ExportedSweep
    from ae_sweep.tracking import Adoption


def export_sweep(
    name: str | None,
    directory: Path | str,
    *,
    store: Path | str | None = None,
    force: bool = False,
) -> ExportedSweep:
    """Write a stored sweep to plain files: CSV, JSON, pictures and safetensors.

    Parameters
    ----------
    name
        Of the sweep, the latest if None.
    directory
        A new one. It appears whole or not at all.
    force
        Whether an earlier export there is replaced.

    Raises
    ------
    NotStoredError
        If there is no such sweep.
    ConflictError
        If it is running, or has trials that wait to be published, or the directory is used.
    StoreError
        If the store cannot be read, or the directory not be written.
    """
    from ae_sweep.runner import archive

    target = out_at(directory, option="DIR", what="directory")
    announce = logging.getLogger(__name__).warning
    return archive.export_sweep(name, target, open_at(store), force=force, announce=announce)


def import_sweep(
    directory: Path | str, *, store: Path | str | None = None, name: str | None = None
) -> ExportedSweep:
    """Write an exported sweep into a store, which is made where there is none.

    Parameters
    ----------
    directory
        Of the export. Every file of it is verified first.
    name
        Of the sweep in the store; the one that it had if left out.

    Raises
    ------
    ConfigError
        If no sweep can have the name.
    DataError
        If the directory is not an export, or one that was changed.
    ConflictError
        If something is stored under the name.
    StoreError
        If the store cannot be written. Nothing of the sweep stays there.
    """
    from ae_sweep.runner import archive

    return archive.import_sweep(export_at(directory), open_at(store), name=name)


def adopt_store(store: Path | str | None = None) -> Adoption:
    """Make a store that was moved or copied writable where it is now.

    Raises
    ------
    ConfigError
        If the runs are not in the store's own database.
    NotStoredError
        If nothing is stored there.
    ConflictError
        If a sweep is running in it.
    StoreError
        If it cannot be written, or has no artifacts.
    """
    from ae_sweep import tracking

    return tracking.adopt(open_at(store))
