"""The page of a report: one HTML file from its sections.

Whatever comes from a store is escaped by Jinja2; pictures are data, so that the page needs no
network.
"""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from ae_sweep import plots
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep import tables
    from ae_sweep.errors import AeSweepError
    from ae_sweep.inspection import Inspection

MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
PICTURE_DPI = 160.0


@dataclass(frozen=True)
class Cell:
    """A cell of a table; with an address it is a link."""

    text: str
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of a row is its heading."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    """Whether it is closed until the reader opens it."""
    numeric: bool = True
    """Whether its cells hold numbers, which stand to the right."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A point of a picture whose values are shown where it is pointed at or focussed."""

    left: float
    """Share of the picture's width, from the left."""
    top: float
    """Share of the picture's height, from the top."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with a text for those who cannot see it."""

    source: str
    """A data URI."""
    alternative: str
    caption: str
    width: int
    """In CSS pixels, at most."""
    height: int
    dots: Sequence[Dot] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report."""

    name: str
    """Its anchor."""
    title: str
    text: Sequence[str] = ()
    """Paragraphs."""
    findings: Sequence[str] = ()
    """A list."""
    code: str | None = None
    """A command, to be copied."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    found: Sequence[Inspection] = ()
    """What the section shows and can be logged."""
    error: AeSweepError | None = None
    """Why the section could not be made."""


def make_table(
    table: tables.Table, *, link: Callable[[str], str] | None = None, folded: bool = False
) -> Table:
    """Put a table into the page.

    Parameters
    ----------
    link
        Returns the address of a run, to which the first cell of its row leads.
    folded
        Whether the table is closed until the reader opens it.
    """
    addresses = [None if link is None else link(run_id) for run_id in table.run_ids]
    return Table(
        caption=table.caption,
        columns=[column.heading for column in table.columns],
        rows=[
            [Cell(visible(first), address), *(Cell(visible(text)) for text in others)]
            for (first, *others), address in itertools.zip_longest(table.texts(dash="–"), addresses)
        ],
        folded=folded,
        numeric=any(column.is_numeric for column in table.columns),
    )


def make_picture(
    figure: plots.Figure,
    *,
    alternative: str,
    caption: str,
    kind: str = "png",
    dots: Sequence[Dot] = (),
) -> Picture:
    """Put a figure into the page."""
    content = plots.render(figure, kind, dpi=PICTURE_DPI)
    width, height = figure.get_size_inches() * 110
    encoded = base64.b64encode(content).decode("ascii")
    return Picture(
        source=f"data:{MEDIA_TYPES[kind]};base64,{encoded}",
        alternative=alternative,
        caption=caption,
        width=round(width),
        height=round(height),
        dots=dots,
    )


def render_page(*, title: str, subtitle: str, sections: Sequence[Section], version: str) -> str:
    """Return the HTML of a report."""
    environment = Environment(
        loader=PackageLoader("ae_sweep.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.jinja")
    return template.render(title=title, subtitle=subtitle, sections=sections, version=version)
