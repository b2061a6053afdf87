"""Rendering of figures: equal bytes for equal figures."""

from __future__ import annotations

import io

import matplotlib.figure

from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten
from ae_sweep.plots.style import paper_style

# None keeps matplotlib from writing a date, which differs from call to call.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook shows, whether or not pyplot was imported."""

    def _repr_png_(self) -> bytes:
        return render(self, "png")


def render(figure: matplotlib.figure.Figure, kind: str, *, dpi: float = 200.0) -> bytes:
    """Render a figure to the content of a file.

    Parameters
    ----------
    figure
        The figure; it does not change.
    kind
        ``png``, ``svg`` or ``pdf``: the file extension, in upper or lower case.
    dpi
        Dots per inch of a PNG, and of pictures inside the other two.

    Returns
    -------
    bytes
        Equal for equal figures on one version of matplotlib.

    Raises
    ------
    ConfigError
        For another kind, or a dpi that is not positive.
    """
    if kind.lower() not in _METADATA:
        raise ConfigError(
            f"a figure cannot be written as {shorten(kind)}; end the file's name in png, svg or pdf"
        )
    if not dpi > 0:
        raise ConfigError(f"dpi must be positive, got {dpi:g}")
    content = io.BytesIO()
    with paper_style():
        # The canvas follows from the format; no backend of the user is loaded.
        figure.savefig(content, format=kind.lower(), dpi=dpi, metadata=_METADATA[kind.lower()])
    return content.getvalue()
