"""The empirical rate-distortion curve of a sweep's trials.

Configurations are chosen on validation images and reported on test images. The rate axis is
latent_dim, a count of float32 numbers, not a bit rate; where the code has a rate in bits, that is
included as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.frontier_points import best_points, measured_test_mse, with_gains
from ae_sweep.analysis.knee import find_knee
from ae_sweep.analysis.linear import worse_than_linear
from ae_sweep.analysis.power_law import fit_power_law
from ae_sweep.config import Condition, model_family
from ae_sweep.errors import ConfigError, NotStoredError
from ae_sweep.messages import shorten
from ae_sweep.records import Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.analysis.frontier_points import FrontierPoint
    from ae_sweep.analysis.knee import Knee
    from ae_sweep.analysis.power_law import PowerLaw
    from ae_sweep.records import TrialRecord


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """One finished trial, chosen or not."""

    latent_dim: int
    test_mse: float


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The empirical rate-distortion curve of one model on one data set."""

    sweep: str
    """For trials of several sweeps, their names separated by commas."""
    model: str
    """Its name in the registry; each point has its own setting."""
    dataset: str | None
    """None where the caller did not name it."""
    dataset_digest: str
    recipe: str
    pixels: int
    """Numbers in one image: from this latent_dim on, nothing is compressed."""
    points: tuple[FrontierPoint, ...]
    """One for each condition with a finished search trial, ascending by latent_dim, then setting;
    at least one."""
    all_trials: tuple[FinishedTrial, ...]
    """Every finished trial, ascending by latent_dim, then test_mse."""
    fit: PowerLaw | None
    fit_refusal: str | None
    """Why there is no fit; None where there is one."""
    knee: Knee | None
    knee_refusal: str | None
    """Why there is no knee; None where there is one."""
    notes: tuple[str, ...]
    """What was left out of the curve or the fit, and why."""
    channels: int = 1
    """Of the images: 1 is grey, 3 is colour."""
    linear_mse: Mapping[int, float] = field(default_factory=dict)
    """Test MSE of as many principal components, by latent_dim; empty where it was not measured."""

    @property
    def number_word(self) -> str:
        """Word for the numbers of an image: pixels if it is grey."""
        return _number_word(self.channels)

    @property
    def number_noun(self) -> str:
        """The same word for one of them."""
        return _number_noun(self.channels)

    @property
    def has_rate(self) -> bool:
        """Whether the code of every point has a rate in bits."""
        return all(point.has_rate for point in self.points)


def frontier(
    trials: Sequence[TrialRecord],
    *,
    sweep: str | None = None,
    dataset: str | None = None,
    linear_mse: Mapping[int, float] | None = None,
) -> Frontier:
    """Return the best point of each condition of a sweep's trials, with a fit and a knee.

    Parameters
    ----------
    trials
        All trials of one model on one data set by one recipe, however they ended. Only finished
        ones are measured.
    sweep
        The sweep's name. By default, the names stored with the trials.
    dataset
        The data set's name, carried into the result.
    linear_mse
        Test MSE of as many principal components, by latent_dim, where it was measured.

    Returns
    -------
    Frontier
        The fit takes the points below the pixels of an image with an MSE above 0; the knee takes
        all that have a PSNR (docs/decisions/0004-frontier-fit.md).

    Raises
    ------
    ConfigError
        If trials of several models, data sets or recipes are mixed.
    NotStoredError
        If no search trial is finished.
    StoreError
        If the validation or test MSE of a finished trial is missing or not finite.
    """
    name = sweep or ", ".join(sorted({trial.sweep for trial in trials}))
    finished = [trial for trial in trials if trial.outcome is Outcome.FINISHED]
    if not any(trial.role is Role.SEARCH for trial in finished):
        raise NotStoredError(
            f"{_none_finished(len(trials))}, so there is no frontier; the MLflow UI shows why a "
            "trial failed, and --resume completes the sweep"
        )
    _refuse_mixture(trials)
    some = finished[0]
    pixels = some.pixels
    points = with_gains([*best_points(trials, pixels=pixels)])
    several = _several_models(points)
    fit, left_out = (several, ()) if several else _fit(points, some)
    knee = several or _knee(points)
    return Frontier(
        sweep=name,
        model=model_family(some.point.model),
        dataset=dataset,
        dataset_digest=some.point.dataset_digest,
        recipe=some.point.recipe,
        pixels=pixels,
        points=points,
        all_trials=_all_trials(finished),
        fit=None if isinstance(fit, NotApplicable) else fit,
        fit_refusal=fit.reason if isinstance(fit, NotApplicable) else None,
        knee=None if isinstance(knee, NotApplicable) else knee,
        knee_refusal=knee.reason if isinstance(knee, NotApplicable) else None,
        notes=(
            *_unmeasured(trials, points),
            *left_out,
            *worse_than_linear(points, linear_mse or {}),
        ),
        channels=some.channels,
        linear_mse=dict(linear_mse or {}),
    )


