"""Owns the look at latent spaces: test images in the plane, and what labels tell of each space."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def latent_plane(sweep: Sweep, point: FrontierPoint, *, umap: bool = False) -> plots.Figure:
    """Draw the test images in the plane of a point's latents, coloured by class.

    Beyond two latents the plane is that of their first two principal components. The figure is put
    on the sweep's run as latent_plane.png.

    Parameters
    ----------
    umap
        Lay them out by their neighbours instead.

    Raises
    ------
    ConfigError
        If UMAP is asked for and not installed.
    """
    dataset = sweep.dataset
    z_ND = sweep.model(point).encode(dataset.test_NCHW)
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
    sweep.add_picture(PICTURE, figure)
    return figure


def latent_spaces(sweep: Sweep, points: Sequence[FrontierPoint]) -> list[MeasuredSpace]:
    """Measure the latent spaces of some points; the numbers are put on their runs."""
    return [_measured(sweep, point) for point in points]


def spaces_document(sweep: Sweep, spaces: Sequence[MeasuredSpace]) -> dict[str, Any]:
    """Return what was measured as a JSON-able document."""
    return {
        "schema": SCHEMA,
        "schema_version": 1,
        "sweep": sweep.name,
        "spaces": [
            {
                "condition": str(each.point.condition),
                "model": each.point.model,
                "latent_dim": each.point.latent_dim,
                **dataclasses.asdict(each.space),
            }
            for each in spaces
        ],
    }


def keep_spaces(sweep: Sweep, spaces: Sequence[MeasuredSpace]) -> None:
    """Put the document on the sweep's run, as latent_space.json."""
    document = json.dumps(spaces_document(sweep, spaces), indent=2, allow_nan=False)
    sweep.runs.add_to_run(sweep.record.run_id, files={DOCUMENT: document.encode()})


def meaning(spaces: Sequence[MeasuredSpace]) -> str:
    """Say where the latents tell classes best, and where they tell them least.

    Parameters
    ----------
    spaces
        At least one.
    """
    best = max(spaces, key=lambda each: each.space.knn_accuracy)
    worst = min(spaces, key=lambda each: each.space.knn_accuracy)
    said = (
        f"neighbours tell the class best at {best.point.condition} ({_accuracy(best)} of the "
        "test images)"
    )
    if worst.space.knn_accuracy < best.space.knn_accuracy:
        said += f" and least at {worst.point.condition} ({_accuracy(worst)})"
    if worst.space.overlaps:
        pair = worst.space.overlaps[0]
        said += f", where {pair.classes[0]} and {pair.classes[1]} overlap most ({pair.share:.1%})"
    return said


def _accuracy(each: MeasuredSpace) -> str:
    return f"{each.space.knn_accuracy:.1%}"


def _measured(sweep: Sweep, point: FrontierPoint) -> MeasuredSpace:
    dataset, model = sweep.dataset, sweep.model(point)
    space = analysis.latent_space(
        model.encode(dataset.test_NCHW),
        dataset.test_labels_N,
        fit_z_ND=model.encode(dataset.val_NCHW),
        fit_labels_N=dataset.val_labels_N,
    )
    if "active_latents" in point.rate:
        # Of a code that is drawn, a latent may vary and be noise all the same.
        space = dataclasses.replace(space, active_latents=round(point.rate["active_latents"]))
    metrics = {
        "latent_knn_accuracy": space.knn_accuracy,
        "latent_probe_accuracy": space.probe_accuracy,
        "latent_silhouette": space.silhouette,
        "active_latents": space.active_latents,
    }
    if space.mean_correlation is not None:
        metrics["latent_correlation"] = space.mean_correlation
    sweep.runs.add_to_run(point.run_id, metrics=metrics)
    return MeasuredSpace(point, space)
