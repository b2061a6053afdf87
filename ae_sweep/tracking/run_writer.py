"""Writer of one run of MLflow: what sweeps and trials have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.records import Outcome
from ae_sweep.tracking import names
from ae_sweep.tracking.entries import EndRun
from ae_sweep.tracking.runs import RUN_STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient

    from ae_sweep.tracking.clock import SteadyClock
    from ae_sweep.tracking.entries import Measurement
    from ae_sweep.tracking.outbox import Outbox


class RunWriter:
    """Writer of one run.

    A run ends once. To end it again does nothing; to write anything else to it then is a bug.

    Parameters
    ----------
    outbox
        Delivers what is written, or keeps it until it can be delivered.
    run
        The word for the run there.
    clock
        Of the whole sweep.
    """

    def __init__(self, outbox: Outbox, *, run: str, clock: SteadyClock) -> None:
        self._outbox = outbox
        self._run = run
        self._clock = clock
        self._ended = False

    @property
    def run_id(self) -> str:
        """MLflow's id of the run.

        Raises
        ------
        RuntimeError
            If the run waits to be created.
        """
        run_id = self._outbox.publisher.run_id(self._run)
        if run_id is None:
            raise RuntimeError(f"the run {self._run} is not in the tracking store yet")
        return run_id

    @property
    def _client(self) -> MlflowClient:
        return self._outbox.publisher.client

    @property
    def _place(self) -> str:
        return self._outbox.publisher.place

    def _check_open(self) -> None:
        """Refuse to write to a run that has ended.

        Raises
        ------
        RuntimeError
            If it has.
        """
        if self._ended:
            raise RuntimeError(f"run {self._run} has ended; nothing more can be written to it")

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end(Outcome.FAILED, {names.FAILURE: reason[: names.MAX_TAG_CHARACTERS]})

    def interrupt(self) -> None:
        """End the run as interrupted."""
        self._end(Outcome.INTERRUPTED)

    def _end(self, outcome: Outcome, tags: Mapping[str, str] | None = None) -> None:
        """Close the run; an ended run stays as it is."""
        if self._ended:
            return
        self._outbox.put(self._end_entry(outcome, tags))
        self._ended = True

    def _end_entry(
        self,
        outcome: Outcome,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[Measurement] = (),
    ) -> EndRun:
        return EndRun(
            run=self._run,
            status=RUN_STATUS[outcome],
            tags={**(tags or {}), names.OUTCOME: str(outcome)},
            end_ms=self._clock.now_ms(),
            metrics=tuple(metrics),
        )
