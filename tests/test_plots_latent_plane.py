"""Images as points in the plane of their latents."""

from __future__ import annotations

import numpy as np

from ae_sweep.plots import latent_plane_figure, render

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 50)


def test_every_class_is_a_cloud_with_its_name_at_the_median() -> None:
    xy = RNG.normal(size=(150, 2)) + 10 * LABELS[:, None]
    figure = latent_plane_figure(xy, LABELS, axes_names=["z1", "z2"], title="$d=2{")
    (axes,) = figure.axes
    assert [len(cloud.get_offsets()) for cloud in axes.collections] == [50, 50, 50]
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    for label, text in enumerate(axes.texts):
        np.testing.assert_allclose(text.get_position(), np.median(xy[label == LABELS], axis=0))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z2")
    assert render(figure, "png") == render(figure, "png")


def test_one_latent_is_drawn_in_a_row_for_each_class() -> None:
    figure = latent_plane_figure(RNG.normal(size=(150, 1)), LABELS, axes_names=["z1"])
    (axes,) = figure.axes
    assert axes.get_ylabel() == "class"
    assert {float(y) for cloud in axes.collections for y in cloud.get_offsets()[:, 1]} == {0, 1, 2}


def test_outliers_and_equal_points_leave_a_picture() -> None:
    xy = np.zeros((150, 2))
    figure = latent_plane_figure(xy, LABELS, axes_names=["z1", "z2"])
    render(figure, "png")
    assert figure.axes[0].get_xlim() == (-1.0, 1.0)


def test_more_classes_than_colours_are_all_drawn() -> None:
    labels = np.arange(30)
    figure = latent_plane_figure(RNG.normal(size=(30, 2)), labels, axes_names=["z1", "z2"])
    assert len(figure.axes[0].collections) == 30
