"""Records of MLflow's runs. Unfinished and damaged runs are marked as such, or passed over."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ae_sweep.config import PARAMETERS, Hyperparameters, TrialConfig
from ae_sweep.errors import ConfigError, StoreError
from ae_sweep.isolation import paused_collector
from ae_sweep.messages import shorten
from ae_sweep.records import Outcome, Role, SweepRecord, TrialIdentity, TrialRecord
from ae_sweep.tracking import names
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_RUNS = 1_000
LARGEST_MEASUREMENT = 1e300
"""MLflow's SQL store writes the largest float in place of infinity."""


def search(
    client: MlflowClient, *, experiment_id: str, filter_string: str, newest_first: bool = False
) -> Iterator[Run]:
    """Yield all runs that pass the filter, page by page.

    The caller need not hold more than a page: a run takes ten times the memory of its record.
    """
    order = "DESC" if newest_first else "ASC"
    token: str | None = None
    while True:
        with paused_collector():
            page = client.search_runs(
                [experiment_id],
                filter_string=filter_string,
                max_results=PAGE_RUNS,
                order_by=[f"attributes.start_time {order}", "attributes.run_id ASC"],
                page_token=token,
            )
        token = page.token
        yield from page
        if not token:
            return


def sweep_record(run: Run, counts: Mapping[Outcome, int] | None = None) -> SweepRecord:
    """Return a parent run as a record.

    Parameters
    ----------
    counts
        Trials by how they ended; None where they were not counted.
    """
    tags = run.data.tags
    return SweepRecord(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=tags[names.SWEEP],
        outcome=outcome_of(run),
        started_ms=run.info.start_time,
        config=_config(run),
        dataset_digest=tags.get(names.DATASET_DIGEST, ""),
        counts={} if counts is None else {each: counts.get(each, 0) for each in Outcome},
        linear_mse=_linear_mse(tags.get(names.LINEAR_MSE, "{}")),
    )


