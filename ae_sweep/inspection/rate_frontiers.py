"""The frontier in bits: sweeps whose models were coded, beside references on the same images."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.analysis.bjontegaard import Interpolation
from ae_sweep.analysis.curve_statistics import (
    bd_against,
    bd_in_words,
    rate_statistics,
    reference_deltas_in_words,
)
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.quality_dimension import qualities_in_words
from ae_sweep.analysis.targets import TargetKind
from ae_sweep.config import dataset_title
from ae_sweep.inspection.agreement import coded_agreements
from ae_sweep.inspection.rates import MeasuredRates, iter_measured_rates, measured_rates
from ae_sweep.inspection.references import ALL, references
from ae_sweep.inspection.result import Inspection
from ae_sweep.locations import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.analysis import QualityDimension, RateComparison, RateCurve
    from ae_sweep.analysis.bjontegaard import BjontegaardDelta
    from ae_sweep.analysis.curve_statistics import CurveStatistics
    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep

PICTURE = "rates.png"
DOCUMENT = "rates.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class RateFrontier(Inspection):
    """Sweeps on one axis of bits, with references; the first sweep is the one it is logged to."""

    comparison: RateComparison
    measured: tuple[MeasuredRates, ...]
    """Of each sweep, to be logged to it."""
    statistics: tuple[CurveStatistics | NotApplicable, ...]
    """Of each sweep."""
    deltas: tuple[BjontegaardDelta | NotApplicable, ...] = ()
    """BD-rate and BD-PSNR of each sweep but the first against the first."""
    reference_deltas: tuple[tuple[str, BjontegaardDelta | NotApplicable], ...] = ()
    """Those of the first sweep against each reference that is a code with several points."""
    dataset: str | None = None
    mark_dimensions: bool = False
    """Whether the dimension at each quality is marked and listed."""

    @functools.cached_property
    def qualities(self) -> tuple[tuple[QualityDimension, ...] | NotApplicable, ...]:
        """The dimension at each quality of each sweep's curve."""
        return tuple(
            NotApplicable(f"{each.sweep} has no coded points")
            if each.frontier is None
            else analysis.quality_dimensions(each.frontier)
            for each in self.comparison.sweeps
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """Comparisons, laws, what is good enough, and what could not be measured and why."""
        first, *others = (each.sweep for each in self.comparison.sweeps)
        lines = [
            bd_in_words(name, first, found) for name, found in zip(others, self.deltas, strict=True)
        ]
        lines += reference_deltas_in_words(first, self.reference_deltas)
        for each, found in zip(self.comparison.sweeps, self.statistics, strict=True):
            known = [found.reason] if isinstance(found, NotApplicable) else found.findings
            lines += [line if not others else f"{each.sweep}: {line}" for line in known]
        if self.mark_dimensions:
            for each, at_quality in zip(self.comparison.sweeps, self.qualities, strict=True):
                lines.append(f"{each.sweep}: {qualities_in_words(at_quality)}")
        return (*lines, *self.comparison.notes)

    @functools.cached_property
    def figure(self) -> plots.Figure:
        """PSNR and MSE over bits per image."""
        names = [each.sweep for each in self.comparison.sweeps]
        first = self.qualities[0]
        at_quality = () if isinstance(first, NotApplicable) or not self.mark_dimensions else first
        return plots.rate_curves_figure(
            self.comparison,
            heading=" · ".join(filter(None, [", ".join(names), self.dataset])),
            qualities=at_quality,
        )

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        names = [each.sweep for each in self.comparison.sweeps]
        statistics = [
            {"reason": each.reason} if isinstance(each, NotApplicable) else each.document()
            for each in self.statistics
        ]
        compared = [
            {"name": name, "anchor": names[0], **dataclasses.asdict(found)}
            for name, found in zip(names[1:], self.deltas, strict=True)
        ]
        compared += [
            {"name": names[0], "anchor": name, **dataclasses.asdict(found)}
            for name, found in self.reference_deltas
        ]
        marked = {
            "at_quality": [
                {
                    "sweep": name,
                    "dimensions": []
                    if isinstance(each, NotApplicable)
                    else [dataclasses.asdict(at) for at in each],
                }
                for name, each in zip(names, self.qualities, strict=True)
            ]
        }
        return analysis.rates_document(self.comparison, dataset=self.dataset) | {
            **(marked if self.mark_dimensions else {}),
            "statistics": [
                {"sweep": name, **each} for name, each in zip(names, statistics, strict=True)
            ],
            "bd": compared,
        }

    def pictures(self) -> Mapping[str, plots.Figure]:  # noqa: D102 - inherited
        return {PICTURE: self.figure}

    def documents(self) -> Mapping[str, Mapping[str, Any]]:  # noqa: D102 - inherited
        return {DOCUMENT: self.document()}

    def _repr_png_(self) -> bytes:
        return plots.render(self.figure, "png")


def rate_frontier(
    sweeps: Sequence[Sweep],
    *,
    which: Sequence[str] = (ALL,),
    targets: Sequence[Target] = (),
    interpolation: Interpolation = Interpolation.PCHIP,
    mark_dimensions: bool = False,
    measure: Callable[[Sweep], MeasuredRates] | None = None,
    announce: Callable[[str], None] | None = None,
) -> RateFrontier:
    """Measure sweeps and references in bits; what was measured before is read back.

    Parameters
    ----------
    sweeps
        On the same images; at least one.
    which
        Names of references, see `references`.
    targets
        Qualities that are good enough, of which the smallest rates are found.
    interpolation
        Of curves whose BD-rates are computed.
    mark_dimensions
        Whether the dimension at each quality, 6.02·dR/dPSNR, is marked and listed.
    measure
        Measures the rates of one sweep, for a display of your own; `measured_rates` if left out.
    announce
        Called with one line for each long measurement.

    Raises
    ------
    NotStoredError
        If a sweep has no model that could be coded, or no finished trial.
    StoreError, DataError
        If a model or the images cannot be read.
    """
    measure = measure or functools.partial(measured_rates, announce=announce)
    measured = tuple(measure(sweep) for sweep in sweeps)
    return _of_measured(
        sweeps,
        measured,
        which=which,
        targets=targets,
        interpolation=interpolation,
        mark_dimensions=mark_dimensions,
        announce=announce,
    )


def stored_rate_frontier(
    sweep: Sweep,
    *,
    targets: Sequence[Target] = (),
    announce: Callable[[str], None] | None = None,
) -> RateFrontier | None:
    """Return the frontier in bits without references; None if rates were not measured yet.

    Raises
    ------
    StoreError, DataError
        If the sweep, or for a target of accuracy a model or the images, cannot be read.
    """
    found = stored_rates(sweep)
    if found is None:
        return None
    return _of_measured(
        [sweep], [found], which=(), targets=targets, mark_dimensions=True, announce=announce
    )


def stored_rates(sweep: Sweep) -> MeasuredRates | None:
    """Return the rates of a sweep if all of them were measured before; None otherwise."""
    measuring = iter_measured_rates(sweep)
    try:
        next(measuring)
    except StopIteration as end:
        found: MeasuredRates = end.value
        return found
    measuring.close()
    return None


def _of_measured(
    sweeps: Sequence[Sweep],
    measured: Sequence[MeasuredRates],
    *,
    which: Sequence[str],
    targets: Sequence[Target] = (),
    interpolation: Interpolation = Interpolation.PCHIP,
    mark_dimensions: bool = False,
    announce: Callable[[str], None] | None = None,
) -> RateFrontier:
    """Put measured sweeps beside references and beside each other."""
    notes = [line for each in measured for line in each.findings]
    compared = [analysis.sweep_rates(each.sweep, each.curves) for each in measured]
    notes += [
        f"the rates of {each.sweep} are estimates: constriction is not installed, so no coder ran"
        for each in compared
        if any(curve.kind is analysis.CurveKind.ESTIMATED for curve in each.frontiers)
    ]
    statistics = [
        rate_statistics(
            rates, targets=targets, agreements=_agreements(sweep, each, rates, targets, announce)
        )
        for sweep, each, rates in zip(sweeps, measured, compared, strict=True)
    ]
    curves: tuple[RateCurve, ...] = ()
    if which:
        found = references(sweeps[0], which, dims=(), announce=announce)
        curves, notes = found.curves, [*notes, *found.notes]
    title = sweeps[0].record.config.get("dataset")
    first = compared[0]
    return RateFrontier(
        sweep=sweeps[0].name,
        comparison=analysis.RateComparison(
            sweeps=tuple(compared), references=curves, notes=tuple(notes)
        ),
        measured=tuple(measured),
        statistics=tuple(statistics),
        deltas=tuple(
            bd_against(first, other, interpolation=interpolation) for other in compared[1:]
        ),
        reference_deltas=tuple(
            (curve.name, bd_against(_alone(curve), first, interpolation=interpolation))
            for curve in curves
            if len(curve.points) > 1 and not analysis.is_bound(curve)
        ),
        dataset=None if title is None else dataset_title(title),
        mark_dimensions=mark_dimensions,
    )


def _alone(curve: RateCurve) -> analysis.SweepRates:
    return analysis.SweepRates(sweep=curve.name, frontiers=(curve,))


def _agreements(
    sweep: Sweep,
    measured: MeasuredRates,
    rates: analysis.SweepRates,
    targets: Sequence[Target],
    announce: Callable[[str], None] | None,
) -> dict[tuple[str | None, int | None], float]:
    if rates.frontier is None or all(each.kind is not TargetKind.ACCURACY for each in targets):
        return {}
    points = rates.frontier.points
    return coded_agreements(sweep, measured, points, cache=cache_dir(), announce=announce)
