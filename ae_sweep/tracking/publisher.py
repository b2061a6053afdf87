"""What is logged of a sweep, applied to MLflow: once, however often it is tried."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from ae_sweep.tracking import models, names
from ae_sweep.tracking.entries import (
    TRIAL_RUN,
    EndRun,
    LogFiles,
    LogMetrics,
    LogModel,
    LogParameters,
    StartRun,
)
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.runs import begin_run, describe_run, log_files, run_tags_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlflow import MlflowClient

    from ae_sweep.tracking.entries import Measurement, RunEntry

MAY_MEAN_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""MLflow's codes for an id that no run has, and for a change of a deleted run."""


class RunGoneError(Exception):
    """A run was deleted in MLflow while its trial was trained, or before it was published."""


class Publisher:
    """Applies entries to MLflow.

    Parameters
    ----------
    place
        The store, for messages.
    sweep
        Name of the sweep.
    """

    def __init__(self, client: MlflowClient, *, place: str, experiment_id: str, sweep: str) -> None:
        self.client = client
        self.place = place
        self._experiment_id = experiment_id
        self._sweep = sweep
        self._run_ids: dict[str, str] = {}
        self._models: dict[str, str] = {}
        self._deadline: float | None = None

    def know(self, run: str, run_id: str) -> None:
        """Take note of MLflow's id of a run."""
        self._run_ids[run] = run_id

    def run_id(self, run: str) -> str | None:
        """Return MLflow's id of a run; None if it is not created yet."""
        return self._run_ids.get(run)

    def model_id(self, run: str) -> str | None:
        """Return MLflow's id of a run's model; None if this publisher has not logged it."""
        return self._models.get(run)

    @contextlib.contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Begin no further request after some seconds: what is applied then fails."""
        self._deadline = None if seconds is None else time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def apply(self, entry: RunEntry, *, again: bool = False) -> None:
        """Apply an entry.

        Parameters
        ----------
        again
            Whether it may have been applied before, in whole or in part: then what is there is
            found and completed.

        Raises
        ------
        RunGoneError
            If its run was deleted.
        StoreError
            If it fails otherwise.
        """
        with translated(self.place):
            try:
                self._apply(entry, again=again)
            except MlflowException as error:
                if error.error_code in MAY_MEAN_GONE and self._is_gone(entry.run):
                    raise RunGoneError(entry.run) from error
                raise

    def _apply(self, entry: RunEntry, *, again: bool) -> None:
        match entry:
            case StartRun():
                self._start(entry, again=again)
            case LogParameters():
                params = [Param(key, text) for key, text in entry.parameters.items()]
                self.client.log_batch(self._id(entry), params=params)
            case LogMetrics():
                self.client.log_batch(self._id(entry), metrics=_metrics(entry.metrics))
            case LogModel():
                self._log_model(entry, again=again)
            case LogFiles():
                files = {name: content() for name, content in entry.files.items()}
                log_files(self.client, self._id(entry), files)
            case EndRun():
                self._end(entry)

    def _start(self, entry: StartRun, *, again: bool) -> None:
        if entry.run_id is not None:
            self.know(entry.run, entry.run_id)
            return
        run_id = self.run_id(entry.run)
        if run_id is None and again:
            run_id = self._find(entry.tags[names.POINT], start_ms=entry.start_ms)
        if run_id is None:
            run_id = begin_run(
                self.client,
                experiment_id=self._experiment_id,
                name=entry.name,
                tags=self._tags_of(entry),
                start_ms=entry.start_ms,
            )
        self.know(entry.run, run_id)
        self._check_time()
        describe_run(self.client, run_id, parameters=entry.parameters, card=entry.card)
        for earlier in entry.replaces:
            self._check_time()
            if (earlier_id := self._id_of_try(earlier)) is not None:
                self._delete(earlier_id)

    def _tags_of(self, entry: StartRun) -> dict[str, str]:
        """Return the tags of a trial; an earlier try that is named by our word, by MLflow's id."""
        tags = dict(entry.tags)
        if (earlier := tags.pop(names.EARLIER_TRY, None)) is not None:
            earlier_id = self._id_of_try(earlier)
            if earlier_id is not None:
                tags[names.EARLIER_TRY] = earlier_id
        return tags

    def _id_of_try(self, run: str) -> str | None:
        """Return MLflow's id of a try; None if it was never created, or is deleted."""
        word = TRIAL_RUN.fullmatch(run)
        if word is None or self.run_id(run) is not None:
            return self.run_id(run) or run
        # It was published by another process, out of the same journal.
        return self._find(word[2], start_ms=int(word[1]))

    def _delete(self, run_id: str) -> None:
        try:
            self.client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code not in MAY_MEAN_GONE or not self._is_deleted(run_id):
                raise

    def _find(self, point: str, *, start_ms: int) -> str | None:
        """Return a run that this process has not created, or whose id was lost on the way."""
        wanted = names.started_trial_filter(self._sweep, point=point, start_ms=start_ms)
        found = self.client.search_runs([self._experiment_id], wanted, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _log_model(self, entry: LogModel, *, again: bool) -> None:
        model_id = models.log_model(
            self.client,
            experiment_id=self._experiment_id,
            run_id=self._id(entry),
            step=entry.step,
            weights=entry.weights(),
            image_shape=entry.image_shape,
            parameters=entry.parameters,
            tags=entry.tags,
            again=again,
            check_time=self._check_time,
        )
        self._check_time()
        self.client.finalize_logged_model(model_id, "READY")
        self._models[entry.run] = model_id

    def _end(self, entry: EndRun) -> None:
        run_id = self._id(entry)
        metrics = _metrics(entry.metrics, model_id=self._model_of(entry))
        self.client.log_batch(run_id, metrics=metrics, tags=run_tags_of(entry.tags))
        self._check_time()
        # The status comes last: whatever is cut off before it does not count as finished.
        self.client.set_terminated(run_id, status=entry.status, end_time=entry.end_ms)

    def _model_of(self, entry: EndRun) -> str | None:
        if not entry.metrics:
            return None
        known = self.model_id(entry.run)
        return known or models.logged_model_id(
            self.client, experiment_id=self._experiment_id, run_id=self._id(entry)
        )

    def _id(self, entry: RunEntry) -> str:
        return self._run_ids[entry.run]

    def _is_gone(self, run: str) -> bool:
        run_id = self.run_id(run)
        return run_id is not None and self._is_deleted(run_id)

    def _is_deleted(self, run_id: str) -> bool:
        try:
            return str(self.client.get_run(run_id).info.lifecycle_stage) == "deleted"
        except MlflowException as error:
            return str(error.error_code) == MAY_MEAN_GONE[0]

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError("it answers too slowly")


def _metrics(metrics: Iterable[Measurement], *, model_id: str | None = None) -> list[Metric]:
    return [
        Metric(each.key, each.value, each.timestamp_ms, each.step, model_id=model_id)
        for each in metrics
    ]
