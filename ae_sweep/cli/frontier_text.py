"""What is found in a frontier, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ae_sweep import analysis

if TYPE_CHECKING:
    from ae_sweep.analysis import Frontier


def comparison(frontier: Frontier, other: Frontier) -> list[str]:
    """Write the test MSE of each point as a share of the other's at the same dim and setting.

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