def _linear_mse(text: str) -> dict[int, float]:
    """Read the errors of principal components; none if the tag holds something else."""
    try:
        found = {int(dim): float(mse) for dim, mse in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {dim: mse for dim, mse in found.items() if math.isfinite(mse)}


def trial_record(run: Run) -> TrialRecord | None:
    """Return a child run as a record; None where its parameters do not say what it trained.

    That is so for a run that was cut off at its very start, and for another program's.

    Raises
    ------
    StoreError
        If it was trained with a hyperparameter that this version does not know: without it the run
        would be taken for another training, or be missing. If its role was edited or removed.
    """
    texts = run.data.params
    _refuse_unknown(run)
    try:
        point = TrialIdentity(
            dataset_digest=texts["dataset_digest"],
            model=texts["model"],
            latent_dim=int(texts["latent_dim"]),
            hyperparameters=_hyperparameters(texts),
            seed=int(texts["seed"]),
            recipe=texts["recipe"],
        )
        pixels = int(texts[names.PIXELS_PARAMETER])
        channels = int(texts.get(names.CHANNELS_PARAMETER, "1"))
        compression_ratio = pixels / point.latent_dim
    except (KeyError, ValueError, ZeroDivisionError, OverflowError, ConfigError):
        return None
    if pixels < 1 or compression_ratio <= 0 or not _may_be(point):
        return None
    role = _role(run)
    outcome = trial_outcome(run)
    finished = outcome is Outcome.FINISHED
    return TrialRecord(
        run_id=run.info.run_id,
        sweep=run.data.tags[names.SWEEP],
        name=run.info.run_name,
        point=point,
        role=role,
        outcome=outcome,
        pixels=pixels,
        compression_ratio=compression_ratio,
        channels=channels,
        val_mse=_measurement(run, "val_mse"),
        test_mse=_measurement(run, "test_mse") if finished else None,
        test_psnr=_measurement(run, "test_psnr") if finished else None,
        train_seconds=_measurement(run, "train_seconds") if finished else None,
        val_penalty=_measurement(run, "val_penalty") or 0.0,
        rate=_rate(run) if finished else {},
    )


def check_sweep_tag(run: Run) -> None:
    """Refuse a run of ours that does not say which sweep it is of: it would be missing there.

    Raises
    ------
    StoreError
        If the tag was removed.
    """
    if names.SWEEP not in run.data.tags:
        raise StoreError(
            f"the tag {names.SWEEP}, the name of its sweep, was removed from {_named(run)}; set it "
            "again in the MLflow UI, or delete the run there"
        )


def _role(run: Run) -> Role:
    text = run.data.tags.get(names.ROLE, "")
    try:
        return Role(text)
    except ValueError:
        raise StoreError(
            f"the tag {names.ROLE} of {_named(run)} is {shorten(text)}, not {' or '.join(Role)}: "
            "it was edited or removed; set it again in the MLflow UI, or delete the run there"
        ) from None


def _named(run: Run) -> str:
    return f"{shorten(run.info.run_name)} (run {shorten(run.info.run_id)})"


def _refuse_unknown(run: Run) -> None:
    texts = run.data.params
    chosen = texts.get(names.CHOSEN_PARAMETER, "").split()
    if unknown := [name for name in chosen if name not in PARAMETERS]:
        writer = shorten(texts.get(names.VERSION_PARAMETER, "of another version"))
        raise StoreError(
            f"run {shorten(run.info.run_id)} of {shorten(run.data.tags.get(names.SWEEP, ''))} was "
            f"trained with {shorten(', '.join(unknown))} by ae-sweep {writer}, which ae-sweep "
            f"{__version__} does not know; upgrade ae-sweep, or name another sweep"
        )


def _hyperparameters(texts: Mapping[str, str]) -> Hyperparameters:
    """Read the hyperparameters of a run; those that it does not name have their default."""
    named = [name for name, parameter in PARAMETERS.items() if parameter.default is None]
    named += texts.get(names.CHOSEN_PARAMETER, "").split()
    values: dict[str, Any] = {name: PARAMETERS[name].kind(texts[name]) for name in named}
    return Hyperparameters(**values)


def _may_be(point: TrialIdentity) -> bool:
    """Return whether a training of these settings is possible."""
    try:
        TrialConfig(
            latent_dim=point.latent_dim, hyperparameters=point.hyperparameters, seed=point.seed
        )
    except ConfigError:
        return False
    return True


def outcome_of(run: Run) -> Outcome:
    """Return how a run ended, by its status first: the status was written last."""
    if run.info.status == "FINISHED":
        return Outcome.FINISHED
    if run.info.status == "FAILED":
        return Outcome.FAILED
    if run.info.status == "KILLED":
        pruned = run.data.tags.get(names.OUTCOME) == Outcome.PRUNED
        return Outcome.PRUNED if pruned else Outcome.INTERRUPTED
    return Outcome.RUNNING


def trial_outcome(run: Run) -> Outcome:
    """Return how a trial ended; without both its measurements it has not finished but failed."""
    outcome = outcome_of(run)
    complete = all(_measurement(run, key) is not None for key in ("val_mse", "test_mse"))
    return Outcome.FAILED if outcome is Outcome.FINISHED and not complete else outcome


def finished_points(trials: Sequence[TrialRecord]) -> dict[str, float]:
    """Return the validation objective by point key, of finished trials.

    Of equal points the later trial counts.
    """
    return {
        trial.point.key: trial.val_objective
        for trial in trials
        if trial.outcome is Outcome.FINISHED and trial.val_objective is not None
    }


def _measurement(run: Run, key: str) -> float | None:
    value = run.data.metrics.get(key)
    if value is None or not math.isfinite(value) or abs(value) > LARGEST_MEASUREMENT:
        return None
    return float(value)


def _rate(run: Run) -> dict[str, float]:
    keys = [key for key in run.data.metrics if key.startswith(names.RATE_METRICS)]
    measured = {key.removeprefix(names.RATE_METRICS): _measurement(run, key) for key in keys}
    return {name: value for name, value in measured.items() if value is not None}


def _config(run: Run) -> dict[str, str]:
    """Read the configuration as it is now; the parameters hold the one of the start."""
    try:
        config = json.loads(run.data.tags[names.CONFIG])
    except (KeyError, ValueError, RecursionError):
        return dict(run.data.params)
    if not isinstance(config, dict):
        return dict(run.data.params)
    return {str(key): str(value) for key, value in config.items()}
