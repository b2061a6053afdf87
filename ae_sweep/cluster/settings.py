"""What is asked of a cluster of machines: where it is, and what each trial takes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ae_sweep.config.values import MAX_PORT
from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten

LOCAL = "local"
"""In place of an address: a cluster of this machine alone, which ends with the sweep."""
MAX_CPUS = 1024
SMALLEST_GPU_SHARE = 0.0001
"""Ray counts in ten thousandths."""
ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):(?P<port>\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """A cluster, and what each trial takes of it.

    Raises
    ------
    ConfigError
        If a value is impossible.
    """

    address: str
    """``local``, or ``HOST:PORT`` of the head."""
    cpus_per_trial: int = 1
    """Processor cores of each trial, and the threads it computes with."""
    gpus_per_trial: float | None = None
    """GPUs of each trial, a share of one or all of it; None takes one where there are any."""
    data_on_nodes: str | None = None
    """Where every node finds the images by itself; None sends them there."""

    def __post_init__(self) -> None:
        if self.address != LOCAL:
            _check_address(self.address)
        if not 1 <= self.cpus_per_trial <= MAX_CPUS:
            raise ConfigError(
                f"--cpus-per-trial {self.cpus_per_trial} is not a whole number from 1 to {MAX_CPUS}"
            )
        gpus = self.gpus_per_trial
        if gpus is not None and gpus != 0 and not SMALLEST_GPU_SHARE <= gpus <= 1:
            raise ConfigError(
                f"--gpus-per-trial {gpus:g} is not a number from 0 to 1, such as 0.25 for four "
                "trials on each GPU; a trial trains on one GPU at most"
            )
        if self.data_on_nodes is not None and not self.data_on_nodes.startswith("/"):
            raise ConfigError(
                f"--data-on-nodes {shorten(self.data_on_nodes)} must be an absolute path, as every "
                "node has its own working directory"
            )

    @property
    def cpus_given(self) -> int | None:
        """Processor cores of each trial; None at the default."""
        return None if self.cpus_per_trial == 1 else self.cpus_per_trial

    @property
    def is_local(self) -> bool:
        """Whether the cluster is started for the sweep, on this machine."""
        return self.address == LOCAL

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the head; none of a local cluster."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


def make_cluster(
    address: str | None,
    *,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    data_on_nodes: str | None = None,
) -> ClusterConfig | None:
    """Return the cluster that is asked for; None if there is none.

    Raises
    ------
    ConfigError
        If a value is impossible, or given without a cluster.
    """
    given = {
        "--cpus-per-trial": cpus_per_trial,
        "--gpus-per-trial": gpus_per_trial,
        "--data-on-nodes": data_on_nodes,
    }
    if address is None:
        for option, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"{option} {value} is for trainings on a cluster; add --cluster HOST:PORT or "
                    f"--cluster {LOCAL}, or leave it out"
                )
        return None
    return ClusterConfig(
        address=address,
        cpus_per_trial=1 if cpus_per_trial is None else cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        data_on_nodes=data_on_nodes,
    )


def _check_address(address: str) -> None:
    found = ADDRESS.fullmatch(address)
    if "://" in address:
        raise ConfigError(
            f"--cluster {shorten(address)} is no HOST:PORT; give the address of the head's own "
            "port, such as 10.0.0.5:6379, from a machine that is a node of the cluster"
        )
    if found is None or not 1 <= int(found["port"]) <= MAX_PORT:
        raise ConfigError(
            f"--cluster {shorten(address)} is neither {LOCAL} nor HOST:PORT with a port from 1 to "
            f"{MAX_PORT}, such as 10.0.0.5:6379"
        )
