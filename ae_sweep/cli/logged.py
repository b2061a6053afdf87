"""Logging of what a command found; a command that could not log it has still done its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.cli.console import say
from ae_sweep.errors import StoreError

if TYPE_CHECKING:
    from ae_sweep.api import Sweep
    from ae_sweep.inspection import Inspection


def log_or_say(sweep: Sweep, *values: Inspection) -> None:
    """Log to MLflow what inspections found; say in one line why it could not be logged."""
    from ae_sweep import inspection

    try:
        inspection.log(sweep, *values)
    except StoreError as error:
        say(f"not logged to MLflow: {error}")
