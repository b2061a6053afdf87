"""The entries of one sweep that wait to be published, kept on the local disk."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.messages import visible
from ae_sweep.tracking.entries import (
    SWEEP_RUN,
    EndRun,
    Entry,
    FinishSweep,
    from_document,
    to_document,
)
from ae_sweep.tracking.journal_file import JournalFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ae_sweep.locations import Store
    from ae_sweep.tracking.journal_file import Record

VERSION = 1
HEADER = "journal"
PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class JournalHeader:
    """Whose entries they are, and where they belong."""

    sweep: str
    run_id: str
    """MLflow's id of the sweep's run."""
    place: str
    """The tracking server, without its password; empty for the store's own database."""


class Journal:
    """Entries in the order in which they were logged, until each is published.

    The file is made with the first of them, and removed with the last.

    Parameters
    ----------
    folder
        Of the journal.
    header
        Of the journal, if it is made.
    """

    def __init__(self, folder: Path, header: JournalHeader) -> None:
        self._file = JournalFile(folder)
        self._header = header
        self._is_open = False
        self._waiting: deque[Entry] = deque()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._file.folder

    @property
    def run_id(self) -> str:
        """MLflow's id of the sweep's run."""
        return self._header.run_id

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    @property
    def first(self) -> Entry:
        """The entry that is to be published next."""
        return self._waiting[0]

    @property
    def trials(self) -> int:
        """How many trials have entries that wait."""
        return count_trials(self._waiting)

    @property
    def finish(self) -> FinishSweep | None:
        """The end of the sweep, if it waits."""
        last = self._waiting[-1] if self._waiting else None
        return last if isinstance(last, FinishSweep) else None

    def open(self) -> None:
        """Take over what an earlier process left.

        Raises
        ------
        ConflictError
            If another process has the journal, or it is of another sweep of that name.
        StoreError
            If it is damaged, or cannot be read or written.
        """
        if self._is_open:
            return
        try:
            records = self._file.open()
            try:
                if records:
                    self._take(records)
                else:
                    self._file.append({"op": HEADER, "version": VERSION, **vars(self._header)})
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise self._not_kept(error) from error
        self._is_open = True

    def add(self, entries: Iterable[Entry]) -> None:
        """Keep entries; they are on the disk when this returns.

        Raises
        ------
        ConflictError, StoreError
            If they cannot be kept.
        """
        self.open()
        for entry in entries:
            try:
                document = to_document(entry, self._file.keep)
                self._file.append(document)
            except OSError as error:
                raise self._not_kept(error) from error
            # As it is on the disk: a model's weights do not stay in memory.
            self._waiting.append(from_document(document, self._file.content))

    def done(self) -> None:
        """Take note that the first entry is published.

        Raises
        ------
        StoreError
            If that cannot be written.
        """
        entry = self._waiting[0]
        try:
            if len(self._waiting) == 1:
                self._file.remove()
                self._is_open = False
            elif isinstance(entry, EndRun) and entry.run != SWEEP_RUN:
                self._file.append({"op": PUBLISHED, "run": entry.run})
        except OSError as error:
            raise self._not_kept(error) from error
        self._waiting.popleft()

    def close(self) -> None:
        """Leave it to others, with what it holds."""
        self._file.close()
        self._is_open = False
        self._waiting.clear()

    def _take(self, records: list[Record]) -> None:
        header = header_of(records, self.folder)
        if header.run_id != self._header.run_id:
            raise ConflictError(
                f"{visible(self.folder)} keeps trials of a sweep {header.sweep} that is not in "
                "this store any more; restore its run in the MLflow UI, or move that directory away"
            )
        self._waiting.extend(entries_of(records, self._file.content, self.folder))

    def _not_kept(self, error: OSError) -> StoreError:
        return StoreError(
            f"the journal {visible(self._file.path)} cannot be written: "
            f"{error.strerror or error}; free some space there, or check that it can be written"
        )


def header_of(records: list[Record], folder: Path) -> JournalHeader:
    """Return the header of a journal.

    Raises
    ------
    StoreError
        If it has none, or is of a version that is not known.
    """
    first: Mapping[str, Any] = records[0]
    if first.get("op") != HEADER or first.get("version") != VERSION:
        raise StoreError(
            f"the journal in {visible(folder)} is of a version that this ae-sweep does not know; "
            "upgrade ae-sweep"
        )
    return JournalHeader(
        sweep=str(first.get("sweep")),
        run_id=str(first.get("run_id")),
        place=str(first.get("place")),
    )


def entries_of(records: list[Record], find: Callable[[str], bytes], folder: Path) -> list[Entry]:
    """Return the entries of a journal that are not published.

    Raises
    ------
    StoreError
        If a record is none that was written by this version.
    """
    published = {record.get("run") for record in records if record.get("op") == PUBLISHED}
    entries = []
    for record in records[1:]:
        if record.get("op") == PUBLISHED or record.get("run") in published:
            continue
        try:
            entries.append(from_document(record, find))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"the journal in {visible(folder)} has an entry that this ae-sweep does not know: "
                f"{visible(error)}; upgrade ae-sweep"
            ) from error
    return entries


def count_trials(entries: Iterable[Entry]) -> int:
    """Count the trials that have entries."""
    runs = {entry.run for entry in entries if not isinstance(entry, FinishSweep)}
    return len(runs - {SWEEP_RUN})


def place_of(store: Store) -> str:
    """Return where the entries of a store belong, as a journal's header has it."""
    return store.redacted_tracking_uri if store.tracking_override else ""
