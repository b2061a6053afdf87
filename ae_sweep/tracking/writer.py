"""Writers of a sweep and of its trials, from the start of a run to one of its ends."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, RunTag

from ae_sweep.config import PARAMETERS, as_flat_dict, model_settings
from ae_sweep.config.model import setting_text
from ae_sweep.errors import ConfigError, TrainingDivergedError
from ae_sweep.records import Outcome, Role
from ae_sweep.tracking import models, names
from ae_sweep.tracking.curve import curve_metrics, write_curves
from ae_sweep.tracking.dataset import dataset_input
from ae_sweep.tracking.description import describe
from ae_sweep.tracking.errors import translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, EpochResult, TrialIdentity, TrialResult

RUN_STATUS = {
    Outcome.FINISHED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
    Outcome.FAILED: "FAILED",
}
"""MLflow has no status for pruned runs; the tag ``outcome`` says which killed ones were pruned."""


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
                tags=_tags({**(tags or {}), names.OUTCOME: outcome}),
            )
            # The status comes last: whatever is cut off before it does not count as finished.
            self._client.set_terminated(self._run_id, status=RUN_STATUS[outcome])
        self._ended = True

    def _log_files(self, files: Mapping[str, bytes]) -> None:
        _log_files(self._client, self._run_id, files)


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
            **_objective(result),
            "images_per_second": result.images_per_second,
            "epoch_seconds": result.epoch_seconds,
        }
        now_ms = _now_ms()
        metrics = _metrics(values, step=result.step, timestamp_ms=now_ms)
        with translated(self._place):
            self._client.log_batch(self._run_id, metrics=metrics)
        self._last_epoch_ms = {result.step: now_ms}

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
            **_objective(result),
            "test_mse": result.test_mse,
            "test_psnr": result.test_psnr,
            "compression_ratio": result.compression_ratio,
            "parameters": result.parameters,
            "train_seconds": result.train_seconds,
            **{names.RATE_METRICS + key: value for key, value in result.rate.items()},
        }
        # At the last epoch's time, a val_mse that is logged already is linked, not logged twice.
        timestamp_ms = self._last_epoch_ms.get(result.step, _now_ms())
        _metrics(values, step=result.step, timestamp_ms=timestamp_ms)  # before anything is written
        with translated(self._place):
            model_id = self._log_model(result)
            self._log_files({names.PICTURE: picture})
        metrics = _metrics(values, step=result.step, timestamp_ms=timestamp_ms, model_id=model_id)
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
    ) -> None:
        super().__init__(client, place=place, experiment_id=experiment_id, run_id=run_id)
        self._config = config
        self._card = card
        self._commands = commands

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
        texts = _trial_parameters(point, card=self._card, parameters=parameters)
        tags = {
            names.SWEEP: self._config.name,
            names.POINT: point.key,
            names.ROLE: str(role),
            names.METHOD: self._config.method,
        }
        run_tags = {
            **tags,
            **_commit_tag(texts),
            names.KIND: names.KIND_TRIAL,
            names.PARENT: self._run_id,
        }
        with translated(self._place):
            run_id = _create_run(
                self._client,
                experiment_id=self._experiment_id,
                name=name,
                tags=run_tags,
                parameters=texts,
                card=self._card,
            )
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

        Raises
        ------
        RuntimeError
            If the sweep has ended.
        """
        self._check_open()
        files = {
            **figures,
            names.TABLE_JSON: _table_json(table),
            names.TABLE_CSV: table_csv(table).encode(),
            names.DOCUMENT: json.dumps(document, indent=2, allow_nan=False).encode(),
        }
        shown = json.dumps([{"path": names.TABLE_JSON, "type": "table"}])
        with translated(self._place):
            self._log_files(files)
            curves = curve_metrics(points)
            write_curves(self._client, self._run_id, curves, timestamp_ms=_now_ms())
            stored = self._client.get_run(self._run_id).data.tags.get(names.NOTE, "")
        note = describe(
            self._config,
            self._card,
            commands=self._commands,
            table=table,
            findings=findings,
            stored=stored,
        )
        self._end(Outcome.FINISHED, {names.TABLES: shown, names.NOTE: note})


def add_to_run(
    client: MlflowClient,
    run_id: str,
    *,
    place: str,
    metrics: Mapping[str, float],
    files: Mapping[str, bytes],
) -> None:
    """Add measurements and files to a run, whether it has ended or not."""
    entries = _metrics(metrics, step=0, timestamp_ms=_now_ms())
    with translated(place):
        if entries:
            client.log_batch(run_id, metrics=entries)
        if files:
            _log_files(client, run_id, files)


def create_sweep_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    config: SweepConfig,
    card: DatasetCard,
    environment: Mapping[str, str],
    commands: Mapping[str, str],
) -> str:
    """Make a sweep's parent run and return its id."""
    note = describe(config, card, commands=commands)
    return _create_run(
        client,
        experiment_id=experiment_id,
        name=config.name,
        tags={**sweep_tags(config, card), names.NOTE: note, **_commit_tag(environment)},
        parameters={**environment, **as_flat_dict(config)},
        card=card,
    )


