"""Refusals of what is stored: another program's sweep, no such sweep, other settings."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ae_sweep.config import NAME_PATTERN, changed_settings
from ae_sweep.errors import ConflictError, NotStoredError, StoreError
from ae_sweep.messages import shorten
from ae_sweep.tracking import names
from ae_sweep.tracking.errors import nothing_stored

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.records import DatasetCard, SweepRecord


def refuse_foreign_name(parent: Run) -> None:
    """Refuse a sweep that ae-sweep did not name.

    Raises
    ------
    StoreError
        If its name would not be safe inside a filter.
    """
    name = parent.data.tags[names.SWEEP]
    if not NAME_PATTERN.fullmatch(name):  # it would not be safe inside a filter
        raise StoreError(
            f"the latest sweep is named {shorten(name)}, which ae-sweep gives none; name another "
            "sweep, or mend its tag in the MLflow UI"
        )


def no_such_sweep(name: str, stored: list[str], store: Store) -> NotStoredError:
    """Return the error for a name that no stored sweep has."""
    if not stored:
        return nothing_stored(store)
    near = difflib.get_close_matches(name, stored, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the latest is {stored[0]};"
    return NotStoredError(
        f"no sweep is named {shorten(name)}; {hint} `{store.command('list')}` lists all"
    )


def refuse_other(stored: SweepRecord, config: SweepConfig, card: DatasetCard) -> None:
    """Refuse to resume a sweep with other settings or images.

    Raises
    ------
    ConflictError
        With what differs.
    """
    if changes := changed_settings(stored.config, config.identity()):
        raise ConflictError(
            f"the sweep {config.name} is stored with other settings: {'; '.join(changes)}; resume "
            "it with the same settings, or choose another --name"
        )
    if stored.dataset_digest != card.digest:
        raise ConflictError(
            f"the sweep {config.name} was measured on other images of {card.name} (digest "
            f"{stored.dataset_digest}, now {card.digest}); choose another --name"
        )
