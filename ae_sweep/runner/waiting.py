"""What journals of a store keep, in words; apart from publishing it, which draws figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import ownership, tracking
from ae_sweep.errors import StoreError
from ae_sweep.messages import counted, visible

if TYPE_CHECKING:
    from ae_sweep.locations import Store


@dataclass(frozen=True, kw_only=True)
class WaitingSweep:
    """A sweep of which a journal keeps something."""

    sweep: str
    trials: int
    """How many trials wait, in whole or in part; 0 if the frontier alone does."""
    text: str
    """What waits, and the command that publishes it; or why the journal cannot be read."""


def waiting_sweeps(store: Store, sweep: str | None = None) -> list[WaitingSweep]:
    """Return what journals keep: of one sweep, or of all sweeps of the store; write nothing.

    A journal that cannot be read is one that waits: nothing here is an error, since what is stored
    can be shown without it.
    """
    try:
        names = [sweep] if sweep is not None else tracking.sweeps_with_state(store)
    except StoreError as error:
        return [WaitingSweep(sweep="", trials=0, text=str(error))]
    found = [_waiting(store, name) for name in names]
    return [each for each in found if each is not None]


def _waiting(store: Store, sweep: str) -> WaitingSweep | None:
    try:
        kept = tracking.kept_sweep(store, sweep)
    except StoreError as error:
        return WaitingSweep(sweep=sweep, trials=0, text=str(error))
    if kept is None:
        return None
    what = (
        f"{counted(kept.trials, 'trial')} of {sweep} {'waits' if kept.trials == 1 else 'wait'}"
        if kept.trials
        else f"the frontier of {sweep} waits"
    )
    owner = ownership.find(store.running(sweep))
    if owner is not None and owner.state is not ownership.State.DEAD:
        how = f"{owner}, which runs it, publishes when it can"
    else:
        how = f"publish with `{store.command('sync', sweep)}`"
    text = f"{what} in {visible(kept.folder)} to be published and not in what is shown here; {how}"
    return WaitingSweep(sweep=sweep, trials=kept.trials, text=text)
