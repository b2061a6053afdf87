"""Images decoded from codes that are drawn from the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ae_sweep import analysis, plots
from ae_sweep.config import model_family
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.result import ImageGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorSamples(ImageGrid):
    """A row of samples for each point."""

    file: ClassVar[str] = "samples.png"


def prior_samples(
    sweep: Sweep, points: Sequence[FrontierPoint], *, count: int = 10, seed: int = 0
) -> PriorSamples:
    """Decode codes drawn from the prior, a row for each point.

    Parameters
    ----------
    count
        Number of images in a row.
    seed
        Of the codes.

    Raises
    ------
    ConfigError
        If the model has no prior.
    StoreError, NotStoredError, DataError
        If a model cannot be read.
    """
    rows = []
    for point in points:
        model = sweep.shared_model(point)
        if not model.has_prior:
            raise ConfigError(
                f"the model {model_family(point.model)!r} has no prior to draw codes from; vae "
                f"and ntc have, and `{sweep.store.command('manifold', sweep.name)}` decodes codes "
                "between those of images"
            )
        x_NCHW = model.sample(count, seed=seed)
        rows.append(plots.ImageRow(str(point.condition), analysis.as_bytes(x_NCHW)))
    return PriorSamples(
        sweep=sweep.name, title=f"{sweep.name}: drawn from the prior", rows=tuple(rows)
    )
