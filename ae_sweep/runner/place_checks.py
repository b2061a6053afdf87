"""Checks that a sweep's method, cluster, engine, device and workers are compatible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.cluster.reach import check_reachable
from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from ae_sweep.cluster.settings import ClusterConfig
    from ae_sweep.runner.engine import EngineFactory


def check_cluster(cluster: ClusterConfig, device: str, engine: EngineFactory | None) -> None:
    """Refuse what does not go with a cluster, and one that cannot be joined.

    Raises
    ------
    ConfigError
        If a device or an engine does not go with it.
    ClusterError
        If it cannot be joined, as far as that is quick to see.
    """
    if engine is not None:
        raise ConfigError(
            "a cluster and an engine are given, and one of them trains; leave one out"
        )
    if device.startswith("cuda:"):
        raise ConfigError(
            f"--device {shorten(device)} names a GPU of this machine, and the cluster deals its "
            "GPUs out; give --device cuda"
        )
    if device == "mps":
        raise ConfigError("--device mps is not used on a cluster; give --device auto, cpu or cuda")
    if device == "cuda" and cluster.gpus_per_trial == 0:
        raise ConfigError(
            "--device cuda needs a share of a GPU, and --gpus-per-trial is 0; give one, such as "
            "0.25"
        )
    check_reachable(cluster)


def check_nested_place(
    workers: int | None, engine: EngineFactory | None, cluster: ClusterConfig | None
) -> None:
    """Refuse to train one network for all dims in several processes, or elsewhere.

    Raises
    ------
    ConfigError
        With the option to leave out.
    """
    if cluster is not None:
        raise ConfigError(
            "--method nested trains one network in this process, and --cluster is "
            f"{cluster.address}; leave --cluster out"
        )
    if engine is not None:
        raise ConfigError(
            "the nested method trains one network in this process, and an engine is given; leave "
            "engine out"
        )
    if workers != 1:
        raise ConfigError(
            "--method nested trains one network in one process, and --workers is "
            f"{'auto' if workers is None else workers}; leave --workers out"
        )
