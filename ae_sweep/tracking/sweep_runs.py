"""MLflow's runs of sweeps and of their trials, found by the sweep's name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.config import NAME_PATTERN
from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.messages import shorten
from ae_sweep.tracking import names, reader
from ae_sweep.tracking.errors import nothing_stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.locations import Store


@dataclass(frozen=True, kw_only=True)
class SweepRuns:
    """The runs of one experiment; every call is made within ``errors.translated``."""

    client: MlflowClient
    store: Store
    experiment_id: str

    def parents(self) -> Iterator[Run]:
        """Yield the runs of all sweeps, the newest first."""
        return self._search(names.sweeps_filter(), newest_first=True)

    def find(self, name: str) -> Run | None:
        """Return the run of a sweep; None if no sweep of that name is stored."""
        return next(self.all_named(name), None)

    def all_named(self, name: str) -> Iterator[Run]:
        """Yield the runs of a sweep's name, the newest first: two for a moment, if two begin it."""
        if not NAME_PATTERN.fullmatch(name):  # it would not be safe inside a filter
            return iter(())
        return self._search(names.sweep_filter(name), newest_first=True)

    def parent(self, name: str | None = None) -> Run:
        """Return the run of a sweep, of the latest if none is named.

        Raises
        ------
        NotStoredError
            If there is none of that name, or none at all.
        StoreError
            If the latest has a name that no sweep can have.
        """
        if name is None:
            return self._latest()
        if (run := self.find(name)) is not None:
            return run
        raise _no_such_sweep(
            name, [run.data.tags[names.SWEEP] for run in self.parents()], self.store
        )

    def trials(self, sweep: str | None = None) -> Iterator[Run]:
        """Yield the trials of one sweep, or of all, in the order they were started.

        A sweep's name has passed the names' pattern.
        """
        return self._search(names.trials_filter(sweep))

    def imports(self, sweep: str) -> Iterator[Run]:
        """Yield the runs of a sweep's name whose import has not ended, or was killed."""
        return self._search(names.import_filter(sweep))

    def with_codec(self, digest: str) -> Iterator[Run]:
        """Yield the trials that have a codec of a digest, the newest first."""
        return self._search(names.codec_filter(digest), newest_first=True)

    def _latest(self) -> Run:
        latest = next(self.parents(), None)
        if latest is None:
            raise nothing_stored(self.store)
        name = latest.data.tags[names.SWEEP]
        if not NAME_PATTERN.fullmatch(name):  # it would not be safe inside a filter
            raise StoreError(
                f"the latest sweep is named {shorten(name)}, which ae-sweep gives none; name "
                "another sweep, or mend its tag in the MLflow UI"
            )
        return latest

    def _search(self, filter_string: str, *, newest_first: bool = False) -> Iterator[Run]:
        found = reader.search(
            self.client,
            experiment_id=self.experiment_id,
            filter_string=filter_string,
            newest_first=newest_first,
        )
        for run in found:
            reader.check_sweep_tag(run)
            yield run


def _no_such_sweep(name: str, stored: list[str], store: Store) -> NotStoredError:
    if not stored:
        return nothing_stored(store)
    near = difflib.get_close_matches(name, stored, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"the latest is {stored[0]};"
    return NotStoredError(
        f"no sweep is named {shorten(name)}; {hint} `{store.command('list')}` lists all"
    )
