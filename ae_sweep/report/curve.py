"""The curve in a report: its picture with values, and the tables of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import analysis, plots, tables
from ae_sweep.inspection import Drawing, curve_statistics
from ae_sweep.records import RATE_BITS, RATE_MSE
from ae_sweep.report.page import Dot, Section, make_picture, make_table
from ae_sweep.report.words import psnr, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep
    from ae_sweep.report.page import Table

NEAR = 0.012
"""Share of a picture's side within which two points cannot be pointed at apart."""


def frontier_section(opened: Sweep, link: Callable[[str], str]) -> Section:
    """Draw the curve, with the values of its points and what was measured of their codes."""
    frontier = opened.frontier
    figure = plots.frontier_figure(frontier)
    if frontier.has_rate:
        axis = "bits per image"
        values = [
            f"{point.condition}: {analysis.mse_at_rate(point):.5f} at {point.rate[RATE_BITS]:.1f}"
            for point in frontier.points
        ]
    else:
        axis = "latent dimension"
        values = [f"{point.condition}: {point.test_mse:.5f}" for point in frontier.points]
    codes = tables.codes(frontier.points)
    picture = make_picture(
        figure,
        kind="svg",
        alternative=f"Test MSE and PSNR over {axis}: {'; '.join(values)}",
        caption="Point at a point, or reach it with the Tab key, for its values.",
        dots=_dots(plots.point_positions(figure, frontier), number_word=frontier.number_word),
    )
    return Section(
        name="frontier",
        title="Rate and distortion",
        text=[_axis_in_words(opened)],
        pictures=[picture],
        findings=_laws_in_words(opened),
        tables=[] if codes is None else [make_table(codes, link=link)],
        found=[Drawing(sweep=opened.name, file="frontier.png", figure=figure)],
    )


def _laws_in_words(opened: Sweep) -> list[str]:
    """Say which law is chosen and how sure the knee is, where the points are enough for that."""
    found = curve_statistics(opened)
    if isinstance(found, analysis.NotApplicable):
        return []
    known = [
        None if isinstance(found.law, analysis.NotApplicable) else found.findings[0],
        None if isinstance(found.knee, analysis.NotApplicable) else found.findings[1],
    ]
    return [sentence(line) for line in known if line is not None]


def _dots(places: Iterable[plots.PointPosition], *, number_word: str = "pixels") -> list[Dot]:
    """Make a dot of each place; points on top of each other share one."""
    together: list[list[plots.PointPosition]] = []
    for place in places:
        near = (group for group in together if _is_near(group[0], place))
        group = next(near, None)
        if group is None:
            together.append([place])
        else:
            group.append(place)
    return [
        Dot(
            left=group[0].left,
            top=group[0].top,
            text=" · ".join(_values(place.point, number_word) for place in group),
        )
        for group in together
    ]


def _is_near(one: plots.PointPosition, other: plots.PointPosition) -> bool:
    return abs(one.left - other.left) < NEAR and abs(one.top - other.top) < NEAR


def _values(point: FrontierPoint, number_word: str) -> str:
    rate = (
        f"{point.rate[RATE_BITS]:.1f} bits, MSE {point.rate[RATE_MSE]:.5f} at that rate, "
        if point.has_rate
        else ""
    )
    return (
        f"{point.condition}: {rate}test MSE {point.test_mse:.5f}{psnr(point)}, "
        f"{point.compression_ratio:.4g} {number_word} per latent, {point.hyperparameters}"
    )


def _axis_in_words(opened: Sweep) -> str:
    frontier = opened.frontier
    if not frontier.has_rate:
        return (
            "The horizontal axis counts numbers of the code, each a float32; it is not a bit rate. "
            "Every point is the best of its condition by validation error."
        )
    text = "The rate is what the code of an image takes, in bits; the error is of what it says."
    measured = {key for point in frontier.points for key in point.rate}
    if "active_latents" in measured:
        text += (
            " The bits are the divergence of a code from the prior, and the error is of images "
            "rebuilt from drawn codes: the two bound the rate-distortion function from above."
        )
    if "silent_latents" in measured:
        text += (
            " The bits are an estimate: the code length of rounded latents under the model's "
            "learned prior, before any coder; the error is of images rebuilt from rounded latents."
        )
    if "entropy_bits" in measured:
        text += (
            " The bits are those of indices of a fixed length; an entropy coder would need the "
            "entropy given below."
        )
    return text


def points_table(opened: Sweep, link: Callable[[str], str]) -> Table:
    """List the points of the curve, one per row."""
    return make_table(tables.points(opened.frontier), link=link)
