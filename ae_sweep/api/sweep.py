"""A stored sweep: its trials, its curve, its images and its models."""

from __future__ import annotations

import dataclasses
import functools
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsIndex

from ae_sweep.api.images import class_numbers, load_images
from ae_sweep.api.models import load_model
from ae_sweep.config import dataset_title
from ae_sweep.errors import NotStoredError
from ae_sweep.locations import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd

    from ae_sweep.analysis import Frontier, FrontierPoint
    from ae_sweep.analysis.dim_choice import DimAnswer
    from ae_sweep.data import ImageDataset
    from ae_sweep.locations import Store
    from ae_sweep.models import TrainedAutoencoder
    from ae_sweep.plots import Figure
    from ae_sweep.records import SweepRecord, TrialRecord
    from ae_sweep.tracking import TrackingStore

KEPT_BYTES = 2**30
"""Weights of a sweep's models that are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A stored sweep, as `load_sweep` reads it."""

    record: SweepRecord
    """Its settings and its state."""
    trials: tuple[TrialRecord, ...]
    """In the order they were started, however they ended."""
    store: Store
    """Where it is kept."""
    runs: TrackingStore = field(repr=False)
    """What of it MLflow keeps."""
    moved_to: str | None = None
    """Where its images are now; None if they are where they were."""
    data_dir: Path | None = None
    announce: Callable[[str], None] | None = field(default=None, repr=False)
    _shared_models: dict[str, TrainedAutoencoder] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By run id, those of `shared_model`."""

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self.record.name

    @functools.cached_property
    def frontier(self) -> Frontier:
        """Its empirical rate-distortion curve.

        Raises
        ------
        NotStoredError
            If no trial has finished.
        """
        from ae_sweep import analysis

        dataset = self.record.config.get("dataset")
        title = None if dataset is None else dataset_title(dataset)
        try:
            return analysis.frontier(
                self.trials, sweep=self.name, dataset=title, linear_mse=self.record.linear_mse
            )
        except NotStoredError as error:
            words = ["run", "--name", self.name, "--resume"]
            if self.data_dir is not None:
                words += ["--data-dir", str(self.data_dir)]
            raise NotStoredError(f"{error}: `{self.store.command(*words)}`") from None

    @functools.cached_property
    def answer(self) -> DimAnswer | None:
        """What its dims were chosen for, as far as it is known; None where they were listed.

        Raises
        ------
        StoreError, ConfigError
            If its stored settings were changed, and are none any more.
        """
        from ae_sweep.runner.dim_answer import stored_answer

        return stored_answer(self.record, self.trials)

    @functools.cached_property
    def dataset(self) -> ImageDataset:
        """The images it was measured on, and their labels if any, which no training uses.

        Raises
        ------
        DataError
            If they are not available, or are others than the sweep's.
        StoreError
            If the sweep's stored settings do not name them.
        """
        return load_images(
            self.record, dataset=self.moved_to, data_dir=self.data_dir, announce=self.announce
        )

    def other_images(self, name: str) -> ImageDataset:
        """Load another data set by its name, to show its images to the sweep's models.

        Raises
        ------
        ConfigError
            If there is none of that name.
        DataError
            If it is not available.
        """
        from ae_sweep import data

        return data.load(name, cache_dir=cache_dir(), announce=self.announce)

    def trials_table(self) -> pd.DataFrame:
        """Return all trials as a table.

        Returns
        -------
        pandas.DataFrame
            One row per trial, in the order they were started: name, outcome, role, model,
            latent_dim, every hyperparameter (lr, epochs, ...), seed, val_mse, val_objective,
            test_mse, test_psnr, rate_bits, train_seconds, run_id. What was not measured is NaN.
        """
        import pandas as pd

        from ae_sweep import analysis

        rows = analysis.trial_rows(self.trials)
        floats = dict.fromkeys(analysis.TRIAL_MEASURES, "float64")
        return pd.DataFrame(rows, columns=list(analysis.TRIAL_KEYS)).astype(floats)

    def frontier_table(self) -> pd.DataFrame:
        """Return the curve as a table, one row per point.

        Returns
        -------
        pandas.DataFrame
            Every field of `FrontierPoint`; a column for each hyperparameter; of its rate a column
            each, such as rate_bits and rate_mse, and their standard deviations, rate_bits_std. What
            was not measured is NaN.
        """
        import pandas as pd

        return pd.DataFrame([_row(point) for point in self.frontier.points])

    def frontier_figure(self) -> Figure:
        """Draw its curve: a matplotlib figure, which a notebook shows.

        Raises
        ------
        NotStoredError
            If no trial has finished.
        """
        from ae_sweep import plots

        return plots.frontier_figure(self.frontier)

    def points(self, dims: Sequence[int] | None = None) -> list[FrontierPoint]:
        """Return the points of some latent dims, or of all, ascending.

        A model with a setting has several at one dim.

        Raises
        ------
        NotStoredError
            If a dim has no finished trial.
        """
        measured = dict.fromkeys(point.latent_dim for point in self.frontier.points)
        missing = [dim for dim in dims or () if dim not in measured]
        if missing:
            raise NotStoredError(
                f"{self.name} has no finished trial of latent dimension {missing[0]}, only of "
                f"{', '.join(map(str, measured))}"
            )
        return [point for point in self.frontier.points if not dims or point.latent_dim in dims]

    def nearest(self, latent_dim: int) -> FrontierPoint:
        """Return the point of the measured latent dim that is nearest to a number.

        Of several at one dim, that of the lowest validation error.
        """
        return min(
            self.points(), key=lambda point: (abs(point.latent_dim - latent_dim), point.val_mse)
        )

    def best_at(self, latent_dim: int) -> FrontierPoint:
        """Return the point of a latent dim; of several, that of the lowest validation error.

        Raises
        ------
        NotStoredError
            If the dim has no finished trial.
        """
        return min(self.points([latent_dim]), key=lambda point: point.val_mse)

    def model(self, which: SupportsIndex | FrontierPoint) -> TrainedAutoencoder:
        """Load a model from MLflow, anew at each call: what is done to it changes no other.

        Parameters
        ----------
        which
            A point of the curve, or a latent dim: then the point of the lowest validation error.

        Raises
        ------
        NotStoredError
            If the dim has no finished trial, or its model was deleted.
        StoreError, DataError
            If it cannot be read, or is damaged.
        """
        from ae_sweep.analysis import FrontierPoint

        point = which if isinstance(which, FrontierPoint) else self.best_at(operator.index(which))
        return load_model(self.runs, point.run_id, expected=point.condition).model

    def shared_model(self, point: FrontierPoint) -> TrainedAutoencoder:
        """Return the model of a point, loaded once for all that only read it.

        Models are kept with the sweep until they have a gigabyte of weights; those beyond are
        loaded at each call.

        Raises
        ------
        NotStoredError
            If it was deleted.
        StoreError, DataError
            If it cannot be read, or is damaged.
        """
        if (kept := self._shared_models.get(point.run_id)) is not None:
            return kept
        model = self.model(point)
        if sum(each.weight_bytes for each in (model, *self._shared_models.values())) <= KEPT_BYTES:
            self._shared_models[point.run_id] = model
        return model

    def classes(self, wanted: Sequence[int | str] = ()) -> list[int]:
        """Return the numbers of the wanted classes ascending, or of all that test images have.

        Parameters
        ----------
        wanted
            Names of classes, or their numbers in ``dataset.class_names``.

        Raises
        ------
        ConfigError
            If the images have no classes, or a class has no test image.
        """
        return class_numbers(self.dataset, wanted)


def _row(point: FrontierPoint) -> dict[str, Any]:
    row = dataclasses.asdict(point)
    del row["seed_run_ids"]
    rate, spread = row.pop("rate"), row.pop("rate_std")
    row |= row.pop("hyperparameters")
    columns = {f"rate_{key}": value for key, value in rate.items()}
    return row | columns | {f"rate_{key}_std": value for key, value in spread.items()}
