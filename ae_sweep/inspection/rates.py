"""Measured rates: the best models of a sweep, each coded by a codec of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.analysis.rate_curve import CurveKind
from ae_sweep.api.models import load_model, model_sha256
from ae_sweep.errors import NotStoredError
from ae_sweep.inspection import kept_rates
from ae_sweep.inspection.model_coding import code_model, codec_digest, renamed
from ae_sweep.inspection.result import Inspection, RunFindings
from ae_sweep.messages import counted, in_words, shorten
from ae_sweep.records import Outcome
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ae_sweep.analysis import FrontierPoint, RateCurve
    from ae_sweep.api import Sweep
    from ae_sweep.inspection.kept_rates import KeptRates
    from ae_sweep.records import TrialRecord

SECONDS_BETWEEN_LINES = 5.0
ESTIMATED_FROM = 0.05
"""Share of the work after which the time left is estimated."""


@dataclass(frozen=True, kw_only=True)
class MeasuredModel:
    """The measured rate of the model of one trial."""

    trial: TrialRecord
    curves: tuple[RateCurve, ...]
    """Of its codec, and of a VAE the bound of drawn codes as well; never to be joined."""
    kept: KeptRates
    codec: bytes | None = field(default=None, repr=False)
    """The content of ``codec.safetensors`` where MLflow does not keep it yet."""
    fresh: bool = False
    """Whether MLflow does not keep the measurement yet."""

    @property
    def coded(self) -> RateCurve | None:
        """The curve of its codec; None where nothing could be coded."""
        return next((each for each in self.curves if each.kind is not CurveKind.BOUND), None)


@dataclass(frozen=True, kw_only=True)
class RateProgress:
    """How far a measurement is."""

    name: str
    """The trial whose model is coded."""
    share: float
    """Of all the work, from 0 to 1."""
    models: int
    """How many models are measured in all."""

    def time_left(self, seconds: float) -> str:
        """Return an estimate after some seconds in words; empty until a twentieth is done.

        The start of a measurement, with what it loads, says little of the rest.
        """
        if self.share < ESTIMATED_FROM:
            return ""
        return f", about {in_words(seconds / self.share * (1 - self.share))} left"


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRates(Inspection):
    """Rate-distortion curves in bits, one for each model."""

    models: tuple[MeasuredModel, ...]
    """By point, and of each point by seed."""

    @property
    def curves(self) -> tuple[RateCurve, ...]:
        """The curves of all models."""
        return tuple(curve for model in self.models for curve in model.curves)

    @property
    def findings(self) -> tuple[str, ...]:
        """Which models could not be coded, and why."""
        return tuple(
            f"{model.trial.name}: {note}" for model in self.models for note in model.kept.notes
        )

    def run_findings(self) -> Mapping[str, RunFindings]:  # noqa: D102 - inherited
        return {
            model.trial.run_id: model.kept.findings(model.codec)
            for model in self.models
            if model.fresh
        }

    def was_logged(self) -> None:  # noqa: D102 - inherited
        for model in self.models:
            if model.fresh:
                kept_rates.drop_cached(model.kept)


def measured_rates(
    sweep: Sweep,
    points: Sequence[FrontierPoint] | None = None,
    *,
    repeats: bool = True,
    announce: Callable[[str], None] | None = None,
) -> MeasuredRates:
    """Measure the rate of the best model of each point, and of its repeats with other seeds.

    A codec is fitted to the latents of training images (validation images are not among them): a
    linear transform, their Karhunen-Loève transform in the decoder's metric; uniform quantisers of
    12 steps or more; integer count tables, one for each coordinate or a set of them per cluster.
    With it validation and test images are coded together, the bytes counted, decoded again and
    compared; the error is that of images rounded to bytes. Tokens are coded as they are. Of a code
    that is drawn, the divergence and the error of drawn codes are a curve of their own.

    What MLflow keeps of earlier measurements is read back. What is measured lies in the user cache
    until it is logged (`log`), so that an interrupted measurement goes on where it was.

    Parameters
    ----------
    points
        All of the sweep if left out.
    repeats
        Whether the other seeds of each point's configuration are measured too.
    announce
        Called with lines on the progress; those of the sweep if left out.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    return finish(iter_measured_rates(sweep, points, repeats=repeats), announce or sweep.announce)


def iter_measured_rates(
    sweep: Sweep, points: Sequence[FrontierPoint] | None = None, *, repeats: bool = True
) -> Generator[RateProgress, None, MeasuredRates]:
    """Measure as `measured_rates` does, and yield how far it is: for a display of your own."""
    chosen = sweep.points() if points is None else list(points)
    run_ids = [
        run_id
        for point in chosen
        for run_id in ((point.seed_run_ids if repeats else ()) or (point.run_id,))
    ]
    return iter_rates_of(sweep, [trial_of(sweep, run_id) for run_id in run_ids])


