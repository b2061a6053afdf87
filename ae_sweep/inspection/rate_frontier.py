"""The frontier in bits: sweeps whose models were coded, beside references on the same images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.config import dataset_title
from ae_sweep.inspection.rates import MeasuredRates, iter_measured_rates, measured_rates
from ae_sweep.inspection.references import ALL, references
from ae_sweep.inspection.result import Inspection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ae_sweep.analysis import RateComparison
    from ae_sweep.api import Sweep

PICTURE = "rates.png"
DOCUMENT = "rates.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class RateFrontier(Inspection):
    """Sweeps on one axis of bits, with references; the first sweep is the one it is logged to."""

    comparison: RateComparison
    measured: tuple[MeasuredRates, ...]
    """Of each sweep, to be logged to it."""
    dataset: str | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """What could not be coded or measured, and why."""
        return self.comparison.notes

    @functools.cached_property
    def figure(self) -> plots.Figure:
        """PSNR and MSE over bits per image."""
        names = [each.sweep for each in self.comparison.sweeps]
        return plots.rate_curves_figure(
            self.comparison, heading=" · ".join(filter(None, [", ".join(names), self.dataset]))
        )

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        return analysis.rates_document(self.comparison, dataset=self.dataset)

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
    return of_measured(sweeps, measured, which=which, announce=announce)


def stored_rate_frontier(sweep: Sweep) -> RateFrontier | None:
    """Return the frontier in bits without references; None if rates were not measured yet."""
    found = stored_rates(sweep)
    return None if found is None else of_measured([sweep], [found], which=())


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


def of_measured(
    sweeps: Sequence[Sweep],
    measured: Sequence[MeasuredRates],
    *,
    which: Sequence[str],
    announce: Callable[[str], None] | None = None,
) -> RateFrontier:
    """Put measured sweeps beside references.

    Parameters
    ----------
    sweeps, measured
        As many of the one as of the other.
    """
    notes = [line for each in measured for line in each.findings]
    compared = [analysis.sweep_rates(each.sweep, each.curves) for each in measured]
    curves: tuple[analysis.RateCurve, ...] = ()
    if which:
        found = references(sweeps[0], which, dims=(), announce=announce)
        curves, notes = found.curves, [*notes, *found.notes]
    title = sweeps[0].record.config.get("dataset")
    return RateFrontier(
        sweep=sweeps[0].name,
        comparison=analysis.RateComparison(
            sweeps=tuple(compared), references=curves, notes=tuple(notes)
        ),
        measured=tuple(measured),
        dataset=None if title is None else dataset_title(title),
    )
