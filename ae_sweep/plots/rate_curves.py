"""Figure of sweeps and references over bits per image: PSNR and MSE.

No lower bound is drawn: the rate-distortion function of images is unknown, and estimates of it from
n samples cannot exceed log2 n bits (docs/rate-distortion.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ae_sweep.analysis.distortion import psnr_db
from ae_sweep.analysis.rate_comparison import is_bound, is_lossless
from ae_sweep.plots.export import Figure
from ae_sweep.plots.frontier_axes import set_mse_range, set_psnr_range
from ae_sweep.plots.labels import Label, place_labels
from ae_sweep.plots.style import DARK_GREY, GREY, INK, paper_style, plain, series_style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from ae_sweep.analysis.quality_dimension import QualityDimension
    from ae_sweep.analysis.rate_comparison import RateComparison
    from ae_sweep.analysis.rate_curve import RateCurve, RatePoint

WIDTH_INCHES = 7.0
PANEL_INCHES = 3.0
LEGEND_ROW_INCHES = 0.16
LEGEND_COLUMNS = 3
LEAST_BITS = 1.0
"""Left end of the axis at most; fewer bits are marked at the edge."""
SIDE_MARGIN = 1.3
FEW_DECADES = 2.2
"""Of bits, up to which there are ticks between the powers of ten."""
RAW_LABEL_HEIGHTS = (0.5, 0.3, 0.7, 0.15, 0.85, 0.05, 0.95)
"""Shares of the panel's height."""
DASHED = (0, (4, 2))
QUALITY: dict[str, Any] = {
    "linestyle": "none", "marker": "D", "markersize": 3.0, "markerfacecolor": "white",
    "markeredgewidth": 0.8,
}  # fmt: skip
"""How the dimension at a quality is marked."""
MUTED = ("#9a8c78", "#7d9a8c", "#9a86a4", "#b08a8a", "#6f8fa6", "#8c8c8c", "#a3a15f", "#6b7f6b")
"""Of the references by family; sweeps have full colours."""
MUTED_MARKERS = ("d", "p", "h", "v", "8", ">", "H", "<")


def rate_curves_figure(
    comparison: RateComparison,
    *,
    heading: str,
    qualities: Sequence[QualityDimension] = (),
) -> Figure:
    """Draw every sweep's frontier in bits and the references, as PSNR and as MSE.

    Bits per image are below, bits per pixel above. The frontier of a sweep's first seed is a full
    line, those of further seeds are thin. References have muted colours, one for each family, with
    hollow markers for images that are coded singly. Bounds are dashed and not joined with anything.
    Lossless codes are marked at the edge where the distortion ends, codes of less than a bit at the
    left edge, the raw image by a dotted line. Labels lie on nothing that is drawn; those without
    room are left out, and all names are in the legend.

    Parameters
    ----------
    comparison
        Sweeps and references that were measured on the same images.
    heading
        Line above the figure.
    qualities
        The dimension at each quality of the first sweep's curve, marked on the panel of PSNR, whose
        slope it is; none if left out.

    Returns
    -------
    Figure
        7 inches wide, with two axes.
    """
    legend = [*_legend(comparison), *_quality_entry(qualities)]
    rows = -(-len(legend) // LEGEND_COLUMNS)
    with paper_style():
        figure = Figure(
            figsize=(WIDTH_INCHES, PANEL_INCHES + 0.3 + LEGEND_ROW_INCHES * rows),
            layout="constrained",
        )
        psnr_axes, mse_axes = figure.subplots(1, 2)
        for axes in (psnr_axes, mse_axes):
            _set_up_bits(axes, comparison)
        _set_up_distortion(psnr_axes, mse_axes, comparison)
        for axes, as_psnr in ((psnr_axes, True), (mse_axes, False)):
            _draw(axes, comparison, as_psnr=as_psnr)
        _mark_qualities(psnr_axes, qualities)
        figure.suptitle(
            "\n".join([plain(heading, limit=110), *_footnotes(comparison)]),
            x=0.01, ha="left", fontsize=7.0, color=DARK_GREY,
            parse_math=False,
        )  # fmt: skip
        figure.legend(handles=legend, loc="outside lower center", ncols=LEGEND_COLUMNS)
        # Lay out once: each further drawing would move the panels a little.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for axes, as_psnr in ((psnr_axes, True), (mse_axes, False)):
            labels = [
                _raw_label(axes, comparison),
                *(_quality_labels(qualities) if as_psnr else ()),
                *_dim_labels(comparison, as_psnr=as_psnr),
            ]
            place_labels(axes, labels, size=5.5)
        return figure


def _set_up_bits(axes: Axes, comparison: RateComparison) -> None:
    bits = [point.bits for curve in comparison.curves() for point in curve.points]
    drawn = [each for each in bits if each >= LEAST_BITS]
    _, height, width = comparison.image_shape
    axes.set_xscale("log")
    low = min(drawn, default=LEAST_BITS) / SIDE_MARGIN
    axes.set_xlim(low, max(*bits, comparison.raw_bits) * SIDE_MARGIN)
    high = axes.get_xlim()[1]
    subs = (1.0,) if math.log10(high / low) > FEW_DECADES else (1.0, 2.0, 5.0)
    _label_ticks(axes.xaxis, subs)
    axes.set_xlabel("rate $R$ (bits per image)")
    pixels = height * width
    above = axes.secondary_xaxis(
        "top",
        functions=(
            lambda bits: np.asarray(bits, dtype=float) / pixels,
            lambda bpp: np.asarray(bpp, dtype=float) * pixels,
        ),
    )
    _label_ticks(above.xaxis, subs)
    above.set_xlabel("bits per pixel")
    axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.5)


