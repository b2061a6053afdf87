"""Whether a cluster can be joined at all, as far as that is quick to see."""

from __future__ import annotations

import importlib.util
import socket
from typing import TYPE_CHECKING

from ae_sweep import isolation
from ae_sweep.errors import ClusterError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from ae_sweep.cluster.settings import ClusterConfig

KNOCK_SECONDS = 5.0
"""For the head to accept a connection; Ray itself would try for minutes."""


def check_reachable(config: ClusterConfig) -> None:
    """Refuse a cluster that this process cannot join; Ray is not imported for it.

    Raises
    ------
    ClusterError
        If Ray is not installed, there is no token, or nobody answers.
    """
    _check_installed()
    if not config.is_local:
        _check_token(config)
        _knock(config)


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "--cluster needs the package ray, which is not installed; "
            "`pip install 'ae-sweep[cluster]'` installs it"
        )


def _check_token(config: ClusterConfig) -> None:
    if not isolation.have_ray_authenticate():
        raise ClusterError(
            "ray was imported without tokens; set RAY_AUTH_MODE=token in the "
            "environment first, or import it after ae_sweep.run_sweep has"
        )
    if not isolation.has_ray_token():
        raise ClusterError(
            f"there is no token for the cluster at {config.address}; set RAY_AUTH_TOKEN, or "
            "RAY_AUTH_TOKEN_PATH to a file, to what its head was started with, or "
            "RAY_AUTH_MODE=disabled for a cluster that has none"
        )


def _knock(config: ClusterConfig) -> None:
    try:
        socket.create_connection(config.place, timeout=KNOCK_SECONDS).close()
    except OSError as error:
        reason = error.strerror or visible(error) or type(error).__name__
        raise ClusterError(
            f"nobody answers at {config.address}: {reason}; start a head there, "
            f"`ray start --head --port={config.place[1]}`, or correct --cluster"
        ) from error
