"""Latent spaces: test images in the plane of the latents, and how well latents separate classes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.inspection.result import Drawing, Inspection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.analysis import FrontierPoint, LatentSpace
    from ae_sweep.api import Sweep

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
        }
        if space.mean_correlation is not None:
            metrics["latent_correlation"] = space.mean_correlation
        return metrics


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentSpaces(Inspection):
    """The latent spaces of some points of a sweep; at least one."""

    spaces: tuple[MeasuredSpace, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """Where the latents separate classes best, and where worst."""
        best = max(self.spaces, key=lambda each: each.space.knn_accuracy)
        worst = min(self.spaces, key=lambda each: each.space.knn_accuracy)
        found = (
            f"k-NN accuracy is highest at {best.point.condition} ({_accuracy(best)} of the test "
            "images)"
        )
        if worst.space.knn_accuracy < best.space.knn_accuracy:
            found += f" and lowest at {worst.point.condition} ({_accuracy(worst)})"
        if worst.space.overlaps:
            pair = worst.space.overlaps[0]
            found += (
                f", where {pair.classes[0]} and {pair.classes[1]} overlap most ({pair.share:.1%})"
            )
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
    """Draw the test images in the plane of a point's latents, coloured by class.

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
    z_ND = sweep.shared_model(point).encode(dataset.test_NCHW)
    if umap:
        seen_NA, axes_names = analysis.neighbour_map(z_ND), ["UMAP 1", "UMAP 2"]
    else:
        plane = analysis.plane(z_ND)
        seen_NA = plane.coordinates(z_ND)
        axes_names = [
            f"{name} ({share:.0%} of variance)"
            for name, share in zip(plane.names, plane.shares, strict=True)
        ]
    figure = plots.latent_plane_figure(
        seen_NA,
        dataset.test_labels_N,
        axes_names=axes_names,
        title=f"{sweep.name}, {point.condition}: test images by class",
    )
    return Drawing(sweep=sweep.name, file=PICTURE, figure=figure)


def latent_spaces(sweep: Sweep, points: Sequence[FrontierPoint]) -> LatentSpaces:
    """Measure the latent spaces of some points, at least one.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    return LatentSpaces(sweep=sweep.name, spaces=tuple(_measured(sweep, point) for point in points))


def _accuracy(each: MeasuredSpace) -> str:
    return f"{each.space.knn_accuracy:.1%}"


def _measured(sweep: Sweep, point: FrontierPoint) -> MeasuredSpace:
    dataset, model = sweep.dataset, sweep.shared_model(point)
    space = analysis.latent_space(
        model.encode(dataset.test_NCHW),
        dataset.test_labels_N,
        fit_z_ND=model.encode(dataset.val_NCHW),
        fit_labels_N=dataset.val_labels_N,
    )
    if "active_latents" in point.rate:
        # Of a code that is drawn, a latent may vary and be noise all the same.
        space = dataclasses.replace(space, active_latents=round(point.rate["active_latents"]))
    return MeasuredSpace(point, space)