def _label_ticks(axis: Axis, subs: Sequence[float]) -> None:
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _set_up_distortion(psnr_axes: Axes, mse_axes: Axes, comparison: RateComparison) -> None:
    mses = [point.mse for curve in comparison.curves() for point in curve.points if point.mse > 0]
    mse_axes.set_yscale("log")
    set_mse_range(mse_axes, mses)
    set_psnr_range(psnr_axes, [psnr for mse in mses if (psnr := psnr_db(mse)) is not None])
    noun = "pixel" if comparison.image_shape[0] == 1 else "number"
    mse_axes.set_ylabel(f"test MSE per {noun}, 8-bit images")
    psnr_axes.set_ylabel("test PSNR of the mean MSE (dB)")


def _draw(axes: Axes, comparison: RateComparison, *, as_psnr: bool) -> None:
    axes.axvline(comparison.raw_bits, color=GREY, linewidth=0.8, linestyle=":", zorder=1, gid="raw")
    for curve, style in _styles(comparison):
        if is_lossless(curve):
            _mark_lossless(axes, curve, style, as_psnr=as_psnr)
            continue
        drawn = [point for point in curve.points if point.mse > 0 and point.bits >= LEAST_BITS]
        axes.plot(
            [point.bits for point in drawn],
            [_height(point, as_psnr=as_psnr) for point in drawn],
            **style,
        )
        _mark_low(axes, curve, style, as_psnr=as_psnr)


def _mark_lossless(axes: Axes, curve: RateCurve, style: dict[str, Any], *, as_psnr: bool) -> None:
    axes.plot(
        [point.bits for point in curve.points],
        [1.0 if as_psnr else 0.0] * len(curve.points),
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        **style | {"linestyle": "none", "gid": "lossless", "zorder": 6},
    )


def _mark_low(axes: Axes, curve: RateCurve, style: dict[str, Any], *, as_psnr: bool) -> None:
    """Mark points of less than a bit at the left edge, where they have their height."""
    low = [point for point in curve.points if point.bits < LEAST_BITS and point.mse > 0]
    if low:
        axes.plot(
            [0.0] * len(low),
            [_height(point, as_psnr=as_psnr) for point in low],
            transform=axes.get_yaxis_transform(),
            clip_on=False,
            **style | {"linestyle": "none", "gid": "low", "zorder": 6},
        )


def _height(point: RatePoint, *, as_psnr: bool) -> float:
    return (psnr_db(point.mse) or 0.0) if as_psnr else point.mse


