"""Owns the runs: the only door to MLflow.

A store is opened once, for writing or for reading; sweeps and trials are written by their
writers and come back as records. MLflow is imported with this package, which takes seconds:
import it inside a command.
"""

from ae_sweep.tracking.mlflow_env import quiet_mlflow

quiet_mlflow()  # MLflow decides on its telemetry while it is imported, which happens below

from ae_sweep.tracking.connection import open_for_reading, open_for_writing  # noqa: E402
from ae_sweep.tracking.store import TrackingStore  # noqa: E402
from ae_sweep.tracking.ui_server import (  # noqa: E402
    UiServer,
    check_port,
    running_ui,
    sweep_url,
    ui_command,
    ui_environment,
    wait_until_ready,
)
from ae_sweep.tracking.writer import SweepWriter, TrialWriter, table_csv  # noqa: E402

__all__ = [
    "SweepWriter",
    "TrackingStore",
    "TrialWriter",
    "UiServer",
    "check_port",
    "open_for_reading",
    "open_for_writing",
    "quiet_mlflow",
    "running_ui",
    "sweep_url",
    "table_csv",
    "ui_command",
    "ui_environment",
    "wait_until_ready",
]
