"""Rows of images under each other."""

from __future__ import annotations

from itertools import pairwise

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


def inches(count: int, shape: tuple[int, int, int], *, rows: int = 2, gap: int = 1) -> tuple:
    row_ = ImageRow("row", np.zeros((count, *shape), np.uint8))
    figure = image_rows_figure([row_] * rows, gap=gap)
    figure.canvas.draw()
    box = figure.axes[0].get_position()
    width, height = figure.get_size_inches()
    return width * box.width, height * box.height


def test_colour_images_keep_their_colours() -> None:
    red = np.zeros((2, 3, 4, 4), np.uint8)
    red[:, 0] = 200
    (axes,) = image_rows_figure([ImageRow("red", red)]).axes
    pixels = np.asarray(axes.get_images()[0].get_array())
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 4].tolist() == [255, 255, 255], "paper"


def test_large_images_are_drawn_larger_as_far_as_a_page_has_room() -> None:
    mnist, large = inches(10, (1, 28, 28)), inches(10, (3, 128, 128))
    assert mnist[0] == pytest.approx(4.2, rel=0.01)
    assert 8 < large[0] < 9.5
    assert inches(1, (1, 28, 28), rows=1)[0] == pytest.approx(28 / 29 * 0.42)
    assert inches(15, (3, 128, 128), rows=15, gap=0)[0] == pytest.approx(9.0)
    assert inches(40, (3, 128, 128), rows=40, gap=0)[0] == pytest.approx(40 * 0.42)


def test_images_that_are_not_square_keep_their_shape_and_tiny_ones_are_enlarged() -> None:
    width, height = inches(1, (3, 32, 48), rows=1)
    assert width / height == pytest.approx(1.5)
    tiny = inches(4, (1, 8, 8), rows=1)
    assert tiny[1] == pytest.approx(8 / 9 * 0.42)


@pytest.mark.parametrize("shape", [(1, 5, 5000), (3, 5000, 5), (1, 1, 1)])
def test_the_labels_of_thin_images_do_not_overlap(shape: tuple[int, int, int]) -> None:
    rows = [ImageRow(f"row {number}", np.zeros((3, *shape), np.uint8)) for number in range(4)]
    figure = image_rows_figure(rows, title="thin")
    figure.canvas.draw()
    assert max(figure.get_size_inches()) < 11
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
