"""What journals keep of a store's sweeps, read without a tracking server and without a change."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

from ae_sweep.config import NAME_PATTERN
from ae_sweep.errors import StoreError
from ae_sweep.locations import RUNNING
from ae_sweep.messages import visible
from ae_sweep.tracking import journal_file, reader
from ae_sweep.tracking.entries import SWEEP_RUN, EndRun, FinishSweep, LogMetrics, StartRun
from ae_sweep.tracking.journal import count_trials, entries_of, header_of, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.locations import Store
    from ae_sweep.records import TrialRecord
    from ae_sweep.tracking.entries import Entry


@dataclass(frozen=True, kw_only=True)
class KeptSweep:
    """A sweep of which a journal keeps something."""

    name: str
    folder: Path
    trials: int
    """How many trials have entries that wait."""
    place: str
    """The tracking server that they belong to; empty for the store's own database."""
    entries: tuple[Entry, ...]

    @property
    def is_finished(self) -> bool:
        """Whether all trials of the sweep have ended."""
        return any(isinstance(entry, FinishSweep) for entry in self.entries)


def kept_sweeps(store: Store) -> list[KeptSweep]:
    """Return the sweeps of which a journal keeps something, by name; nothing is written.

    Raises
    ------
    StoreError
        If a journal is damaged or cannot be read.
    """
    found = [kept_sweep(store, name) for name in sweeps_with_state(store)]
    return [kept for kept in found if kept is not None]


def sweeps_with_state(store: Store) -> list[str]:
    """Return the names of the sweeps that may have a journal, in order.

    Raises
    ------
    StoreError
        If that cannot be read.
    """
    try:
        folders = sorted((store.root / RUNNING).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(
            f"{visible(store.root / RUNNING)} cannot be read: {error.strerror}; check that you may "
            "read it"
        ) from error
    return [path.name for path in folders if NAME_PATTERN.fullmatch(path.name)]


def kept_sweep(store: Store, name: str) -> KeptSweep | None:
    """Return what the journal of a sweep keeps; None if there is nothing.

    Raises
    ------
    StoreError
        If the journal is damaged or cannot be read.
    """
    if not NAME_PATTERN.fullmatch(name):  # it would be a path to somewhere else
        return None
    folder = store.running(name)
    records = journal_file.read(folder)
    if not records:
        return None
    header = header_of(records, folder)
    entries = entries_of(records, journal_file.JournalFile(folder).content, folder)
    return KeptSweep(
        name=name,
        folder=folder,
        trials=count_trials(entries),
        place=header.place,
        entries=tuple(entries),
    )


def kept_trials(store: Store, sweep: str) -> list[TrialRecord]:
    """Return the trials of a sweep that have ended and wait to be published.

    Those that belong to another tracking server are left out.

    Raises
    ------
    StoreError
        If the journal is damaged or cannot be read.
    """
    kept = kept_sweep(store, sweep)
    if kept is None or kept.place != place_of(store):
        return []
    runs: dict[str, list[Entry]] = defaultdict(list)
    for entry in kept.entries:
        if not isinstance(entry, FinishSweep) and entry.run != SWEEP_RUN:
            runs[entry.run].append(entry)
    records = [_trial_record(entries) for entries in runs.values()]
    return [record for record in records if record is not None]


def _trial_record(entries: Sequence[Entry]) -> TrialRecord | None:
    """Return a trial as it will be read once it is published; None if it has not ended."""
    start, end = entries[0], entries[-1]
    if not isinstance(start, StartRun) or not isinstance(end, EndRun):
        return None
    metrics = [
        Metric(each.key, each.value, each.timestamp_ms, each.step)
        for entry in entries
        if isinstance(entry, LogMetrics | EndRun)
        for each in entry.metrics
    ]
    return reader.trial_record(
        Run(
            RunInfo(
                run_id=start.run_id or start.run,
                experiment_id="",
                user_id="",
                status=end.status,
                start_time=start.start_ms,
                end_time=end.end_ms,
                lifecycle_stage="active",
                run_name=start.name,
            ),
            RunData(
                metrics=metrics,
                params=[Param(key, text) for key, text in start.parameters.items()],
                tags=[RunTag(key, text) for key, text in {**start.tags, **end.tags}.items()],
            ),
        )
    )
