"""The figure over bits: what it shows, and where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from rated_records import frontier_of, rated_trial, vae

from ae_sweep.config import with_symbols
from ae_sweep.errors import ConfigError
from ae_sweep.plots import frontier_figure, point_positions, render
from ae_sweep.plots.style import BLUE, GREEN

VAE = [vae(8, 0.1, 27.0, 0.017, 8), vae(8, 1, 9.0, 0.031, 8), vae(8, 10, 0.0, 0.068, 0)]
TOKENS = [
    rated_trial(dim, "fsq codebook=16", {"bits": 4.0 * dim, "mse": 0.1 / dim}) for dim in (2, 8, 32)
]


def lines(axes, gid: str) -> list:
    return [each for each in axes.lines if each.get_gid() == gid]


def test_points_lie_at_their_bits_and_the_error_that_these_carry() -> None:
    figure = frontier_figure(frontier_of(VAE))
    mse_axes, psnr_axes = figure.axes
    (points,) = lines(mse_axes, "points")
    assert sorted(zip(*points.get_data(), strict=True)) == [(0, 0.068), (9, 0.031), (27, 0.017)]
    (efficient,) = lines(psnr_axes, "efficient")
    assert list(efficient.get_xdata()) == [0, 9, 27]
    np.testing.assert_allclose(efficient.get_ydata(), -10 * np.log10([0.068, 0.031, 0.017]))
    assert mse_axes.get_ylabel() == "test MSE per pixel at that rate"
    assert {text.get_text() for text in mse_axes.texts} >= {"d=8 β=0.1", "d=8 β=10"}
    render(figure, "png")


def test_settings_have_their_symbols_in_figures() -> None:
    trials = [
        rated_trial(4 * price, f"ntc lmbda={price}", {"bits": 40 * price, "mse": 0.1 / price})
        for price in (1, 2)
    ]
    figure = frontier_figure(frontier_of(trials))
    assert {text.get_text() for text in figure.axes[0].texts} == {"d=4 λ=1", "d=8 λ=2"}
    over_dims = frontier_figure(frontier_of(trials), over_dims=True)
    assert {text.get_text() for text in over_dims.legends[0].get_texts()} >= {"ntc λ=1", "ntc λ=2"}
    assert with_symbols("vqvae codebook=16 other=1") == "vqvae K=16 other=1"
    assert with_symbols("beta") == "beta", "a name, not a setting"


def test_a_collapsed_posterior_has_a_place_on_the_axis() -> None:
    frontier = frontier_of(VAE)
    figure = frontier_figure(frontier)
    places = point_positions(figure, frontier)
    assert len(places) == 2 * len(VAE)
    assert all(0 < place.left < 1 and 0 < place.top < 1 for place in places)


def test_repeats_have_bars_of_both_rate_and_distortion() -> None:
    again = [vae(8, 1, 9.0 + seed, 0.03 + 0.001 * seed, 8, seed=seed) for seed in (0, 1, 2)]
    (mse_axes, _) = frontier_figure(frontier_of(again)).axes
    (bars,) = mse_axes.containers
    assert isinstance(bars, ErrorbarContainer)
    assert bars.has_xerr
    assert bars.has_yerr
    (mse_axes, _) = frontier_figure(frontier_of(again[:1])).axes
    (bars,) = mse_axes.containers
    assert all(len(each.get_segments()) == 0 for each in bars[2])


def test_two_sweeps_over_bits_are_told_apart() -> None:
    figure = frontier_figure(frontier_of(VAE), beside=[frontier_of(TOKENS)])
    colours = {to_hex(each.get_color()) for each in lines(figure.axes[0], "efficient")}
    assert colours == {BLUE.lower(), GREEN.lower()}
    assert len(figure.legends[0].get_texts()) == 4


def test_a_curve_over_bits_has_no_place_beside_one_without() -> None:
    plain = frontier_of([rated_trial(8, "conv", {})])
    with pytest.raises(ConfigError, match="bits"):
        frontier_figure(frontier_of(VAE), beside=[plain])
