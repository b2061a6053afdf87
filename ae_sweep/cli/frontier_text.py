"""Owns how a frontier is shown: as a table, and in words."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis
from ae_sweep.cli.console import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ae_sweep.analysis import Frontier


def comparison(frontier: Frontier, other: Frontier) -> list[str]:
    """Tell the test MSE of each point as a share of the other's at the same dim and setting.

    Where the other has one point at that dim, it is compared whatever its setting.
    """
    same = {str(point.condition): point for point in other.points}
    at_dim = Counter(point.latent_dim for point in other.points)
    only = {point.latent_dim: point for point in other.points if at_dim[point.latent_dim] == 1}
    shares = [
        f"{point.test_mse / twin.test_mse - 1:+.1%} at {point.condition}"
        for point in frontier.points
        if (twin := same.get(str(point.condition), only.get(point.latent_dim))) and twin.test_mse
    ]
    if not shares:
        return [f"{other.sweep} has none of these latent dims and settings: nothing is compared"]
    return [f"test MSE against {other.sweep}: {', '.join(shares)}"]


def print_frontier(frontier: Frontier) -> None:
    """Print one row a point."""
    rows = analysis.table_rows(frontier)
    print_table(list(rows[0]), [_cells(row) for row in rows])


FORMS: Mapping[str, Callable[[Any], str]] = {
    "Compression": "{:.4g}×".format,
    "Bits": "{:.1f}".format,
    "MSE at bits": "{:.5f}".format,
    "Test MSE": "{:.5f}".format,
    "PSNR (dB)": lambda psnr: "perfect" if math.isnan(psnr) else f"{psnr:.2f}",
    "best lr": "{:.2e}".format,
}
"""How a column's values are written; any other's as a plain number."""


def _cells(row: dict[Any, Any]) -> list[str]:
    return [FORMS.get(column, "{:g}".format)(value) for column, value in row.items()]


def findings(frontier: Frontier) -> list[str]:
    """Write what was fitted and found, or why not, one line each."""
    return [_fit(frontier), _knee(frontier), *frontier.notes, *analysis.code_use(frontier.points)]


def _fit(frontier: Frontier) -> str:
    fit = frontier.fit
    if fit is None:
        return f"fit: none; {frontier.fit_refusal}"
    return (
        f"fit: test MSE = {fit.floor:.3g} + {fit.scale:.3g} · d^-{fit.exponent:.3g} "
        f"(exponent ± {fit.exponent_se:.2g}), R² = {fit.r_squared_log:.4f} in log MSE, "
        f"on d = {', '.join(map(str, fit.dims))}"
    )


def _knee(frontier: Frontier) -> str:
    if frontier.knee is None:
        return f"knee: none; {frontier.knee_refusal}"
    return f"knee: d = {frontier.knee.latent_dim}; {frontier.knee.advice}"
