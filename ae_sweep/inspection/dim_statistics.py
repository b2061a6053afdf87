"""Statistics of a sweep's curve over latent dims: laws, the knee, what is good enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.analysis.curve_statistics import CurveStatistics, dim_statistics
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.targets import TargetKind
from ae_sweep.inspection.agreement import agreements
from ae_sweep.locations import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep


def curve_statistics(
    sweep: Sweep,
    targets: Sequence[Target] = (),
    *,
    announce: Callable[[str], None] | None = None,
) -> CurveStatistics | NotApplicable:
    """Choose a law of a sweep's curve, and find the smallest latent dims that are good enough.

    Models are loaded for a target of accuracy only.

    Raises
    ------
    ConfigError
        If a target is an accuracy and the images have no classes.
    StoreError, NotStoredError, DataError
        If the sweep, or for an accuracy a model or the images, cannot be read.
    """
    points = sweep.frontier.points
    dims = [point.latent_dim for point in points]
    if len(set(dims)) < len(dims):
        return NotApplicable("several models share the latent dims, so there is no law of them")
    errors = {trial.run_id: trial.test_mse for trial in sweep.trials}
    mses = [
        [error for run_id in point.seed_run_ids if (error := errors[run_id]) is not None]
        for point in points
    ]
    agreed = {}
    if any(each.kind is TargetKind.ACCURACY for each in targets):
        by_run = agreements(sweep, points, cache=cache_dir(), announce=announce)
        agreed = {point.latent_dim: by_run[point.run_id] for point in points}
    return dim_statistics(dims, mses, targets=targets, agreements=agreed)
