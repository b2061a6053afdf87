"""Images as points in the plane of their latents."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.text import Annotation

from ae_sweep.plots import latent_plane_figure, render

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 50)


def test_every_image_is_a_point_of_its_classs_colour_and_its_name_is_at_the_median() -> None:
    xy = RNG.normal(size=(150, 2)) + 10 * LABELS[:, None]
    figure = latent_plane_figure(xy, LABELS, axes_names=["z1", "z2"], title="$d=2{")
    (axes,) = figure.axes
    (cloud,) = axes.collections
    order = np.argsort(cloud.get_offsets()[:, 0])
    np.testing.assert_array_equal(cloud.get_offsets()[order], xy[np.argsort(xy[:, 0])])
    colours = [tuple(colour) for colour in cloud.get_facecolor()[order]]
    assert [len(set(colours[first : first + 50])) for first in (0, 50, 100)] == [1, 1, 1]
    assert len(set(colours)) == 3
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2"]
    for label, text in enumerate(axes.texts):
        assert isinstance(text, Annotation)
        np.testing.assert_allclose(text.xy, np.median(xy[label == LABELS], axis=0))
        assert text.get_position() == (0, 0)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z2")
    assert render(figure, "png") == render(figure, "png")


def test_no_class_is_drawn_over_another_and_no_name_over_a_name() -> None:
    labels = np.repeat(np.arange(4), 100)
    figure = latent_plane_figure(
        RNG.normal(size=(400, 2)), labels, axes_names=["z1", "z2"], title="all in one place"
    )
    (axes,) = figure.axes
    colours = axes.collections[0].get_facecolor()
    first, last = colours[:100], colours[-100:]
    assert len(np.unique(first, axis=0)) == len(np.unique(last, axis=0)) == 4
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


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


def test_of_many_classes_the_largest_have_colours_and_names_and_the_others_are_grey() -> None:
    labels = np.concatenate([np.arange(30), np.arange(10, 30)])
    names = [f"class {number}" for number in range(30)]
    figure = latent_plane_figure(
        RNG.normal(size=(50, 2)), labels, axes_names=["z1", "z2"], class_names=names
    )
    (axes,) = figure.axes
    (cloud,) = axes.collections
    assert len(cloud.get_offsets()) == 50
    assert [text.get_text() for text in axes.texts] == names[10:]
    (legend,) = figure.legends
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries == [*names[10:], "10 others"]
    greys = (np.ptp(cloud.get_facecolor()[:, :3], axis=1) == 0).sum()
    assert greys >= 10, "an image of each small class"


def test_images_without_classes_are_one_cloud_without_a_legend() -> None:
    for width in (1, 2):
        figure = latent_plane_figure(RNG.normal(size=(50, width)), axes_names=["z1", "z2"][:width])
        (axes,) = figure.axes
        assert len(np.unique(axes.collections[0].get_facecolor(), axis=0)) == 1
        assert (figure.legends, list(axes.texts)) == ([], [])
        render(figure, "png")


def test_names_of_classes_are_taken_literally_and_shortened() -> None:
    names = ["$\\frac{", "a\nb", "c" * 90]
    figure = latent_plane_figure(
        RNG.normal(size=(150, 2)), LABELS, axes_names=["z1", "z2"], class_names=names
    )
    render(figure, "png")
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown[:2] == ["$\\frac{", "a\\nb"]
    assert len(shown[2]) <= 24
