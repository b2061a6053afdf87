"""Owns how MLflow is kept quiet: no telemetry, no log lines between ours, nothing on stdout."""

from __future__ import annotations

import logging
import os
import sys

SETTINGS = {
    # Importing MLflow with telemetry on writes an installation id below the home directory.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A tracking server's address of every ended run would go to stdout, which is for data.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Else a uv.lock that happens to lie in the working directory is copied into every model.
    "MLFLOW_UV_AUTO_DETECT": "false",
}
"""MLflow reads these from the environment and nowhere else; child processes inherit them."""


def quiet_mlflow() -> None:
    """Keep MLflow from reporting usage and from writing to stdout and stderr.

    What matters to the user comes back as an exception and is told by its message. Works best
    before MLflow is first imported, and after that too.
    """
    os.environ.update(SETTINGS)
    _lower_loggers()
    if (telemetry := sys.modules.get("mlflow.telemetry")) is not None:
        telemetry.set_telemetry_client()


def _lower_loggers() -> None:
    # MLflow sets its loggers' levels when it is imported, so this runs again when a store opens.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    # It logs a traceback of each database error that it also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
