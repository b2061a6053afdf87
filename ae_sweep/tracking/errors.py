"""Translation of what MLflow and its database raise into one message."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.messages import shorten, visible
from ae_sweep.store_advice import advice_on
from ae_sweep.tracking.mlflow_env import quiet_mlflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.locations import Store

SQL_NOISE = "(raised as a result of Query-invoked autoflush"
DRIVER_ERROR = re.compile(r"^\([\w.]+\) ")
"""Such as ``(sqlite3.OperationalError)`` before the reason."""
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError, ModuleNotFoundError)
"""MLflow imports the library of a database or of a cloud when it is needed."""
CLOUD_LIBRARIES = frozenset({"azure", "boto3", "botocore", "google", "s3transfer"})
"""Where artifacts are in a cloud, MLflow raises what these raise."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise exceptions of MLflow, its database, the file system or a cloud as `StoreError`.

    Every call of MLflow is made within, and MLflow is quiet there.

    Parameters
    ----------
    place
        The store, as the user knows it: a path or an address.
    """
    try:
        with quiet_mlflow():
            yield
    except STORE_ERRORS as error:
        raise store_error(place, error) from error
    except Exception as error:
        if _is_of_a_cloud(error):
            raise store_error(place, error) from error
        raise


def store_error(place: str, error: Exception) -> StoreError:
    """Make the message for ``error``: the place, the reason, the next step."""
    reason = first_line(error)
    return StoreError(
        f"the store {shorten(place, 200)} failed: {reason}; {advice_on(error, reason)}"
    )


def reason_of(error: StoreError) -> str:
    """Return why a store failed, without the place and the advice."""
    cause = error.__cause__
    return first_line(cause if isinstance(cause, Exception) else error)


def first_line(error: Exception) -> str:
    """Write an exception in one line, without what SQLAlchemy writes around the reason."""
    lines = [line.strip() for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith(SQL_NOISE)]
    reason = DRIVER_ERROR.sub("", reasons[0]) if reasons else type(error).__name__
    return visible(reason).rstrip(".;")


def _is_of_a_cloud(error: Exception) -> bool:
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not packages.isdisjoint(CLOUD_LIBRARIES)


def nothing_stored(store: Store) -> NotStoredError:
    """Return the error for a store without a sweep."""
    return NotStoredError(
        f"nothing is stored in {shorten(store.runs_place, 200)}; run "
        f"`{store.command('run', '--dims', '2', '8', '32')}` first, or name another --store"
    )
