"""Publishing of what journals keep, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.locations import open_at
from ae_sweep.messages import ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.runner.publishing import PublishedSweep


def sync(
    sweep: str | None = None,
    *,
    store: Path | str | None = None,
    announce: Callable[[str], None] | None = None,
) -> list[PublishedSweep]:
    """Publish the trials that were measured while the tracking store failed.

    Each is published once, however often this is called. A sweep that had ended is finished too.

    Parameters
    ----------
    sweep
        Name of one; all sweeps of the store if left out.
    store
        The directory in which the journals are; see `run_sweep`.
    announce
        Called with each message, one line.

    Returns
    -------
    list[PublishedSweep]
        The sweeps of which something was published, by name.

    Raises
    ------
    ConflictError
        If a sweep is running, or its trials belong to a tracking server that is not known.
    NotStoredError
        If there is no sweep of that name.
    StoreError
        If the tracking store fails, or a journal is damaged.
    """
    from ae_sweep.runner import publishing

    place = open_at(store, announce=announce)
    return publishing.sync(place, sweep, announce=announce or ignore)
