"""MLflow while ae-sweep uses it: no telemetry, no log lines, nothing on stdout, few retries."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from ae_sweep.isolation import PATIENT, mlflow_settings, unless_set

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_LEVELS = {
    "mlflow": logging.ERROR,
    "alembic": logging.ERROR,
    # It logs a traceback of each database error that it also raises.
    "mlflow.store.db.utils": logging.CRITICAL,
    # It logs each request that is sent again.
    "urllib3.connectionpool": logging.ERROR,
}

_lock = threading.Lock()
_levels_before: dict[str, int] = {}
_depth = 0


@contextlib.contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Keep MLflow from reporting usage, from writing to stdout and stderr, and from long waits.

    A server that has gone is noticed after seconds, unless the user has set MLflow's retries. For
    the length of a ``with`` block, in all threads. What matters to the user comes back as an
    exception. Settings and log levels are then as they were.
    """
    with mlflow_settings, unless_set(PATIENT), _lowered_levels():
        yield


def forget_place(run_id: str) -> None:
    """Have MLflow look up where the files of a run are.

    For the length of a process it keeps that by the run's id alone: it would write to where a store
    was before it was moved, and to the original of a copy.
    """
    _artifact_repos_cache.pop(run_id, None)


@contextlib.contextmanager
def _lowered_levels() -> Iterator[None]:
    global _depth  # noqa: PLW0603 - loggers belong to the process, as this count does
    with _lock:
        if _depth == 0:
            for name, level in LOG_LEVELS.items():
                _levels_before[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(level)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for name, level in _levels_before.items():
                    logging.getLogger(name).setLevel(level)
