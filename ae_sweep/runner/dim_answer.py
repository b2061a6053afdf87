"""Answer of a sweep whose dims are chosen, by its stored results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.analysis.dim_choice import answer_of
from ae_sweep.analysis.frontier_points import best_points
from ae_sweep.config import AUTO
from ae_sweep.messages import ignore
from ae_sweep.records import Outcome
from ae_sweep.runner.settings import make_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.dim_choice import DimAnswer
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import SweepRecord, TrialRecord


def dim_answer(config: SweepConfig, trials: Sequence[TrialRecord]) -> DimAnswer | None:
    """Return the answer that the dims of a sweep were chosen for.

    None where they were listed, and before anything is measured.
    """
    if config.auto is None or not trials:
        return None
    points = best_points(trials, pixels=trials[0].pixels)
    measured = {point.latent_dim: point.test_mse for point in points}
    failed = {t.point.latent_dim for t in trials if t.outcome is Outcome.FAILED} - measured.keys()
    grid = [dim for dim in config.dims if dim not in failed]
    return answer_of(grid, measured, config.auto.question) if measured else None


def stored_answer(record: SweepRecord, trials: Sequence[TrialRecord]) -> DimAnswer | None:
    """Return the same of a stored sweep.

    Raises
    ------
    StoreError, ConfigError
        If its settings were changed in the store, and are none any more.
    """
    if not record.config.get("dims", "").startswith(AUTO):
        return None
    config = make_config(record.name, {}, record.config, announce=ignore)
    return dim_answer(config, trials)
