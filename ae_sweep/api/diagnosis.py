"""The report of ``ae-sweep doctor``, from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.locations import cache_dir, open_at
from ae_sweep.messages import ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.runner.doctor import Report


def diagnose(
    *, store: Path | str | None = None, announce: Callable[[str], None] | None = None
) -> Report:
    """Check what a sweep needs: versions, device, memory, the store, data sets, the server.

    Nothing is written to the store.

    Parameters
    ----------
    store
        The directory of runs, artifacts and studies; see `run_sweep`.
    announce
        Called with a line before a measurement.

    Returns
    -------
    Report
        Its ``findings``, each with ``check``, ``status``, ``what`` and ``remedy``, and the worst
        ``status`` of them: ``"ok"``, ``"warn"``, or ``"stop"`` where something would stop a sweep.

    Raises
    ------
    ConfigError, StoreError
        If no store can be there.
    """
    from ae_sweep.runner import doctor

    place = open_at(store, announce=announce)
    return doctor.diagnose(place, cache_dir=cache_dir(), announce=announce or ignore)
