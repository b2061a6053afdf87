"""Writer of one sweep, from the start of its run to one of its ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.config import as_flat_dict
from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import names
from ae_sweep.tracking.clock import SteadyClock
from ae_sweep.tracking.curve import curve_metrics, write_curves
from ae_sweep.tracking.description import describe
from ae_sweep.tracking.entries import SWEEP_RUN, EndRun, FinishSweep, StartRun, trial_run
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.run_writer import RunWriter
from ae_sweep.tracking.runs import (
    commit_tag,
    log_files,
    table_csv,
    table_json,
    table_tag,
    trial_parameters,
)
from ae_sweep.tracking.trial_writer import TrialWriter
from ae_sweep.tracking.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, TrialIdentity
    from ae_sweep.tracking.entries import Measurement
    from ae_sweep.tracking.outbox import Outbox
    from ae_sweep.tracking.server_owner import SignOfLife


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What waits in a journal when a sweep has ended."""

    trials: int
    folder: Path


class SweepWriter(RunWriter):
    """Writer of one sweep, the parent run of its trials.

    Parameters
    ----------
    commands
        Purpose → command, for the description of the run.
    tries
        Of its points, which ended without a result; none of a new sweep.
    on_server
        Whether its run says which process runs it.
    sign
        Renews what it says; None of a process that only ends the sweep.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        config: SweepConfig,
        card: DatasetCard,
        commands: Mapping[str, str],
        tries: Tries | None = None,
        on_server: bool = False,
        sign: SignOfLife | None = None,
    ) -> None:
        super().__init__(outbox, run=SWEEP_RUN, clock=SteadyClock())
        self._config = config
        self._card = card
        self._commands = commands
        self._tries = tries or Tries()
        self._last_start_ms = 0
        self._on_server = on_server
        self._sign = sign

    def check(self) -> None:
        """Stop this process if it is to write nothing more.

        Raises
        ------
        ConflictError
            If another process has taken the sweep over, on the tracking server.
        """
        if self._sign is not None:
            self._sign.check()

    def release(self) -> None:
        """Say no more that this process runs the sweep."""
        if self._sign is not None:
            self._sign.stop()

    def _end_entry(
        self,
        outcome: Outcome,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[Measurement] = (),
    ) -> EndRun:
        self.release()
        nobody = {names.OWNER: ""} if self._on_server else {}
        return super()._end_entry(outcome, {**(tags or {}), **nobody}, metrics)

    @property
    def config(self) -> SweepConfig:
        """The sweep."""
        return self._config

    def start_trial(
        self,
        *,
        name: str,
        point: TrialIdentity,
        role: Role,
        parameters: Mapping[str, str | int | float],
    ) -> TrialWriter:
        """Start a trial's run.

        Parameters
        ----------
        name
            Name of the run in the UI.
        point
            Its fields become parameters, its key a tag.
        parameters
            What else decides the result or says where it came from: batch_size, precision,
            device, versions; ``git_commit``, if there is one, becomes MLflow's tag as well.

        Raises
        ------
        RuntimeError
            If the sweep has ended.
        """
        self._check_open()
        texts = trial_parameters(point, card=self._card, parameters=parameters)
        tags = {
            names.SWEEP: self._config.name,
            names.POINT: point.key,
            names.ROLE: str(role),
            names.METHOD: self._config.method,
        }
        # Later than the one before: point and start are how a run is found again.
        self._last_start_ms = max(self._clock.now_ms(), self._last_start_ms + 1)
        start = StartRun(
            run=trial_run(point.key, start_ms=self._last_start_ms),
            name=name,
            tags={
                **tags,
                **self._tries.tags(point.key),
                **commit_tag(texts),
                names.KIND: names.KIND_TRIAL,
                names.PARENT: self.run_id,
            },
            parameters=texts,
            card=self._card,
            start_ms=self._last_start_ms,
            replaces=self._tries.pop(point.key),
        )
        self._outbox.put(start)
        return TrialWriter(self._outbox, start, tags=tags, clock=self._clock, tries=self._tries)

    def flush(self) -> None:
        """Publish all that waits.

        Raises
        ------
        StoreError
            If it fails; what is not published waits on.
        """
        self._outbox.flush()

    def keep(self, *, linear_mse: Mapping[int, float]) -> Kept:
        """Leave the frontier to whoever publishes what waits; the run ends with that.

        Parameters
        ----------
        linear_mse
            Test MSE of principal components by their number, if it was measured.

        Raises
        ------
        StoreError
            If that cannot be kept.
        """
        self._outbox.keep_finish(
            FinishSweep(
                config=as_flat_dict(self._config),
                card=self._card,
                commands=self._commands,
                linear_mse=linear_mse,
            )
        )
        self._ended = True
        self.release()
        journal = self._outbox.journal
        assert journal is not None, "the entry above is in it"  # noqa: S101
        kept = Kept(trials=journal.trials, folder=journal.folder)
        journal.close()
        return kept

    def finish(
        self,
        *,
        figures: Mapping[str, bytes],
        table: Sequence[Mapping[str, object]],
        document: Mapping[str, object],
        points: Sequence[FrontierPoint] = (),
        findings: Sequence[str] = (),
        linear_mse: Mapping[int, float] | None = None,
    ) -> None:
        """Write the frontier and its description, and end the run as finished.

        Parameters
        ----------
        figures
            File name → content.
        table
            Rows with the same columns; None and NaN are cells without a value.
        document
            The frontier as a JSON-able value without NaN.
        points
            Of the frontier: they become metrics whose step is the latent_dim.
        findings
            Sentences on the frontier, for the description.
        linear_mse
            Test MSE of principal components by their number, if it was measured.

        Raises
        ------
        RuntimeError
            If the sweep has ended.
        """
        self._check_open()
        files = {
            **figures,
            names.TABLE_JSON: table_json(table),
            names.TABLE_CSV: table_csv(table).encode(),
            names.DOCUMENT: json.dumps(document, indent=2, allow_nan=False).encode(),
        }
        shown = table_tag(names.TABLE_JSON)
        with translated(self._place):
            log_files(self._client, self.run_id, files)
            curves = curve_metrics(points)
            write_curves(self._client, self.run_id, curves, timestamp_ms=self._clock.now_ms())
            stored = self._client.get_run(self.run_id).data.tags.get(names.NOTE, "")
        note = describe(
            self._config,
            self._card,
            commands=self._commands,
            table=table,
            findings=findings,
            stored=stored,
        )
        linear = {names.LINEAR_MSE: json.dumps(dict(linear_mse))} if linear_mse else {}
        tags = {names.TABLES: shown, names.NOTE: note, **linear}
        # Never left to the journal: the run has not finished unless all of the above is there.
        self._outbox.publisher.apply(self._end_entry(Outcome.FINISHED, tags))
        self._ended = True