def _number_word(channels: int) -> str:
    return f"{_number_noun(channels)}s"


def _number_noun(channels: int) -> str:
    return "pixel" if channels == 1 else "number"


def _none_finished(trials: int) -> str:
    if trials < 2:
        return "the only trial has not finished" if trials else "no trial is stored"
    return f"none of the {trials} trials has finished"


def _refuse_mixture(trials: Sequence[TrialRecord]) -> None:
    kinds = {
        "models": {model_family(trial.point.model) for trial in trials},
        "data sets": {trial.point.dataset_digest for trial in trials},
        "recipes": {trial.point.recipe for trial in trials},
    }
    for kind, names in kinds.items():
        if len(names) > 1:
            listed = ", ".join(shorten(name) for name in sorted(names))
            raise ConfigError(
                f"trials of different {kind} ({listed}) are not points of one curve; "
                "take the frontier of each by itself"
            )


def _several_models(points: Sequence[FrontierPoint]) -> NotApplicable | None:
    """Return why there is no law in latent_dim where another setting changes too."""
    settings = sorted({point.model for point in points})
    if len(settings) < 2:
        return None
    return NotApplicable(f"several models share the latent dims ({', '.join(settings)})")


def _fit(
    points: Sequence[FrontierPoint], some: TrialRecord
) -> tuple[PowerLaw | NotApplicable, tuple[str, ...]]:
    """Fit the points that compress and have a logarithm; describe what was left out."""
    perfect = [point.latent_dim for point in points if point.test_mse == 0]
    idle = [
        point.latent_dim
        for point in points
        if point.latent_dim >= some.pixels and point.test_mse > 0
    ]
    left_out = []
    if perfect:
        left_out.append(
            f"{_list(perfect)} left out of the fit: a perfect reconstruction has no logarithm"
        )
    if idle:
        left_out.append(
            f"{_list(idle)} left out of the fit: no compression at or above {some.pixels} "
            f"{_number_word(some.channels)}"
        )
    used = [point for point in points if point.latent_dim not in {*perfect, *idle}]
    fit = fit_power_law([point.latent_dim for point in used], [point.test_mse for point in used])
    return fit, tuple(left_out)


def _knee(points: Sequence[FrontierPoint]) -> Knee | NotApplicable:
    rated = [(point.latent_dim, point.test_psnr) for point in points if point.test_psnr is not None]
    return find_knee([dim for dim, _ in rated], [psnr for _, psnr in rated])


def _all_trials(finished: Iterable[TrialRecord]) -> tuple[FinishedTrial, ...]:
    pairs = sorted((trial.point.latent_dim, measured_test_mse(trial)) for trial in finished)
    return tuple(FinishedTrial(latent_dim=dim, test_mse=mse) for dim, mse in pairs)


def _unmeasured(trials: Iterable[TrialRecord], points: Iterable[FrontierPoint]) -> tuple[str, ...]:
    measured = {point.condition for point in points}
    tried = {trial.point.condition for trial in trials}
    missing = sorted(tried - measured, key=lambda each: each.order)
    if not missing:
        return ()
    return (f"{listed_conditions(missing)} not on the curve: no finished search trial",)


def listed_conditions(conditions: Sequence[Condition]) -> str:
    """Write conditions as a list: ``d=2, 8``, or ``d=2 beta=0.1, d=8 beta=0.1`` with settings."""
    if len({each.model for each in conditions}) == 1 and " " not in conditions[0].model:
        return _list(each.latent_dim for each in conditions)
    return ", ".join(map(str, conditions))


def _list(dims: Iterable[int]) -> str:
    return "d=" + ", ".join(map(str, dims))
