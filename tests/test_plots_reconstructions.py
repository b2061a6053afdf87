"""The picture of originals over reconstructions."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from ae_sweep.errors import ConfigError
from ae_sweep.plots.export import render
from ae_sweep.plots.reconstructions import reconstructions_figure
from ae_sweep.records import Reconstructions


def pictures(count, channels=1, side=4):
    shape = (count, channels, side, side)
    originals = np.arange(np.prod(shape)).astype(np.uint8)
    return Reconstructions(
        shape=shape, originals=originals.tobytes(), reconstructions=(255 - originals).tobytes()
    )


def test_originals_lie_over_their_reconstructions_in_one_image():
    figure = reconstructions_figure(pictures(3))
    (axes,) = figure.axes
    (image,) = axes.images
    tiles = image.get_array()
    originals = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert tiles.shape == (9, 14)
    assert np.array_equal(tiles[:4, 5:9], originals[1])
    assert np.array_equal(tiles[5:, 5:9], 255 - originals[1])
    assert (tiles[4] == 255).all()
    assert image.get_interpolation() == "nearest"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "reconstruction"]


def test_more_images_than_a_row_holds_begin_a_new_pair_of_rows():
    figure = reconstructions_figure(pictures(20))
    (axes,) = figure.axes
    assert axes.images[0].get_array().shape == (4 * 5 - 1, 10 * 5 - 1)
    assert len(axes.get_yticklabels()) == 4


def test_colour_images_keep_their_channels():
    (axes,) = reconstructions_figure(pictures(2, channels=3)).axes
    tiles = axes.images[0].get_array()
    assert tiles.shape == (9, 9, 3)
    assert tiles[0, 1].tolist() == [1, 17, 33]


def test_title_tells_mse_and_psnr_and_is_taken_literally():
    figure = reconstructions_figure(pictures(1), title="$x_{", test_mse=0.0129)
    (title,) = figure.texts
    assert title.get_text() == "$x_{ · test MSE 0.0129 · PSNR 18.89 dB"
    assert not title.get_parse_math()
    (perfect,) = reconstructions_figure(pictures(1), test_mse=0.0).texts
    assert perfect.get_text() == "test MSE 0 · perfect"
    (none,) = reconstructions_figure(pictures(1)).texts
    assert not none.get_text()


def test_the_whole_title_is_inside_the_picture():
    figure = reconstructions_figure(pictures(1), title="W" * 100, test_mse=0.01)
    png = render(figure, "png", dpi=100)
    right_edge = imread(io.BytesIO(png))[:, -3:, :3]
    assert (right_edge == 1).all()


def test_rendering_twice_gives_the_same_bytes():
    first = render(reconstructions_figure(pictures(16), title="d=8", test_mse=0.01), "png")
    again = render(reconstructions_figure(pictures(16), title="d=8", test_mse=0.01), "png")
    assert again == first


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 2, 4, 4), (1, 1, 0, 4)])
def test_what_is_no_image_is_refused_with_its_shape(shape):
    empty = Reconstructions(shape=shape, originals=b"", reconstructions=b"")
    with pytest.raises(ConfigError, match="must have the shape N×1×H×W or N×3×H×W"):
        reconstructions_figure(empty)


def test_bytes_that_do_not_fill_the_shape_are_refused():
    short = Reconstructions(shape=(1, 1, 4, 4), originals=b"\0" * 16, reconstructions=b"\0" * 15)
    with pytest.raises(ConfigError, match=r"\(1, 1, 4, 4\) are 16 bytes, got 15"):
        reconstructions_figure(short)
