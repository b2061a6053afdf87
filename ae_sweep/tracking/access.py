"""What the parts of an open store have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ae_sweep.tracking.artifact_place import ArtifactPlace
    from ae_sweep.tracking.sweep_runs import SweepRuns


class StoreAccess(NamedTuple):
    """What moving a sweep into a store, or out of it, works with."""

    client: MlflowClient
    experiment_id: str
    place: str
    """The store, for messages."""
    runs: SweepRuns
    artifacts: ArtifactPlace
    is_local: bool
    """Whether the artifacts are on this machine."""
