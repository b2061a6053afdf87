"""The driver's tracker that logs to MLflow: a run with pictures for every trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import plots
from ae_sweep.records import TrialIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import DatasetCard, EpochResult, Role, TrialResult
    from ae_sweep.tracking import SweepWriter, TrialWriter


class MlflowTrialLog:
    """Writes one trial to MLflow."""

    def __init__(self, writer: TrialWriter, *, name: str) -> None:
        self._writer = writer
        self._name = name

    def log_epoch(self, result: EpochResult) -> None:
        """Log the metrics of a validation."""
        self._writer.log_epoch(result)

    def finish(self, result: TrialResult) -> None:
        """Write the result with a picture of its reconstructions."""
        figure = plots.reconstructions_figure(
            result.pictures, title=self._name, test_mse=result.test_mse
        )
        self._writer.finish(result, picture=plots.render(figure, "png"))

    def prune(self) -> None:
        """Mark the trial as stopped for lack of promise."""
        self._writer.prune()

    def fail(self, reason: str) -> None:
        """Mark the trial as failed."""
        self._writer.fail(reason)

    def interrupt(self) -> None:
        """Mark the trial as given up with the sweep."""
        self._writer.interrupt()


class MlflowTracker:
    """Writes the trials of one sweep to MLflow.

    Parameters
    ----------
    writer
        Of the sweep's run.
    card
        The data set.
    recipe
        Version of the training recipe.
    parameters
        What every trial of the sweep has in common.
    finished
        Validation objective by key of the points that are stored as finished.
    """

    def __init__(
        self,
        writer: SweepWriter,
        *,
        card: DatasetCard,
        recipe: str,
        parameters: Mapping[str, str | int | float],
        finished: Mapping[str, float],
    ) -> None:
        self._writer = writer
        self._card = card
        self._recipe = recipe
        self._parameters = parameters
        self._finished = finished

    def start_trial(self, config: TrialConfig, *, name: str, role: Role) -> MlflowTrialLog:
        """Start a trial's run under the sweep's."""
        writer = self._writer.start_trial(
            name=name, point=self._point(config), role=role, parameters=self._parameters
        )
        return MlflowTrialLog(writer, name=name)

    def finished(self, config: TrialConfig) -> float | None:
        """Return the validation objective of a training that is stored as finished, else None."""
        return self._finished.get(self._point(config).key)

    def _point(self, config: TrialConfig) -> TrialIdentity:
        return TrialIdentity(
            dataset_digest=self._card.digest,
            model=config.model,
            latent_dim=config.latent_dim,
            hyperparameters=config.hyperparameters,
            seed=config.seed,
            recipe=self._recipe,
        )
