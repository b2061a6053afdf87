"""Owns the look at a prior: images decoded from codes that no image was encoded to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import analysis, plots
from ae_sweep.config import model_family
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep

PICTURE = "samples.png"


def prior_samples(
    sweep: Sweep, points: Sequence[FrontierPoint], *, count: int = 10, seed: int = 0
) -> plots.Figure:
    """Decode codes drawn from the prior, a row a point; on the sweep's run as samples.png.

    Raises
    ------
    ConfigError
        If the model has no prior.
    """
    rows = []
    for point in points:
        model = sweep.model(point)
        if not model.has_prior:
            raise ConfigError(
                f"the model {model_family(point.model)!r} has no prior to draw codes from; a vae "
                "has, and ae-sweep manifold decodes codes between those of images"
            )
        x_NCHW = model.sample(count, seed=seed)
        rows.append(plots.ImageRow(str(point.condition), analysis.as_bytes(x_NCHW)))
    figure = plots.image_rows_figure(rows, title=f"{sweep.name}: drawn from the prior, N(0, I)")
    sweep.add_picture(PICTURE, figure)
    return figure
