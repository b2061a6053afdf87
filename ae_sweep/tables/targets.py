"""Table of the smallest codes that are good enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ae_sweep.analysis.targets import GoodEnough
from ae_sweep.tables.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ae_sweep.analysis.curve_statistics import CurveStatistics
    from ae_sweep.analysis.targets import Axis, Target
    from ae_sweep.tables.table import Row

Interval = tuple[float, float]


def good_enough(statistics: Sequence[CurveStatistics]) -> Table:
    """Return the smallest codes that reach targets, one per row for each target and axis.

    Parameters
    ----------
    statistics
        Of a curve over latent dims, over bits, or both.
    """
    return Table(
        caption="The smallest codes that are good enough, from measured points and from the fit",
        columns=(
            Column(key="target", title="Target", kind=str),
            Column(key="measured", title="Measured", kind=str, missing="not reached"),
            Column(key="interval", title="95 % over seeds", kind=str),
            Column(key="below", title="Does not reach it", kind=str),
            Column(key="fitted", title="By the fit", kind=str),
            Column(key="fitted_interval", title="95 % of the fit", kind=str),
            Column(key="law", title="Law", kind=str),
        ),
        rows=tuple(row for each in statistics for row in _rows(each)),
    )


def _rows(statistics: CurveStatistics) -> Iterator[Row]:
    by_seed = dict(statistics.seed_rates)
    for found in statistics.targets:
        if not isinstance(found, GoodEnough):
            continue
        axis = found.axis
        interval = found.measured_interval
        yield {
            "target": found.target.text,
            "measured": _named(found.measured, axis),
            "interval": (
                _seeds(by_seed, found.target, axis) if interval is None else _ends(interval, axis)
            ),
            "below": _named(found.below, axis),
            "fitted": _named(found.fitted, axis),
            "fitted_interval": _ends(found.fitted_interval, axis),
            "law": None if found.law is None else str(found.law),
        }


def _seeds(
    by_seed: dict[Target, tuple[float | None, ...]], target: Target, axis: Axis
) -> str | None:
    """Write the range of a few seeds, which is not an interval of 95 %."""
    rates = [each for each in by_seed.get(target, ()) if each is not None]
    if not rates:
        return None
    return f"{axis.named(min(rates))} to {axis.named(max(rates))} (all {len(rates)} seeds)"


def _ends(interval: Interval | None, axis: Axis) -> str | None:
    if interval is None:
        return None
    low, high = interval
    if low == math.inf:
        return "more than measured"
    start = "less than measured" if math.isinf(low) else axis.named(low)
    return f"{start} to {'more than measured' if math.isinf(high) else axis.named(high)}"


def _named(value: float | None, axis: Axis) -> str | None:
    return None if value is None else axis.named(value)
