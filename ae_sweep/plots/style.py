"""The figures' style, independent of the user's matplotlibrc, and foreign text made printable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# Okabe & Ito, "Color Universal Design" (2008): distinguishable by colour-blind readers. Line styles
# and markers distinguish the same in greyscale.
BLUE = "#0072B2"
GREEN = "#009E73"
VERMILLION = "#D55E00"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
INK = "#1a1a1a"
DARK_GREY = "#595959"
GREY = "#8c8c8c"

SERIES_COLOURS = (BLUE, GREEN, PURPLE, ORANGE, SKY, INK)
"""Of the sweeps of one figure, in order; vermillion is for fits."""
SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Seven to six colours, so that a pair recurs only after 42 sweeps."""

LATIN_END = "\u0250"
"""The first character after the Latin letters, all of which the figure's font has."""

_PAPER = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "text.color": INK,
    "figure.constrained_layout.w_pad": 0.07,  # inches
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: what journals ask for, and text stays text
    "svg.fonttype": "path",  # a reader's machine need not have the font
    "svg.hashsalt": "ae-sweep",  # ids of an SVG are random without one
}


_NOT_OF_A_FIGURE = frozenset({"backend", "backend_fallback", "interactive", "toolbar"})
"""Setting them would choose a backend for the user's own figures."""


def paper_style() -> AbstractContextManager[None]:
    """Set matplotlib's defaults and the paper's style for the length of a ``with`` block.

    Without `matplotlib.style`, which reads the user's style files while it is imported.
    """
    settings: dict[Any, Any] = {
        key: value for key, value in mpl.rcParamsDefault.items() if key not in _NOT_OF_A_FIGURE
    }
    return mpl.rc_context(settings | _PAPER)


def series_style(place: int) -> tuple[str, str]:
    """Return the colour and the marker of a sweep by its place in the figure, from 0."""
    return (
        SERIES_COLOURS[place % len(SERIES_COLOURS)],
        SERIES_MARKERS[place % len(SERIES_MARKERS)],
    )


def plain(text: str, *, limit: int = 60) -> str:
    """Return a printable form of a text from outside, on one line, in at most ``limit`` characters.

    Other characters are escaped, because the figure's font may lack their glyphs. A long text is
    shortened in its middle: related names differ at their ends.
    """
    escaped = "".join(
        sign if sign.isprintable() and sign < LATIN_END else sign.encode("unicode_escape").decode()
        for sign in text
    )
    if len(escaped) <= limit:
        return escaped
    kept = limit - 3
    return f"{escaped[: kept - kept // 2]}...{escaped[-(kept // 2) :]}"