def iter_rates_of(
    sweep: Sweep, trials: Sequence[TrialRecord]
) -> Generator[RateProgress, None, MeasuredRates]:
    """Measure the models of finished trials, whether they are the best or not."""
    found = {trial.run_id: _kept(sweep, trial) for trial in trials}
    missing = [trial for trial in trials if found[trial.run_id] is None]
    for number, trial in enumerate(missing):
        yield RateProgress(name=trial.name, share=number / len(missing), models=len(missing))
        for share in (measuring := _Measuring(sweep, trial)).steps():
            done = (number + share) / len(missing)
            yield RateProgress(name=trial.name, share=done, models=len(missing))
        found[trial.run_id] = measuring.result
    seeds = {trial.point.condition: set[int]() for trial in trials}
    for trial in trials:
        seeds[trial.point.condition].add(trial.point.seed)
    models = []
    for trial in trials:
        result = found[trial.run_id]
        assert result is not None, "it was measured above"  # noqa: S101
        several = len(seeds[trial.point.condition]) > 1
        models.append(
            MeasuredModel(
                trial=trial,
                curves=tuple(
                    _named(each, sweep, trial, several=several) for each in result.kept.curves
                ),
                kept=result.kept,
                codec=result.codec,
                fresh=result.fresh,
            )
        )
    return MeasuredRates(sweep=sweep.name, models=tuple(models))


def finish(
    measuring: Generator[RateProgress, None, MeasuredRates],
    announce: Callable[[str], None] | None,
) -> MeasuredRates:
    """Run a measurement to its end, with a line on its progress every few seconds."""
    began = last = time.monotonic()
    while True:
        try:
            progress = next(measuring)
        except StopIteration as end:
            result: MeasuredRates = end.value
            return result
        now = time.monotonic()
        if announce is not None and now - last >= SECONDS_BETWEEN_LINES:
            last = now
            announce(progress_line(progress, seconds=now - began))


def progress_line(progress: RateProgress, *, seconds: float) -> str:
    """Return a line on a measurement that has taken some seconds."""
    return (
        f"measuring rates: {progress.name}, {progress.share:.0%} of "
        f"{counted(progress.models, 'model')}{progress.time_left(seconds)}"
    )


def trial_of(sweep: Sweep, run_id: str) -> TrialRecord:
    """Return a sweep's finished trial by its run.

    Raises
    ------
    NotStoredError
        If the sweep has no finished trial of that run.
    """
    for trial in sweep.trials:
        if trial.run_id == run_id:
            if trial.outcome is not Outcome.FINISHED:
                raise NotStoredError(
                    f"{trial.name} of {sweep.name} is {trial.outcome}, so it has no model; name a "
                    "finished trial's run"
                )
            return trial
    raise NotStoredError(f"{sweep.name} has no trial with the run {shorten(run_id)}")


class _Measuring:
    """The measurement of one trial's model."""

    def __init__(self, sweep: Sweep, trial: TrialRecord) -> None:
        self._sweep = sweep
        self._trial = trial
        self.result: _Result

    def steps(self) -> Generator[float, None, None]:
        """Yield the share that is done; then ``result`` is there, and in the user cache."""
        sweep, trial = self._sweep, self._trial
        model, sha256 = load_model(sweep.runs, trial.run_id, expected=trial.point.condition)
        assert trial.val_mse is not None, "the frontier takes no other"  # noqa: S101
        coded = yield from code_model(
            model, sweep.dataset, model_sha256=sha256, val_mse=trial.val_mse
        )
        kept = kept_rates.kept_rates(
            trial.run_id,
            sweep=sweep.name,
            dataset_digest=sweep.record.dataset_digest,
            model_sha256=sha256,
            coded=coded,
        )
        kept_rates.write_cache(kept, coded.codec)
        self.result = _Result(kept, coded.codec, fresh=True)


class _Result(NamedTuple):
    kept: KeptRates
    codec: bytes | None = None
    fresh: bool = False


def _kept(sweep: Sweep, trial: TrialRecord) -> _Result | None:
    """Return what MLflow or the user cache keeps of a model's rate."""
    digest = sweep.record.dataset_digest
    kept = kept_rates.parse(sweep.runs.run_file(trial.run_id, names.CODED_DOCUMENT))
    if kept is not None and kept.dataset_digest == digest:
        return _Result(kept)
    cached = kept_rates.read_cached(model_sha256(sweep.runs, trial.run_id), digest)
    if cached is None:
        return None
    codec = kept_rates.cached_codec(cached)
    if cached.codec != (None if codec is None else codec_digest(codec)):
        return None
    return _Result(replace(cached, run_id=trial.run_id, sweep=sweep.name), codec, fresh=True)


def _named(curve: RateCurve, sweep: Sweep, trial: TrialRecord, *, several: bool) -> RateCurve:
    words = [f"{sweep.name}, {trial.point.condition}"]
    if curve.kind is CurveKind.BOUND:
        words.append("drawn")
    if several:
        words.append(f"seed {trial.point.seed}")
    return renamed(curve, name=", ".join(words), seed=trial.point.seed, run_id=trial.run_id)
