"""Owns what a look into a sweep begins with: its best model of each dim, and its images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import data, models
from ae_sweep.cli.options import cache_dir, open_at
from ae_sweep.cli.result import frontier_of
from ae_sweep.cli.talk import say
from ae_sweep.errors import ConfigError, DataError, NotStoredError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.analysis import Frontier, FrontierPoint
    from ae_sweep.config import Store
    from ae_sweep.plots import Figure
    from ae_sweep.records import SweepRecord
    from ae_sweep.tracking import TrackingStore


@dataclass(frozen=True, kw_only=True)
class TrainedSweep:
    """A stored sweep with its chosen models and the images it was measured on."""

    runs: TrackingStore
    store: Store
    record: SweepRecord
    frontier: Frontier
    data_dir: Path | None

    @functools.cached_property
    def dataset(self) -> data.ImageDataset:
        """The sweep's images.

        Raises
        ------
        DataError
            If they are not to be had, or are others than the sweep's.
        """
        config = self.record.config
        limit = config.get("train_limit", "None")
        dataset = data.load(
            config["dataset"],
            cache_dir=cache_dir(),
            data_dir=self.data_dir,
            train_limit=None if limit == "None" else int(limit),
            announce=say,
        )
        if dataset.card.digest != self.record.dataset_digest:
            raise DataError(
                f"the images of {dataset.card.name} are not those of {self.record.name}: their "
                f"digest is {dataset.card.digest}, the sweep's {self.record.dataset_digest}; name "
                "the sweep's images with --data-dir"
            )
        return dataset

    def points(self, dims: Sequence[int] | None = None) -> list[FrontierPoint]:
        """Return the points of some dims, or of all, ascending by latent_dim.

        Raises
        ------
        NotStoredError
            If a dim has no finished trial.
        """
        measured = {point.latent_dim: point for point in self.frontier.points}
        missing = [dim for dim in dims or () if dim not in measured]
        if missing:
            raise NotStoredError(
                f"{self.record.name} has no finished trial of latent dimension {missing[0]}, only "
                f"of {', '.join(map(str, measured))}"
            )
        return [point for dim, point in measured.items() if not dims or dim in dims]

    def point(self, dim: int | None, *, otherwise: int) -> FrontierPoint:
        """Return the point of a dim; where none is named, of the one nearest to ``otherwise``.

        Raises
        ------
        NotStoredError
            If the named dim has no finished trial.
        """
        if dim is not None:
            return self.points([dim])[0]
        return min(self.points(), key=lambda point: abs(point.latent_dim - otherwise))

    def model(self, point: FrontierPoint) -> models.TrainedAutoencoder:
        """Load the model of a point from MLflow.

        Raises
        ------
        NotStoredError, StoreError, DataError
            If it was deleted, cannot be read, or is damaged.
        """
        return models.TrainedAutoencoder(models.load(self.runs.model_file(point.run_id)))

    def add_picture(self, name: str, figure: Figure) -> None:
        """Put a figure on the sweep's run in MLflow, in place of an earlier one of that name.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        from ae_sweep import plots

        self.runs.add_to_run(self.record.run_id, files={name: plots.render(figure, "png")})

    def classes(self, digits: Sequence[int] | None) -> list[int]:
        """Return the classes that are asked for, or all of the test images' ones.

        Raises
        ------
        ConfigError
            If a class has no test image.
        """
        there = sorted({int(label) for label in self.dataset.test_labels_N})
        for digit in digits or ():
            if digit not in there:
                raise ConfigError(
                    f"no test image of {self.dataset.card.name} is of class {digit}; its classes "
                    f"are {', '.join(map(str, there))}"
                )
        return sorted(set(digits)) if digits else there


def open_trained(sweep: str | None, store: Path, data_dir: Path | None) -> TrainedSweep:
    """Open a stored sweep, the latest if none is named, for a look at its models.

    Raises
    ------
    NotStoredError
        If there is no such sweep, or none of its trials has finished.
    StoreError
        If the store cannot be read.
    """
    from ae_sweep import tracking

    place = open_at(store)
    runs = tracking.open_for_reading(place)
    record, trials = runs.sweep_with_trials(sweep)
    return TrainedSweep(
        runs=runs,
        store=place,
        record=record,
        frontier=frontier_of(record, trials),
        data_dir=data_dir,
    )
