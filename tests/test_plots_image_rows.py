"""Rows of images under each other."""

from __future__ import annotations

import numpy as np
import pytest

from ae_sweep.errors import ConfigError
from ae_sweep.plots import ImageRow, image_rows_figure


def row(label: str, count: int = 3, *, channels: int = 1, value: int = 0) -> ImageRow:
    return ImageRow(label, np.full((count, channels, 4, 5), value, np.uint8))


def test_rows_lie_under_each_other_with_a_gap_and_their_labels() -> None:
    (axes,) = image_rows_figure([row("above", value=10), row("below", 2, value=20)]).axes
    pixels = np.asarray(axes.get_images()[0].get_array())
    assert pixels.shape == (9, 17)
    assert (pixels[0, 0], pixels[4, 0], pixels[5, 0]) == (10, 255, 20)
    assert pixels[5, 12] == 255, "a shorter row ends in paper"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["above", "below"]


def test_without_a_gap_images_touch() -> None:
    (axes,) = image_rows_figure([row("")] * 2, gap=0).axes
    assert np.asarray(axes.get_images()[0].get_array()).shape == (8, 15)


def test_a_long_label_is_inside_the_picture() -> None:
    figure = image_rows_figure([row("d=1024, MSE 0.00075 WWWWWWW")])
    figure.canvas.draw()
    assert figure.axes[0].get_yticklabels()[0].get_window_extent().x0 >= 0


def test_labels_are_taken_literally() -> None:
    image_rows_figure([row("$\\frac{")]).canvas.draw()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ConfigError, match="no images to draw"):
        image_rows_figure([])
    with pytest.raises(ConfigError, match="N×1×H×W"):
        image_rows_figure([row("two channels", channels=2)])
