"""Writer of one trial, from its first validation to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.records import Outcome
from ae_sweep.tracking import names
from ae_sweep.tracking.entries import (
    LogFiles,
    LogMetrics,
    LogModel,
    LogParameters,
    Measurement,
)
from ae_sweep.tracking.run_writer import RunWriter
from ae_sweep.tracking.runs import finite, objective_metrics
from ae_sweep.tracking.validity import measured_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.tracking.clock import SteadyClock
    from ae_sweep.tracking.entries import StartRun
    from ae_sweep.tracking.outbox import Outbox
    from ae_sweep.tracking.tries import Tries


class TrialWriter(RunWriter):
    """Writer of one trial, a child run.

    Parameters
    ----------
    start
        Of the run.
    tags
        Of the run's model.
    tries
        Of the sweep's points, to which a failed trial is added.
    """

    def __init__(
        self,
        outbox: Outbox,
        start: StartRun,
        *,
        tags: Mapping[str, str],
        clock: SteadyClock,
        tries: Tries,
    ) -> None:
        super().__init__(outbox, run=start.run, clock=clock)
        self._tags = tags
        self._start = start
        self._tries = tries
        self._seat: dict[str, str] = {}
        self._last_epoch_ms: dict[int, int] = {}

    def log_epoch(self, result: EpochResult) -> None:
        """Write the metrics of one validation, and at the first where it was measured.

        Raises
        ------
        TrainingDivergedError
            If a number is not finite; then nothing is written.
        RuntimeError
            If the trial has ended.
        """
        self._check_open()
        values = {
            "epoch": result.epoch,
            "train_mse": result.train_mse,
            "val_mse": result.val_mse,
            "val_psnr": result.val_psnr,
            **objective_metrics(result),
            "images_per_second": result.images_per_second,
            "epoch_seconds": result.epoch_seconds,
        }
        timestamp_ms = self._clock.now_ms()
        metrics = _measurements(values, step=result.step, timestamp_ms=timestamp_ms)
        if result.seat and not self._seat:
            self._seat = {key: str(value) for key, value in result.seat.items()}
            self._outbox.put(LogParameters(run=self._run, parameters=self._seat))
        self._outbox.put(LogMetrics(run=self._run, metrics=metrics))
        self._last_epoch_ms = {result.step: timestamp_ms}

    def finish(self, result: TrialResult, *, picture: bytes) -> str | None:
        """Write the result, the picture and the model, and end the run as finished.

        Parameters
        ----------
        picture
            A PNG of original and reconstructed test images.

        Returns
        -------
        str | None
            MLflow's id of the logged model; None if that waits to be published.

        Raises
        ------
        TrainingDivergedError
            If a number is not finite; then nothing is written.
        RuntimeError
            If the trial has ended.
        """
        self._check_open()
        values = {
            "val_mse": result.val_mse,
            **objective_metrics(result),
            "test_mse": result.test_mse,
            "test_psnr": result.test_psnr,
            "compression_ratio": result.compression_ratio,
            "parameters": result.parameters,
            "train_seconds": result.train_seconds,
            **{names.RATE_METRICS + key: value for key, value in result.rate.items()},
        }
        # At the last epoch's time, a val_mse that is logged already is linked, not logged twice.
        timestamp_ms = self._last_epoch_ms.get(result.step, self._clock.now_ms())
        metrics = _measurements(values, step=result.step, timestamp_ms=timestamp_ms)
        self._outbox.put(
            self._model_entry(result),
            LogFiles(run=self._run, files={names.PICTURE: _content(picture)}),
            self._end_entry(Outcome.FINISHED, _measured(metrics), metrics),
        )
        self._ended = True
        return self._outbox.publisher.model_id(self._run)

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag; a next try of the point replaces it."""
        if self._ended:
            return
        super().fail(reason)
        self._tries.add_failed(self._start, failure=reason[: names.MAX_TAG_CHARACTERS])

    def prune(self) -> None:
        """End the run as pruned."""
        self._end(Outcome.PRUNED)

    def _model_entry(self, result: TrialResult) -> LogModel:
        _, channels, height, width = result.pictures.shape
        return LogModel(
            run=self._run,
            step=result.step,
            weights=_content(result.weights),
            image_shape=(channels, height, width),
            parameters={**self._start.parameters, **self._seat},
            tags=self._tags,
        )


def _measurements(
    values: Mapping[str, float | None], *, step: int, timestamp_ms: int
) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(key=key, value=value, step=step, timestamp_ms=timestamp_ms)
        for key, value in finite(values, step=step).items()
    )


def _measured(metrics: Sequence[Measurement]) -> dict[str, str]:
    return {names.MEASURED: measured_digest({each.key: each.value for each in metrics})}


def _content(content: bytes) -> Callable[[], bytes]:
    return lambda: content