def reopen_sweep_run(
    client: MlflowClient,
    run: Run,
    *,
    config: SweepConfig,
    card: DatasetCard,
    commands: Mapping[str, str],
) -> None:
    """Let a sweep's run go on, with the configuration it has now."""
    stored = run.data.tags.get(names.NOTE, "")
    note = describe(config, card, commands=commands, stored=stored)
    client.log_batch(run.info.run_id, tags=_tags({**sweep_tags(config, card), names.NOTE: note}))
    client.update_run(run.info.run_id, status="RUNNING")


def sweep_tags(config: SweepConfig, card: DatasetCard) -> dict[str, str]:
    """Return a sweep's tags.

    The configuration is a tag, since a run's parameters can never change and a resumed sweep
    may have more dims, trials and repeats.

    Raises
    ------
    ConfigError
        If there are too many dims for the tag, which MLflow would cut off.
    """
    text = json.dumps(as_flat_dict(config))
    if len(text) > names.MAX_TAG_CHARACTERS:
        raise ConfigError(
            f"the sweep's settings take {len(text)} characters with {len(config.dims)} dims, and "
            f"MLflow holds {names.MAX_TAG_CHARACTERS}; sweep fewer dims at once"
        )
    return {
        names.SWEEP: config.name,
        names.KIND: names.KIND_SWEEP,
        names.OUTCOME: Outcome.RUNNING,
        names.CONFIG: text,
        names.DATASET_DIGEST: card.digest,
    }


def _create_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
    card: DatasetCard,
) -> str:
    all_tags = {names.OUTCOME: str(Outcome.RUNNING), **names.SOURCE, **tags}
    run = client.create_run(experiment_id, tags=all_tags, run_name=name)
    run_id = str(run.info.run_id)
    try:
        client.log_batch(run_id, params=[Param(key, text) for key, text in parameters.items()])
        client.log_inputs(run_id, [dataset_input(card)])
    except BaseException:
        # Half a run would hold the name of a sweep. If it cannot be deleted, for whatever reason,
        # the first error still says what went wrong.
        with contextlib.suppress(Exception):
            client.delete_run(run_id)
        raise
    return run_id


def _trial_parameters(
    point: TrialIdentity, *, card: DatasetCard, parameters: Mapping[str, str | int | float]
) -> dict[str, str]:
    written = point.hyperparameters.written()
    chosen = [name for name in written if PARAMETERS[name].default is not None]
    values = {
        "dataset": card.name,
        names.PIXELS_PARAMETER: card.pixels,
        **parameters,
        "latent_dim": point.latent_dim,
        **written,
        **({names.CHOSEN_PARAMETER: " ".join(chosen)} if chosen else {}),
        "seed": point.seed,
        "model": point.model,
        **_settings(point.model),
        "recipe": point.recipe,
        "dataset_digest": point.dataset_digest,
    }
    return {key: str(value) for key, value in values.items()}


def _settings(model: str) -> dict[str, str]:
    """Return a model's settings by name, to be filtered by and plotted in the UI."""
    return {
        name: setting_text(value)
        for name, value in model_settings(model).items()
        if name.isidentifier()
    }


def _log_files(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="ae-sweep-files-") as scratch:
        for name, content in files.items():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")
            Path(scratch, name).write_bytes(content)
        client.log_artifacts(run_id, scratch)


def _objective(result: EpochResult | TrialResult) -> dict[str, float]:
    """Return the objective of a model that is not trained by the MSE alone; nothing for others."""
    if not result.val_penalty:
        return {}
    return {"val_penalty": result.val_penalty, "val_objective": result.val_objective}


def _metrics(
    values: Mapping[str, float | None],
    *,
    step: int,
    timestamp_ms: int,
    model_id: str | None = None,
) -> list[Metric]:
    metrics = []
    for key, value in values.items():
        if value is None:
            continue
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"{key} is {value} at step {step}, which cannot be recorded as a measurement; "
                "try a smaller lr"
            )
        metrics.append(Metric(key, value, timestamp_ms, step, model_id=model_id))
    return metrics


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, str(value)) for key, value in tags.items()]


def _commit_tag(texts: Mapping[str, str]) -> dict[str, str]:
    commit = texts.get(names.COMMIT_PARAMETER)
    return {names.GIT_COMMIT: commit} if commit else {}


def _table_json(table: Sequence[Mapping[str, object]]) -> bytes:
    """Return a table as the JSON that MLflow's UI shows as one."""
    columns = list(table[0]) if table else []
    rows = [[_cell(row.get(column)) for column in columns] for row in table]
    return json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()


def table_csv(table: Sequence[Mapping[str, object]]) -> str:
    """Return a table as CSV; None and NaN are empty cells."""
    text = io.StringIO(newline="")
    columns = list(table[0]) if table else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(column)) for column in columns] for row in table])
    return text.getvalue()


def _cell(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
