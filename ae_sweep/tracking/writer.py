"""Writers of a sweep and of its trials, from the start of a run to one of its ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import models, names
from ae_sweep.tracking.curve import curve_metrics, write_curves
from ae_sweep.tracking.description import describe
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.runs import (
    RUN_STATUS,
    commit_tag,
    create_run,
    log_files,
    metrics_of,
    now_ms,
    objective_metrics,
    run_tags_of,
    table_csv,
    table_json,
    table_tag,
    trial_parameters,
)
from ae_sweep.tracking.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, EpochResult, TrialIdentity, TrialResult


class RunWriter:
    """Writer of one run: what sweeps and trials have in common.

    A run ends once. To end it again does nothing; to write anything else to it then is a bug.
    """

    def __init__(
        self, client: MlflowClient, *, place: str, experiment_id: str, run_id: str
    ) -> None:
        self._client = client
        self._place = place
        self._experiment_id = experiment_id
        self._run_id = run_id
        self._ended = False

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return self._run_id

    def _check_open(self) -> None:
        """Refuse to write to a run that has ended.

        Raises
        ------
        RuntimeError
            If it has.
        """
        if self._ended:
            raise RuntimeError(f"run {self._run_id} has ended; nothing more can be written to it")

    def fail(self, reason: str) -> None:
        """End the run as failed, with the reason as a tag."""
        self._end(Outcome.FAILED, {names.FAILURE: reason[: names.MAX_TAG_CHARACTERS]})

    def interrupt(self) -> None:
        """End the run as interrupted."""
        self._end(Outcome.INTERRUPTED)

    def _end(
        self,
        outcome: Outcome,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
    ) -> None:
        """Write what is left and close the run; an ended run stays as it is."""
        if self._ended:
            return
        with translated(self._place):
            self._client.log_batch(
                self._run_id,
                metrics=metrics,
                tags=run_tags_of({**(tags or {}), names.OUTCOME: outcome}),
            )
            # The status comes last: whatever is cut off before it does not count as finished.
            self._client.set_terminated(self._run_id, status=RUN_STATUS[outcome])
        self._ended = True

    def _log_files(self, files: Mapping[str, bytes]) -> None:
        log_files(self._client, self._run_id, files)


class TrialWriter(RunWriter):
    """Writer of one trial, a child run."""

    def __init__(
        self,
        client: MlflowClient,
        *,
        place: str,
        experiment_id: str,
        run_id: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, str],
    ) -> None:
        super().__init__(client, place=place, experiment_id=experiment_id, run_id=run_id)
        self._tags = tags
        self._parameters = parameters
        self._last_epoch_ms: dict[int, int] = {}

    def log_epoch(self, result: EpochResult) -> None:
        """Write the metrics of one validation.

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
        timestamp_ms = now_ms()
        metrics = metrics_of(values, step=result.step, timestamp_ms=timestamp_ms)
        with translated(self._place):
            self._client.log_batch(self._run_id, metrics=metrics)
        self._last_epoch_ms = {result.step: timestamp_ms}

    def finish(self, result: TrialResult, *, picture: bytes) -> str:
        """Write the result, the picture and the model, and end the run as finished.

        Parameters
        ----------
        picture
            A PNG of original and reconstructed test images.

        Returns
        -------
        str
            MLflow's id of the logged model.

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
        timestamp_ms = self._last_epoch_ms.get(result.step, now_ms())
        metrics_of(
            values, step=result.step, timestamp_ms=timestamp_ms
        )  # before anything is written
        with translated(self._place):
            model_id = self._log_model(result)
            self._log_files({names.PICTURE: picture})
        metrics = metrics_of(values, step=result.step, timestamp_ms=timestamp_ms, model_id=model_id)
        self._end(Outcome.FINISHED, metrics=metrics)
        return model_id

    def prune(self) -> None:
        """End the run as pruned."""
        self._end(Outcome.PRUNED)

    def _log_model(self, result: TrialResult) -> str:
        _, channels, height, width = result.pictures.shape
        model_id = models.log_model(
            self._client,
            experiment_id=self._experiment_id,
            run_id=self._run_id,
            step=result.step,
            weights=result.weights,
            image_shape=(channels, height, width),
            parameters=self._parameters,
            tags=self._tags,
        )
        self._client.finalize_logged_model(model_id, "READY")
        return model_id


class SweepWriter(RunWriter):
    """Writer of one sweep, the parent run of its trials.

    Parameters
    ----------
    commands
        Purpose → command, for the description of the run.
    tries
        Of its points, which ended without a result; none of a new sweep.
    """

    def __init__(
        self,
        client: MlflowClient,
        *,
        place: str,
        experiment_id: str,
        run_id: str,
        config: SweepConfig,
        card: DatasetCard,
        commands: Mapping[str, str],
        tries: Tries | None = None,
    ) -> None:
        super().__init__(client, place=place, experiment_id=experiment_id, run_id=run_id)
        self._config = config
        self._card = card
        self._commands = commands
        self._tries = tries or Tries(client)

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
        run_tags = {
            **tags,
            **self._tries.tags(point.key),
            **commit_tag(texts),
            names.KIND: names.KIND_TRIAL,
            names.PARENT: self._run_id,
        }
        with translated(self._place):
            run_id = create_run(
                self._client,
                experiment_id=self._experiment_id,
                name=name,
                tags=run_tags,
                parameters=texts,
                card=self._card,
            )
            self._tries.replace(point.key)
        return TrialWriter(
            self._client,
            place=self._place,
            experiment_id=self._experiment_id,
            run_id=run_id,
            tags=tags,
            parameters=texts,
        )

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
            self._log_files(files)
            curves = curve_metrics(points)
            write_curves(self._client, self._run_id, curves, timestamp_ms=now_ms())
            stored = self._client.get_run(self._run_id).data.tags.get(names.NOTE, "")
        note = describe(
            self._config,
            self._card,
            commands=self._commands,
            table=table,
            findings=findings,
            stored=stored,
        )
        linear = {names.LINEAR_MSE: json.dumps(dict(linear_mse))} if linear_mse else {}
        self._end(Outcome.FINISHED, {names.TABLES: shown, names.NOTE: note, **linear})
