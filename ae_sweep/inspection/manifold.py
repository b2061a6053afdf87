"""A grid over the plane of the latents, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ae_sweep import analysis, plots
from ae_sweep.inspection.result import ImageGrid

if TYPE_CHECKING:
    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifold(ImageGrid):
    """Images decoded from a grid of latents."""

    file: ClassVar[str] = "manifold.png"
    gap: ClassVar[int] = 0

    point: FrontierPoint
    """The point whose model decoded them."""


def manifold(sweep: Sweep, point: FrontierPoint, *, side: int = 20) -> Manifold:
    """Decode a grid over the latent plane of a point, spaced by the quantiles of the test images.

    Beyond two latents the plane is that of their first two principal components.

    Parameters
    ----------
    side
        Images along each side of the grid.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If the model or the images cannot be read.
    """
    model = sweep.shared_model(point)
    x_NCHW = sweep.dataset.test_NCHW
    some = analysis.sample_of(x_NCHW)
    grid = analysis.grid(model.encode(x_NCHW[some]), side=side)
    directions = ("across", "upwards")[: len(grid.axes)]
    axes = ", ".join(f"{axis} {way}" for axis, way in zip(grid.axes, directions, strict=True))
    return Manifold(
        sweep=sweep.name,
        title=f"{sweep.name}, {point.condition}: {axes}",
        rows=tuple(
            plots.ImageRow("", analysis.as_bytes(model.decode(latents_CD)))
            for latents_CD in grid.z_RCD
        ),
        point=point,
    )
