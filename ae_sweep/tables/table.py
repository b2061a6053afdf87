"""A table of results: columns with a unit and a kind, rows of typed values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]
    """Values by the key of their column; one that is missing or None was not measured."""


class Share(NamedTuple):
    """A part of a whole, as counts."""

    part: int
    whole: int

    def __str__(self) -> str:
        return f"{self.part}/{self.whole}"


class Decibels(NamedTuple):
    """A PSNR, which a perfect reconstruction has none of."""

    psnr: float | None

    def __str__(self) -> str:
        return "perfect" if self.psnr is None else f"{self.psnr:.2f}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    key: str
    """Its values' key in the rows."""
    title: str
    kind: type[str] | type[int] | type[float] | type[Share] | type[Decibels] = float
    """Type of its values."""
    form: str = "{}"
    """Format of a value where it is printed."""
    unit: str = ""
    missing: str | None = None
    """What it means that there is no value, where that is known."""

    @property
    def is_numeric(self) -> bool:
        """Whether its values are numbers, which are aligned to the right."""
        return self.kind is not str

    @property
    def heading(self) -> str:
        """Its title and its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, row: Row, *, dash: str = "-") -> str:
        """Write its value of a row; a dash where there is none."""
        value = row.get(self.key)
        if value is None:
            return dash if self.missing is None else self.missing
        return self.form.format(value)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, made once for terminal, CSV and HTML."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    run_ids: tuple[str, ...] = ()
    """The run that each row is of, in MLflow; empty where rows are not of runs."""

    @property
    def titles(self) -> list[str]:
        """The titles of its columns."""
        return [column.title for column in self.columns]

    def without(self, *keys: str) -> Table:
        """Return the table without some of its columns."""
        return replace(
            self, columns=tuple(column for column in self.columns if column.key not in keys)
        )

    def texts(self, *, dash: str = "-") -> list[list[str]]:
        """Write every row, a text for each column."""
        return [[column.text(row, dash=dash) for column in self.columns] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Return every row as unrounded values by title, None for what was not measured."""
        return [{column.title: row.get(column.key) for column in self.columns} for row in self.rows]
