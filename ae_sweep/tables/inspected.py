"""Tables of what was measured of trained models: latent spaces and the identity test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.tables.stored import CONDITION
from ae_sweep.tables.table import Column, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.analysis import FrontierPoint, LatentSpace, ProbeResult

LATENTS = Column(key="condition", title="Latents", kind=str)
BY_CLASS = ("knn_accuracy", "probe_accuracy", "silhouette", "overlaps")
MOST_PAIRS = 3
"""Of overlapping classes that have room in one column."""


def latent_spaces(measured: Iterable[tuple[FrontierPoint, LatentSpace]]) -> Table:
    """Return the latent spaces of points, one per row; without classes, without their columns."""
    spaces = list(measured)
    by_class = any(space.knn_accuracy is not None for _, space in spaces)
    table = Table(
        caption="How well latents separate the classes; no training used the labels"
        if by_class
        else "The latents of the test images",
        columns=(
            LATENTS,
            Column(key="knn_accuracy", title="k-NN", form="{:.1%}"),
            Column(key="probe_accuracy", title="Linear probe", form="{:.1%}"),
            Column(key="silhouette", title="Silhouette", form="{:.3f}"),
            Column(key="active_latents", title="Active", kind=Share),
            Column(key="mean_correlation", title="Correlation", form="{:.3f}"),
            Column(key="overlaps", title="Most often taken for each other", kind=str),
        ),
        rows=tuple(
            {
                "condition": str(point.condition),
                "knn_accuracy": space.knn_accuracy,
                "probe_accuracy": space.probe_accuracy,
                "silhouette": space.silhouette,
                "active_latents": Share(space.active_latents, space.latent_width),
                "mean_correlation": space.mean_correlation,
                "overlaps": ", ".join(map(str, space.overlaps[:MOST_PAIRS])) or None,
            }
            for point, space in spaces
        ),
        run_ids=tuple(point.run_id for point, _ in spaces),
    )
    return table if by_class else table.without(*BY_CLASS)


def overlaps(measured: Iterable[tuple[FrontierPoint, LatentSpace]]) -> Table:
    """Return the pairs of classes that overlap most, one point per row, a column for each place."""
    spaces = list(measured)
    most = max((len(space.overlaps) for _, space in spaces), default=0)
    return Table(
        caption="Pairs of classes that are most often taken for each other, and how often",
        columns=(
            CONDITION,
            *(Column(key=str(place), title=f"{place}.", kind=str) for place in range(1, most + 1)),
        ),
        rows=tuple(
            {
                "condition": str(point.condition),
                **{str(place): str(pair) for place, pair in enumerate(space.overlaps, start=1)},
            }
            for point, space in spaces
        ),
        run_ids=tuple(point.run_id for point, _ in spaces),
    )


def copy_test(results: Sequence[tuple[FrontierPoint, ProbeResult]]) -> Table:
    """Return what models made of every probe, one probe of one point per row."""
    return Table(
        caption="Every probe of every condition",
        columns=(
            LATENTS,
            Column(key="probe", title="Probe", kind=str),
            Column(key="mse", title="MSE", form="{:.5f}"),
            Column(key="psnr", title="PSNR (dB)", form="{:.2f}", missing="perfect"),
            Column(key="exact", title="Exact pixels", form="{:.1%}"),
            Column(key="rebuilt", title="Rebuilt", form="{:.1%}"),
            Column(key="pca_mse", title="PCA MSE", form="{:.5f}"),
        ),
        rows=tuple(
            {
                "condition": str(point.condition),
                "probe": result.probe,
                "mse": result.mse,
                "psnr": result.psnr,
                "exact": result.exact,
                "rebuilt": result.rebuilt,
                "pca_mse": result.pca_mse,
            }
            for point, result in results
        ),
        run_ids=tuple(point.run_id for point, _ in results),
    )
