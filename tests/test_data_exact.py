"""Images to be coded are taken as they are or refused, with the conversion that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from ae_sweep import data
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

GREY = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def read(*paths: Path, shape: tuple[int, int, int] = (1, 6, 4)) -> np.ndarray:
    return np.concatenate(list(data.exact_images(paths, shape)))


def saved(folder: Path, images: np.ndarray, **settings: Any) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path, **settings)
    return paths


def test_pictures_folders_and_arrays_are_read_in_order_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    paths = saved(tmp_path / "folder", GREY)
    np.save(tmp_path / "a.npy", GREY)
    np.savez(tmp_path / "b.npz", GREY[..., None])
    found = read(paths[3], tmp_path / "folder", tmp_path / "a.npy", tmp_path / "b.npz", paths[0])
    assert found.dtype == np.uint8
    expected = np.concatenate([GREY[3:4], GREY, GREY, GREY, GREY[:1]])[:, None]
    assert np.array_equal(found, expected)


def test_colour_is_read_channels_first_and_grey_pictures_fill_three_channels(
    tmp_path: Path,
) -> None:
    paths = saved(tmp_path, COLOUR)
    np.save(tmp_path / "c.npy", COLOUR)
    found = read(*paths, tmp_path / "c.npy", shape=(3, 6, 4))
    assert np.array_equal(found, np.concatenate([COLOUR] * 2).transpose(0, 3, 1, 2))
    (grey,) = saved(tmp_path, GREY[:1])
    assert np.array_equal(read(grey, shape=(3, 6, 4))[0], np.stack([GREY[0]] * 3))


def test_many_images_come_some_at_a_time(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.zeros((2_500, 6, 4), np.uint8))
    sizes = [len(each) for each in data.exact_images([tmp_path / "many.npy"], (1, 6, 4))]
    assert sizes == [1000, 1000, 500]


def alpha(pixels: np.ndarray) -> np.ndarray:
    opacity = np.full((*pixels.shape[:2], 1), 100, np.uint8)
    return np.concatenate([pixels, opacity], axis=2)


UNFIT = {
    "another size": (GREY[0].T, (1, 6, 4), "has 4×6 pixels"),
    "in colour": (COLOUR[0], (1, 6, 4), "is in colour"),
    "transparent": (alpha(COLOUR[0]), (3, 6, 4), "has transparent pixels"),
    "transparent, for grey": (alpha(COLOUR[0]), (1, 6, 4), "has transparent pixels"),
    "of 16 bits": (GREY[0].astype(np.uint16) * 257, (1, 6, 4), "has 16 bits per channel"),
    "of 16 bits, for colour": (GREY[0].astype(np.uint16) * 257, (3, 6, 4), "has 16 bits"),
}


@pytest.mark.parametrize(("pixels", "shape", "reason"), UNFIT.values(), ids=UNFIT)
def test_the_conversion_that_a_refusal_names_makes_the_picture_fit(
    tmp_path: Path, pixels: np.ndarray, shape: tuple[int, int, int], reason: str
) -> None:
    path = tmp_path / "it's a.png"
    Image.fromarray(pixels).save(path)
    with pytest.raises(DataError, match=reason) as refused:
        read(path, shape=shape)
    command = re.search(r"`(.*)`$", str(refused.value), re.DOTALL)
    assert command is not None
    words = shlex.split(command[1])
    assert words[0] == "python"
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    converted = read(tmp_path / "it's a-6x4.png", shape=shape)
    assert converted.shape == (1, *shape)
    if pixels.dtype == np.uint16:
        assert np.array_equal(converted[0, 0], GREY[0])


def test_the_first_frame_of_an_animation_is_what_the_conversion_takes(tmp_path: Path) -> None:
    frames = [Image.fromarray(each) for each in GREY[:2]]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="has several frames") as refused:
        read(tmp_path / "a.png")
    words = shlex.split(str(refused.value).split("`")[1])
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    assert np.array_equal(read(tmp_path / "a-6x4.png")[0, 0], GREY[0])


def test_floats_are_refused_with_the_command_that_makes_bytes(tmp_path: Path) -> None:
    for name, save in (("x.npy", np.save), ("y.npz", np.savez)):
        save(tmp_path / name, GREY / np.float32(255))
        with pytest.raises(ConfigError, match="holds floats") as refused:
            read(tmp_path / name)
        words = shlex.split(str(refused.value).split("`")[1])
        subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
        made = tmp_path / f"{name[0]}-bytes.npy"
        assert np.array_equal(read(made)[:, 0], GREY)


def test_an_array_of_another_shape_is_refused_with_both(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COLOUR)
    with pytest.raises(DataError, match=r"has images of 6×4×3 .* codes 6×4×1: .* N×6×4 uint8"):
        read(tmp_path / "x.npy")


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("no")
    (tmp_path / "b.png").write_bytes(b"no")
    for path, error, reason in (
        (tmp_path / "none.png", DataError, "does not exist"),
        (tmp_path / "none.npy", DataError, "does not exist"),
        (tmp_path / "none", DataError, "does not exist"),
        (tmp_path / "empty", DataError, "has no pictures"),
        (tmp_path / "a.txt", ConfigError, "is not a picture by its ending"),
        (tmp_path / "b.png", DataError, "is not a picture in a known format"),
    ):
        with pytest.raises(error, match=reason):
            read(path)


@pytest.mark.parametrize("pixels", [GREY[0][None], COLOUR[0].transpose(2, 0, 1)])
def test_a_written_picture_is_read_back(tmp_path: Path, pixels: np.ndarray) -> None:
    data.write_picture(tmp_path / "a.png", pixels)
    assert np.array_equal(read(tmp_path / "a.png", shape=pixels.shape)[0], pixels)
