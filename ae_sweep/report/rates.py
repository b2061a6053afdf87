"""The rate in bits in a report, where it was measured before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import inspection, tables
from ae_sweep.analysis import CurveKind
from ae_sweep.errors import AeSweepError
from ae_sweep.report.page import Section, make_picture, make_table
from ae_sweep.report.words import sentence

if TYPE_CHECKING:
    from ae_sweep.api import Sweep
    from ae_sweep.inspection import RateFrontier

CODED = "The bits are those of a stream from which all test images were decoded again."
ESTIMATED = (
    "The bits are estimates, code lengths by the entropy model's tables: constriction was not "
    "installed, so no coder ran."
)
TEXT = "The error is of images rounded to bytes. Operating points were chosen on validation images."
NO_LOWER_BOUND = (
    "No lower bound is drawn: the rate-distortion function of images is unknown, and what is "
    "estimated from n samples cannot exceed log2 n bits."
)


def measured_before(opened: Sweep) -> RateFrontier | None:
    """Return the frontier in bits if it was measured; None if it was not or cannot be read."""
    try:
        return inspection.stored_rate_frontier(opened)
    except AeSweepError:
        return None


def rates_section(found: RateFrontier) -> Section:
    """Draw PSNR and MSE over bits per image, and list the operating points."""
    values = [
        f"{point.bits:.0f} bits {point.psnr:.1f} dB"
        for each in found.comparison.sweeps
        for curve in each.frontiers[:1]
        for point in curve.points
        if point.psnr is not None
    ]
    frontiers = [curve for each in found.comparison.sweeps for curve in each.frontiers]
    estimated = any(curve.kind is CurveKind.ESTIMATED for curve in frontiers)
    return Section(
        name="rates",
        title="Rate in bits",
        text=[f"{ESTIMATED if estimated else CODED} {TEXT}", NO_LOWER_BOUND],
        findings=[*map(sentence, found.findings)],
        pictures=[
            make_picture(
                found.figure,
                kind="svg",
                alternative=f"Test PSNR and MSE over bits per image: {'; '.join(values)}",
                caption="Bits per image below, bits per pixel above.",
            )
        ],
        tables=[
            make_table(tables.quality_at_rates(found.comparison)),
            make_table(tables.rate_points(found.comparison), folded=True),
        ],
        found=[found],
    )
