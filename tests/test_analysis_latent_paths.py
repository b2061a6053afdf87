"""Straight paths between latents, and grids over their plane."""

from __future__ import annotations

import numpy as np

from ae_sweep import analysis

RNG = np.random.default_rng(0)


def test_a_line_holds_both_ends_and_equal_steps_between() -> None:
    path = analysis.line(np.array([0.0, 4.0]), np.array([2.0, 0.0]), steps=5)
    assert path.dtype == np.float32
    assert path.tolist() == [[0, 4], [0.5, 3], [1, 2], [1.5, 1], [2, 0]]


def test_a_line_between_images_has_their_shape() -> None:
    assert analysis.line(np.zeros((1, 2, 3)), np.ones((1, 2, 3)), steps=4).shape == (4, 1, 2, 3)


def test_two_latents_are_the_plane_themselves_at_even_quantiles() -> None:
    z = RNG.exponential(size=(5_000, 2))
    grid = analysis.grid(z, side=3)
    assert (grid.z_RCD.shape, grid.axes) == ((3, 3, 2), ("z1", "z2"))
    wanted = np.quantile(z, [0.02, 0.5, 0.98], axis=0)
    np.testing.assert_allclose(grid.z_RCD[0, :, 0], wanted[:, 0], rtol=1e-6)
    # As on a plot, the second axis points upwards.
    np.testing.assert_allclose(grid.z_RCD[:, 0, 1], wanted[::-1, 1], rtol=1e-6)


def test_one_latent_gives_one_row() -> None:
    grid = analysis.grid(np.linspace(0, 1, 101)[:, None], side=3)
    np.testing.assert_allclose(grid.z_RCD, [[[0.02], [0.5], [0.98]]])
    assert grid.axes == ("z1",)


def test_many_latents_are_cut_along_their_two_widest_directions() -> None:
    spread = np.array([0.1, 5.0, 0.1, 2.0])
    z = 7 + RNG.normal(size=(2_000, 4)) * spread
    grid = analysis.grid(z, side=5)
    assert (grid.z_RCD.shape, grid.axes) == ((5, 5, 4), ("PC1", "PC2"))
    across, down = abs(np.ptp(grid.z_RCD[0], axis=0)), abs(np.ptp(grid.z_RCD[:, 0], axis=0))
    assert (np.argmax(across), np.argmax(down)) == (1, 3)
    np.testing.assert_allclose(grid.z_RCD[2, 2], z.mean(axis=0), atol=0.3)