def _styles(comparison: RateComparison) -> Iterator[tuple[RateCurve, dict[str, Any]]]:
    """Yield every curve with the arguments of its line."""
    families = list(dict.fromkeys(_family(curve) for curve in comparison.references))
    for curve in comparison.references:
        place = families.index(_family(curve))
        colour = MUTED[place % len(MUTED)]
        yield (
            curve,
            {
                "color": colour,
                "linewidth": 0.8,
                "linestyle": DASHED if is_bound(curve) else "-",
                "marker": "" if is_bound(curve) else MUTED_MARKERS[place % len(MUTED_MARKERS)],
                "markersize": 3.2,
                "markerfacecolor": "white" if "singl" in curve.name else colour,
                "markeredgewidth": 0.7,
                "zorder": 2,
                "gid": "bound" if is_bound(curve) else "reference",
            },
        )
    for place, each in enumerate(comparison.sweeps):
        colour, marker = series_style(place)
        for curve in each.frontiers:
            is_first = curve is each.frontier
            yield (
                curve,
                {
                    "color": colour,
                    "linewidth": 1.2 if is_first else 0.5,
                    "marker": marker if is_first else "",
                    "markersize": 3.4,
                    "alpha": 1.0 if is_first else 0.6,
                    "zorder": 4 if is_first else 3,
                    "gid": "frontier" if is_first else "seed",
                },
            )
        for curve in each.bounds:
            yield (
                curve,
                {
                    "color": colour,
                    "linewidth": 0.9,
                    "linestyle": DASHED,
                    "marker": marker,
                    "markersize": 2.8,
                    "markerfacecolor": "white",
                    "zorder": 3,
                    "gid": "bound",
                },
            )


def _is_joined(curve: RateCurve) -> bool:
    """Return whether there is a line between its points; marks at an edge have none."""
    return sum(point.mse > 0 and point.bits >= LEAST_BITS for point in curve.points) > 1


def _footnotes(comparison: RateComparison) -> list[str]:
    """Say what bounds among the references are of."""
    return [
        plain(f"{curve.name}: {curve.description}", limit=130)
        for curve in comparison.references
        if is_bound(curve)
    ]


def _family(curve: RateCurve) -> str:
    """Return the name before its first comma: ``WebP`` of ``WebP, mosaic``."""
    return curve.name.partition(",")[0]


def _legend(comparison: RateComparison) -> list[Line2D]:
    """Name every curve once; further seeds of a sweep share the name of the first."""
    entries: list[Line2D] = []
    for curve, style in _styles(comparison):
        if style["gid"] == "seed":
            continue
        kind = {"bound": " (bound)", "estimated": " (estimated)"}.get(str(curve.kind), "")
        shown = {key: value for key, value in style.items() if key not in {"zorder", "gid"}}
        if not _is_joined(curve):
            shown["linestyle"] = "none"
        label = plain(f"{curve.name}{kind}", limit=44)
        entries.append(Line2D([], [], label=label, **shown))
    # Sweeps first: they are drawn last, above the references.
    models = len(entries) - len(comparison.references)
    return [*entries[len(entries) - models :], *entries[: len(entries) - models]]


def _mark_qualities(axes: Axes, qualities: Sequence[QualityDimension]) -> None:
    axes.plot(
        [at.bits for at in qualities],
        [at.psnr for at in qualities],
        color=INK,
        gid="quality",
        zorder=5,
        **QUALITY,
    )


def _quality_entry(qualities: Sequence[QualityDimension]) -> list[Line2D]:
    if not qualities:
        return []
    return [Line2D([], [], color=INK, label="m = 6.02 · dR/dPSNR, a dimension", **QUALITY)]


def _quality_labels(qualities: Sequence[QualityDimension]) -> Iterator[Label]:
    for at in qualities:
        yield Label(f"m={at.dimension:.3g}", [(at.bits, at.psnr)], INK)


def _raw_label(axes: Axes, comparison: RateComparison) -> Label:
    """Name the raw image at its line, at a height where there is room."""
    to_data = axes.transAxes + axes.transData.inverted()
    heights = [to_data.transform((0.0, share))[1] for share in RAW_LABEL_HEIGHTS]
    places = [(comparison.raw_bits, height) for height in heights]
    return Label(f"raw image: {comparison.raw_bits:,} bits", places, DARK_GREY)


def _dim_labels(comparison: RateComparison, *, as_psnr: bool) -> Iterator[Label]:
    """Yield the latent dim of a frontier's points where it changes."""
    for number, each in enumerate(comparison.sweeps):
        colour, _ = series_style(number)
        before: int | None = None
        for point in each.frontier.points if each.frontier else ():
            if point.mse > 0 and point.bits >= LEAST_BITS and point.latent_dim != before:
                place = point.bits, _height(point, as_psnr=as_psnr)
                yield Label(f"d={point.latent_dim}", [place], colour)
                before = point.latent_dim
