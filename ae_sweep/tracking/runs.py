"""Runs of MLflow in our form: created, with parameters, tags, metrics and files."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from ae_sweep.config import PARAMETERS, as_flat_dict, model_settings
from ae_sweep.config.model import setting_text
from ae_sweep.errors import ConfigError, TrainingDivergedError
from ae_sweep.isolation import once
from ae_sweep.messages import visible
from ae_sweep.records import Outcome
from ae_sweep.tracking import names
from ae_sweep.tracking.clock import system_ms
from ae_sweep.tracking.dataset import dataset_input
from ae_sweep.tracking.description import describe
from ae_sweep.tracking.errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard, EpochResult, TrialIdentity, TrialResult


RUN_STATUS = {
    Outcome.FINISHED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
    Outcome.FAILED: "FAILED",
}
"""MLflow has no status for pruned runs; the tag ``outcome`` says which killed ones were pruned."""


def add_to_run(
    client: MlflowClient,
    run_id: str,
    *,
    place: str,
    metrics: Mapping[str, float],
    files: Mapping[str, bytes],
    tags: Mapping[str, str],
) -> None:
    """Add measurements, files and tags to a run, whether it has ended or not."""
    timestamp_ms = system_ms()
    entries = [
        Metric(key, value, timestamp_ms, 0) for key, value in finite(metrics, step=0).items()
    ]
    with translated(place):
        if entries:
            client.log_batch(run_id, metrics=entries)
        if files:
            log_files(client, run_id, files)
        if tags:  # last: they say that the files are there
            client.log_batch(run_id, tags=run_tags_of(tags))


def create_sweep_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    config: SweepConfig,
    card: DatasetCard,
    environment: Mapping[str, str],
    commands: Mapping[str, str],
    owner: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Make a sweep's parent run and return its id.

    Parameters
    ----------
    owner
        Tag of the process that runs it, if the store has one.
    """
    note = describe(config, card, commands=commands)
    return create_run(
        client,
        experiment_id=experiment_id,
        name=config.name,
        tags={**sweep_tags(config, card), names.NOTE: note, **commit_tag(environment), **owner},
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
    owner: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Let a sweep's run go on, with the configuration it has now.

    Parameters
    ----------
    owner
        Tag of the process that runs it, if the store has one.
    """
    stored = run.data.tags.get(names.NOTE, "")
    note = describe(config, card, commands=commands, stored=stored)
    tags = {**sweep_tags(config, card), names.NOTE: note, **owner}
    client.log_batch(run.info.run_id, tags=run_tags_of(tags))
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
        **({names.LEAKS: str(card.leaks)} if card.leaks else {}),
    }


def create_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
    card: DatasetCard,
) -> str:
    """Make a run with tags, parameters and data set, and return its id; never half a run."""
    run_id = begin_run(client, experiment_id=experiment_id, name=name, tags=tags)
    try:
        describe_run(client, run_id, parameters=parameters, card=card)
    except BaseException:
        # Half a run would hold the name of a sweep. If it cannot be deleted, for whatever reason,
        # the first error still says what went wrong.
        with contextlib.suppress(Exception):
            client.delete_run(run_id)
        raise
    return run_id


def begin_run(
    client: MlflowClient,
    *,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    start_ms: int | None = None,
) -> str:
    """Make a run that has its tags only, and return its id.

    Parameters
    ----------
    start_ms
        Milliseconds since the epoch; now if left out.
    """
    all_tags = {names.OUTCOME: str(Outcome.RUNNING), **names.SOURCE, **tags}
    with once:
        run = client.create_run(experiment_id, start_time=start_ms, tags=all_tags, run_name=name)
    return str(run.info.run_id)


def describe_run(
    client: MlflowClient, run_id: str, *, parameters: Mapping[str, str], card: DatasetCard
) -> None:
    """Give a run its parameters and its data set; to do it again changes nothing."""
    client.log_batch(run_id, params=[Param(key, text) for key, text in parameters.items()])
    add_once(lambda: client.log_inputs(run_id, [dataset_input(card)]))


def add_once(add: Callable[[], object]) -> None:
    """Have MLflow add a row that another process may add as well, such as a data set.

    MLflow looks for it first. Where the other has added it since, that fails, and it is found the
    next time.
    """
    try:
        add()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        add()


def trial_parameters(
    point: TrialIdentity, *, card: DatasetCard, parameters: Mapping[str, str | int | float]
) -> dict[str, str]:
    """Return the parameters of a trial's run as texts: its settings, and what is given besides."""
    written = point.hyperparameters.written()
    chosen = [name for name in written if PARAMETERS[name].default is not None]
    channels, _, _ = card.image_shape
    values = {
        "dataset": visible(card.name),
        names.PIXELS_PARAMETER: card.pixels,
        **dataclasses.asdict(point.hyperparameters),
        **({names.CHANNELS_PARAMETER: channels} if channels != 1 else {}),
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


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Store files on a run, by name → content; a name may have folders before it."""
    with tempfile.TemporaryDirectory(prefix="ae-sweep-files-") as scratch:
        for name, content in files.items():
            parts = name.split("/")
            if any(part in ("", ".", "..") or Path(part).name != part for part in parts):
                raise ValueError(f"{name!r} is not a plain file name")
            file = Path(scratch, *parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        client.log_artifacts(run_id, scratch)


def objective_metrics(result: EpochResult | TrialResult) -> dict[str, float]:
    """Return the objective of a model that is not trained by the MSE alone; nothing for others."""
    if not result.val_penalty:
        return {}
    return {"val_penalty": result.val_penalty, "val_objective": result.val_objective}


def finite(values: Mapping[str, float | None], *, step: int) -> dict[str, float]:
    """Return the numbers that can be recorded; None is left out.

    Raises
    ------
    TrainingDivergedError
        If a number is NaN or infinite.
    """
    numbers = {key: value for key, value in values.items() if value is not None}
    for key, value in numbers.items():
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"{key} is {value} at step {step}, which cannot be recorded as a measurement; "
                "try a smaller lr"
            )
    return numbers


def run_tags_of(tags: Mapping[str, str]) -> list[RunTag]:
    """Return tags as MLflow's entities."""
    return [RunTag(key, str(value)) for key, value in tags.items()]


def commit_tag(texts: Mapping[str, str]) -> dict[str, str]:
    """Return MLflow's own tag of the git commit, if the commit is known."""
    commit = texts.get(names.COMMIT_PARAMETER)
    return {names.GIT_COMMIT: commit} if commit else {}


def table_json(table: Sequence[Mapping[str, object]]) -> bytes:
    """Return a table as the JSON that MLflow's UI shows as one."""
    columns = list(table[0]) if table else []
    rows = [[_cell(row.get(column)) for column in columns] for row in table]
    return json.dumps({"columns": columns, "data": rows}, allow_nan=False).encode()


def table_tag(file: str) -> str:
    """Return the tag by which MLflow's UI shows a file as a table."""
    return json.dumps([{"path": file, "type": "table"}])


FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With which a spreadsheet takes a cell for a formula, which may run commands."""


def table_csv(table: Sequence[Mapping[str, object]]) -> str:
    """Return a table as CSV; None and NaN are empty cells.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    text = io.StringIO(newline="")
    columns = list(table[0]) if table else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_cell(column) for column in columns])
    writer.writerows([[_csv_cell(row.get(column)) for column in columns] for row in table])
    return text.getvalue()


def _csv_cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return _cell(value)


def _cell(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
