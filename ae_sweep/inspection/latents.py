"""Latent spaces: test images in the plane of the latents, and how well latents separate classes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep import analysis, plots
from ae_sweep.inspection.result import Drawing, Inspection
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.analysis import FrontierPoint, LatentSpace
    from ae_sweep.api import Sweep
    from ae_sweep.data import ImageDataset

    Array = np.ndarray[Any, Any]

SCHEMA = "ae-sweep/latent-space"
PICTURE = "latent_plane.png"
DOCUMENT = "latent_space.json"


@dataclass(frozen=True)
class MeasuredSpace:
    """The latent space of the best model of one point."""

    point: FrontierPoint
    space: LatentSpace

    @property
    def overlapping(self) -> str:
        """Which classes overlap most, in words."""
        if not self.space.overlaps:
            return f"{self.point.condition}: no two classes overlap"
        pairs = ", ".join(map(str, self.space.overlaps))
        return f"{self.point.condition}: most often taken for each other: {pairs}"

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are logged to the point's run."""
        space = self.space
        metrics = {
            "latent_knn_accuracy": space.knn_accuracy,
            "latent_probe_accuracy": space.probe_accuracy,
            "latent_silhouette": space.silhouette,
            "active_latents": space.active_latents,
            "latent_correlation": space.mean_correlation,
        }
        return {name: value for name, value in metrics.items() if value is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentSpaces(Inspection):
    """The latent spaces of some points of a sweep; at least one."""

    spaces: tuple[MeasuredSpace, ...]
    classes_refusal: str | None = None
    """Why nothing is measured of classes; None where it is."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Where the latents separate classes best, and where worst."""
        if self.classes_refusal is not None:
            return (self.classes_refusal,)
        best = max(self.spaces, key=_knn_accuracy)
        worst = min(self.spaces, key=_knn_accuracy)
        found = (
            f"k-NN accuracy is highest at {best.point.condition} ({_knn_accuracy(best):.1%} of "
            "the test images)"
        )
        if _knn_accuracy(worst) < _knn_accuracy(best):
            found += f" and lowest at {worst.point.condition} ({_knn_accuracy(worst):.1%})"
        if worst.space.overlaps:
            pair = worst.space.overlaps[0]
            one, other = pair.written
            found += f", where {one} and {other} overlap most ({pair.share:.1%})"
        return (found,)

    def measured(self) -> list[tuple[FrontierPoint, LatentSpace]]:
        """Return each point with its latent space."""
        return [(each.point, each.space) for each in self.spaces]

    def of(self, point: FrontierPoint) -> MeasuredSpace:
        """Return the latent space of one of the points."""
        return next(each for each in self.spaces if each.point.run_id == point.run_id)

    def document(self) -> dict[str, Any]:
        """Return what was measured as a JSON-able document."""
        return {
            "schema": SCHEMA,
            "schema_version": 1,
            "sweep": self.sweep,
            "classes_refusal": self.classes_refusal,
            "spaces": [
                {
                    "condition": str(each.point.condition),
                    "model": each.point.model,
                    "latent_dim": each.point.latent_dim,
                    **dataclasses.asdict(each.space),
                }
                for each in self.spaces
            ],
        }

    def metrics(self) -> Mapping[str, Mapping[str, float]]:  # noqa: D102 - inherited
        return {each.point.run_id: each.metrics() for each in self.spaces}

    def documents(self) -> Mapping[str, Mapping[str, Any]]:  # noqa: D102 - inherited
        return {DOCUMENT: self.document()}


def latent_plane(sweep: Sweep, point: FrontierPoint, *, umap: bool = False) -> Drawing:
    """Draw the test images in the plane of a point's latents, coloured by class if they have any.

    Beyond two latents the plane is that of their first two principal components.

    Parameters
    ----------
    umap
        Lay them out by their neighbours instead.

    Raises
    ------
    ConfigError
        If UMAP is asked for and not installed.
    StoreError, NotStoredError, DataError
        If the model or the images cannot be read.
    """
    dataset = sweep.dataset
    chosen = analysis.sample_of(dataset.test_NCHW)
    z_ND = sweep.shared_model(point).encode(dataset.test_NCHW[chosen])
    if umap:
        seen_NA, axes_names = analysis.neighbour_map(z_ND), ["UMAP 1", "UMAP 2"]
    else:
        plane = analysis.plane(z_ND)
        seen_NA = plane.coordinates(z_ND)
        axes_names = [
            f"{name} ({share:.0%} of variance)"
            for name, share in zip(plane.names, plane.shares, strict=True)
        ]
    labels_N = None if dataset.test_labels_N is None else dataset.test_labels_N[chosen]
    by_class = "" if labels_N is None else " by class"
    figure = plots.latent_plane_figure(
        seen_NA,
        labels_N,
        axes_names=axes_names,
        title=f"{sweep.name}, {point.condition}: test images{by_class}",
        class_names=dataset.class_names,
    )
    notes = () if labels_N is None else _uncoloured(labels_N)
    return Drawing(sweep=sweep.name, file=PICTURE, figure=figure, notes=notes)


def latent_spaces(sweep: Sweep, points: Sequence[FrontierPoint]) -> LatentSpaces:
    """Measure the latent spaces of some points, at least one.

    Without classes, or with too few of them, nothing is measured of how they are separated.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    classes_refusal = _classes_refusal(sweep.dataset)
    return LatentSpaces(
        sweep=sweep.name,
        spaces=tuple(_measured(sweep, point, by_class=classes_refusal is None) for point in points),
        classes_refusal=classes_refusal,
    )


def _knn_accuracy(each: MeasuredSpace) -> float:
    accuracy = each.space.knn_accuracy
    assert accuracy is not None  # noqa: S101 - of spaces that were measured by class
    return accuracy


def _uncoloured(labels_N: Array) -> tuple[str, ...]:
    classes = len(np.unique(labels_N))
    if classes <= plots.MOST_COLOURS:
        return ()
    rest = f"{classes - plots.MOST_COLOURS:,}"
    most = f"the {plots.MOST_COLOURS} classes with the most test images"
    return (f"{most} are coloured, the other {rest} grey",)


def _classes_refusal(dataset: ImageDataset) -> str | None:
    """Return why a latent space cannot be measured by classes; None if it can."""
    labels_N, fit_labels_N = dataset.test_labels_N, dataset.val_labels_N
    if labels_N is None or fit_labels_N is None:
        return (
            f"the images of {visible(dataset.card.name)} have no classes, so only the latents "
            "themselves are measured"
        )
    return analysis.too_few_classes(labels_N[analysis.sample_of(labels_N)], fit_labels_N)


def _measured(sweep: Sweep, point: FrontierPoint, *, by_class: bool) -> MeasuredSpace:
    dataset, model = sweep.dataset, sweep.shared_model(point)
    chosen = analysis.sample_of(dataset.test_NCHW)
    labels = None
    if by_class and dataset.test_labels_N is not None and dataset.val_labels_N is not None:
        fitted = analysis.sample_of(dataset.val_NCHW)
        labels = analysis.Labels(
            test_N=dataset.test_labels_N[chosen],
            fit_z_ND=model.encode(dataset.val_NCHW[fitted]),
            fit_N=dataset.val_labels_N[fitted],
            names=dataset.class_names,
        )
    space = analysis.latent_space(model.encode(dataset.test_NCHW[chosen]), labels)
    if "active_latents" in point.rate:
        # Of a code that is drawn, a latent may vary and be noise all the same.
        space = dataclasses.replace(space, active_latents=round(point.rate["active_latents"]))
    return MeasuredSpace(point, space)
