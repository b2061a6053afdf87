"""Names under which runs are written and found again: tags, parameters, metrics, files."""

from __future__ import annotations

from typing import Final

EXPERIMENT: Final = "ae-sweep"
MODEL_NAME: Final = "autoencoder"

# Flat tags, on every run, because a filter on a tag is quick and a parent's page shows ten
# children at most.
SWEEP: Final = "sweep"
KIND: Final = "kind"
OUTCOME: Final = "outcome"
POINT: Final = "point"
ROLE: Final = "role"
METHOD: Final = "method"
FAILURE: Final = "failure"
TRY: Final = "try"
"""Of a trial that was tried before: 2 is the second try."""
EARLIER_TRY: Final = "earlier_try"
"""The run of the try before, among MLflow's deleted runs."""
EARLIER_FAILURE: Final = "earlier_failure"
"""Why that failed."""
MEASURED: Final = "measured"
"""Of a finished trial: a digest of what it measured, by which an edited number is recognised."""
OWNER: Final = "owner"
"""Of a sweep's run on a server: the process that runs it, as JSON; empty once it has ended."""
CONFIG: Final = "config"
DATASET_DIGEST: Final = "dataset_digest"

KIND_SWEEP: Final = "sweep"
KIND_TRIAL: Final = "trial"
KIND_IMPORT: Final = "import"
"""Of a sweep's run while the sweep is imported: no sweep until all of it is there."""

# Tags that mean something to MLflow.
PARENT: Final = "mlflow.parentRunId"
GIT_COMMIT: Final = "mlflow.source.git.commit"
SOURCE: Final = {"mlflow.source.name": "ae-sweep", "mlflow.source.type": "LOCAL"}
DATA_CONTEXT: Final = "mlflow.data.context"
DATA_SOURCE_TYPE: Final = "ae-sweep"
TABLES: Final = "mlflow.loggedArtifacts"
NOTE: Final = "mlflow.note.content"
EXPERIMENT_MARK: Final = "ae_sweep.experiment"
"""A tag by which our experiment is found after it was renamed in MLflow's UI."""
EXPERIMENT_TAGS: Final = {
    EXPERIMENT_MARK: "sweeps",
    # Without it the UI asks at the first visit whether this is about training or about agents.
    "mlflow.experimentKind": "custom_model_development",
}

RATE_METRICS: Final = "rate/"
"""Before the names of a rate's measures; the UI groups metrics by what comes before a slash."""

CHOSEN_PARAMETER: Final = "hyperparameters"
"""Names, with spaces between, of the hyperparameters beyond lr and epochs that identify a trial: a
parameter such as batch_size is logged of every trial, and identifies those alone that chose it."""

CURVE_METRICS: Final = "frontier/"
"""Before the names of a frontier's measures, whose step is the latent_dim."""

CODED_METRICS: Final = "coded/"
"""Before the names of what a run's codec measured, whose step is the operating point."""
CODEC: Final = "codec"
"""Tag of a run: the digest of its codec, by which the model of a coded file is found."""
CODEC_FILE: Final = "codec.safetensors"
CODED_DOCUMENT: Final = "coded_rates.json"
CODED_CSV: Final = "coded_rates.csv"
CODED_TABLE: Final = "coded_rates_table.json"
MAX_FILE_BYTES: Final = 2**30
"""Of a run's file that is read; more was not written by ae-sweep."""

COMMIT_PARAMETER: Final = "git_commit"
VERSION_PARAMETER: Final = "ae_sweep_version"
PIXELS_PARAMETER: Final = "pixels"
CHANNELS_PARAMETER: Final = "channels"
"""Logged of colour images; those of a run without it are grey."""
LEAKS: Final = "leaks"
"""Tag of a sweep whose test or validation images equal training images: how many."""

LINEAR_MSE: Final = "pca_test_mse"
"""Tag of a sweep of own images: test MSE of principal components by their number, as JSON."""

PICTURE: Final = "reconstructions.png"
TABLE_JSON: Final = "frontier_table.json"
TABLE_CSV: Final = "frontier_table.csv"
DOCUMENT: Final = "frontier.json"

MAX_TAG_CHARACTERS: Final = 8_000
"""MLflow cuts a longer tag off without a word."""


def sweeps_filter() -> str:
    """Select the parent runs."""
    return f"tags.{KIND} = '{KIND_SWEEP}'"


def own_sweeps_filter() -> str:
    """Select the parent runs that ae-sweep wrote, in any experiment of a shared server."""
    return f"{sweeps_filter()} AND tags.{CONFIG} LIKE '{{%' AND tags.{DATASET_DIGEST} LIKE '%'"


def sweep_filter(name: str) -> str:
    """Select the parent run of one sweep; ``name`` has passed the names' pattern."""
    return f"{sweeps_filter()} AND tags.{SWEEP} = '{name}'"


def import_filter(name: str) -> str:
    """Select the run of a sweep whose import has not ended, or was killed."""
    return f"tags.{KIND} = '{KIND_IMPORT}' AND tags.{SWEEP} = '{name}'"


def children_filter(run_id: str) -> str:
    """Select the runs below another; ``run_id`` is MLflow's."""
    return f"tags.`{PARENT}` = '{run_id}'"


def started_trial_filter(sweep: str, *, point: str, start_ms: int) -> str:
    """Select the run of one training of a point; ``point`` is hexadecimal."""
    started = f"attributes.start_time = {start_ms}"
    return f"{trials_filter(sweep)} AND tags.{POINT} = '{point}' AND {started}"


def codec_filter(digest: str) -> str:
    """Select the runs that have a codec; ``digest`` is hexadecimal."""
    return f"tags.{CODEC} = '{digest}'"


def trials_filter(sweep: str | None = None) -> str:
    """Select the trials of one sweep, or of all."""
    trials = f"tags.{KIND} = '{KIND_TRIAL}'"
    return trials if sweep is None else f"{trials} AND tags.{SWEEP} = '{sweep}'"
