"""The points of a frontier: the best configuration of each condition, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.config import Condition, Hyperparameters
from ae_sweep.errors import StoreError
from ae_sweep.messages import shorten
from ae_sweep.records import RATE_BITS, RATE_MSE, Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.records import TrialRecord


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """Result of the best configuration of one condition."""

    latent_dim: int
    model: str
    """With its setting, if it has one: ``vae beta=0.1``."""
    compression_ratio: float
    """Pixels of an image / latent_dim. Not a bit rate: a latent is a float32, or a token."""
    hyperparameters: Hyperparameters
    val_mse: float
    """Of the chosen search trial. Slightly optimistic, because the trial was chosen by it and by
    what its objective adds."""
    test_mse: float
    """Per pixel; the mean over the seeds of the configuration."""
    test_mse_std: float | None
    """Sample standard deviation over those seeds; None for one seed."""
    test_psnr: float | None
    """10·log10(1 / test_mse) in dB; None for a perfect reconstruction."""
    seeds: int
    """Number of seeds that ``test_mse`` is the mean of."""
    db_per_doubling: float | None
    """dB of PSNR per doubling of latent_dim since the point before; None where a PSNR is
    missing."""
    run_id: str
    """The search trial that was chosen."""
    trials_finished: int
    """Finished trials of this latent_dim, including repeats."""
    trials_total: int
    """All trials of this latent_dim, including repeats."""
    rate: Mapping[str, float] = field(default_factory=dict)
    """Rate of the code of test images, means over the seeds: ``bits``, ``mse`` at that rate, and
    further measures of the model. Empty for a code of real numbers."""
    rate_std: Mapping[str, float] = field(default_factory=dict)
    """Sample standard deviations of the same; empty for one seed."""
    seed_run_ids: tuple[str, ...] = ()
    """Trials of the chosen configuration, one for each seed, ascending by seed."""

    @property
    def condition(self) -> Condition:
        """The condition: latent_dim and the model's setting."""
        return Condition(self.latent_dim, self.model)

    @property
    def has_rate(self) -> bool:
        """Whether its code has a rate in bits, and an error at that rate."""
        return RATE_BITS in self.rate and RATE_MSE in self.rate


def best_points(trials: Iterable[TrialRecord], *, pixels: int) -> Iterable[FrontierPoint]:
    """Yield the best point of each condition with a finished search trial, without gains.

    Parameters
    ----------
    trials
        All trials of one model, however they ended.
    pixels
        Numbers in one image.

    Raises
    ------
    StoreError
        If the validation or test MSE of a finished trial is missing or not finite.
    """
    by_condition: dict[Condition, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        by_condition[trial.point.condition].append(trial)
    for condition in sorted(by_condition, key=lambda each: each.order):
        alike = by_condition[condition]
        finished = [trial for trial in alike if trial.outcome is Outcome.FINISHED]
        searched = [trial for trial in finished if trial.role is Role.SEARCH]
        if searched:
            best = min(searched, key=_merit)
            yield _point(best, finished, pixels=pixels, trials_total=len(alike))


def _merit(trial: TrialRecord) -> tuple[float, int, float, str]:
    """Return a sort key: validation alone; ties go to the cheaper, then to a fixed order."""
    settings = trial.point.hyperparameters
    return _val_mse(trial) + trial.val_penalty, settings.epochs, settings.lr, trial.run_id


def _point(
    best: TrialRecord, finished: Sequence[TrialRecord], *, pixels: int, trials_total: int
) -> FrontierPoint:
    chosen = best.point
    # One value per seed: repeating the same training is not another measurement.
    by_seed = {
        trial.point.seed: trial
        for trial in finished
        if trial.point.hyperparameters == chosen.hyperparameters
    }
    by_seed[chosen.seed] = best
    seeds = [trial for _, trial in sorted(by_seed.items())]
    mses = [measured_test_mse(trial) for trial in seeds]
    test_mse = statistics.fmean(mses)
    rates = {
        key: [trial.rate[key] for trial in seeds]
        for key in best.rate
        if all(key in trial.rate for trial in seeds)
    }
    return FrontierPoint(
        latent_dim=chosen.latent_dim,
        model=chosen.model,
        compression_ratio=pixels / chosen.latent_dim,
        hyperparameters=chosen.hyperparameters,
        val_mse=_val_mse(best),
        test_mse=test_mse,
        test_mse_std=statistics.stdev(mses) if len(mses) > 1 else None,
        test_psnr=psnr_db(test_mse),
        seeds=len(mses),
        db_per_doubling=None,
        run_id=best.run_id,
        seed_run_ids=tuple(trial.run_id for trial in seeds),
        trials_finished=len(finished),
        trials_total=trials_total,
        rate={key: statistics.fmean(values) for key, values in rates.items()},
        rate_std=(
            {key: statistics.stdev(values) for key, values in rates.items()}
            if len(seeds) > 1
            else {}
        ),
    )


def with_gains(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """Return the points with the dB gained per doubling of latent_dim since the one before."""
    gains: dict[str, float | None] = {}
    for model in {point.model for point in points}:
        for before, after in pairwise(point for point in points if point.model == model):
            gains[after.run_id] = _db_per_doubling(before, after)
    return tuple(replace(point, db_per_doubling=gains.get(point.run_id)) for point in points)


def _db_per_doubling(before: FrontierPoint, after: FrontierPoint) -> float | None:
    if before.test_psnr is None or after.test_psnr is None:
        return None
    return (after.test_psnr - before.test_psnr) / math.log2(after.latent_dim / before.latent_dim)


def _val_mse(trial: TrialRecord) -> float:
    return _measured(trial, "val_mse", trial.val_mse)


def measured_test_mse(trial: TrialRecord) -> float:
    """Return the test MSE of a finished trial, or raise a StoreError that names the run."""
    return _measured(trial, "test_mse", trial.test_mse)


def _measured(trial: TrialRecord, name: str, mse: float | None) -> float:
    if mse is None or not math.isfinite(mse) or mse < 0:
        raise StoreError(
            f"run {shorten(trial.run_id)} is marked finished, but its {name} is {mse}; delete "
            "that run in the MLflow UI and resume the sweep"
        )
    return mse
