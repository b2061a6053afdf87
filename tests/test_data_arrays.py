"""Arrays of images are read as streams, and never by what they claim about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from array_files import all_images, archive, npy_header, saved, write
from picture_files import noise

from ae_sweep.config import ImageOptions
from ae_sweep.data.arrays import open_arrays, open_memory
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PLAIN = ImageOptions()
SCALED = ImageOptions(scale=True)
IMAGES = noise(50, 6, 5, 3)
LABELS = np.arange(50) % 7


@pytest.mark.parametrize("images", [1, 7, 50, 1000])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_an_npy_file_is_one_part_without_labels(
    tmp_path: Path, channels: int | None, images: int
) -> None:
    array = noise(50, 6, 5) if channels is None else noise(50, 6, 5, channels)
    (part,) = open_arrays(saved(tmp_path, array), PLAIN)
    assert (part.part, part.count, part.labels_N, part.notes) == (None, 50, None, ())
    assert part.image_shape == (6, 5, channels or 1)
    np.testing.assert_array_equal(all_images(part, images), array.reshape(50, 6, 5, -1))
    # And once more: nothing is used up.
    np.testing.assert_array_equal(all_images(part, images), array.reshape(50, 6, 5, -1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_of_one_array_is_one_part(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", anything=IMAGES)
    (part,) = open_arrays(tmp_path / "a.npz", PLAIN)
    assert part.part is None
    np.testing.assert_array_equal(all_images(part), IMAGES)


@pytest.mark.parametrize(
    ("images", "labels"), [("{}_images", "{}_labels"), ("x_{}", "y_{}")], ids=["MedMNIST", "Keras"]
)
@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("parts", [("train", "val", "test"), ("train", "test"), ("train",)])
def test_both_forms_of_keys_are_parts_with_labels(
    tmp_path: Path, images: str, labels: str, parts: tuple[str, ...], column: bool
) -> None:
    arrays = {}
    for number, part in enumerate(parts):
        arrays[images.format(part)] = IMAGES[: 50 - number]
        given = LABELS[: 50 - number].astype(np.uint8)
        arrays[labels.format(part)] = given[:, None] if column else given
    found = open_arrays(archive(tmp_path, **arrays), PLAIN)
    assert tuple(part.part for part in found) == parts
    for number, opened in enumerate(found):
        assert opened.notes == ()
        np.testing.assert_array_equal(all_images(opened, 13), IMAGES[: 50 - number])
        np.testing.assert_array_equal(opened.labels_N, LABELS[: 50 - number])
        assert opened.labels_N.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros((50, 14), np.uint8), "train_labels has the shape 50×14, not one label for each"),
        (np.zeros(49, np.uint8), "train_labels has the shape 49, not one label for each of 50"),
        (np.zeros(50), "train_labels holds float64, not integers"),
        (np.array(["cat"] * 50), "train_labels holds <U3, not integers"),
        (None, "train_images has none"),
    ],
)
def test_labels_that_are_not_classes_are_left_out_and_said(
    tmp_path: Path, labels: Any, reason: str
) -> None:
    given = {} if labels is None else {"train_labels": labels}
    file = archive(tmp_path, train_images=IMAGES, test_images=IMAGES, test_labels=LABELS, **given)
    train, test = open_arrays(file, PLAIN)
    assert train.labels_N is None
    assert test.labels_N is None
    (note,) = train.notes + test.notes
    assert "the labels are left out" in note
    assert reason in note


def test_arrays_of_other_names_beside_known_ones_are_said(tmp_path: Path) -> None:
    file = archive(tmp_path, x_train=IMAGES, names=np.zeros(3))
    (part,) = open_arrays(file, PLAIN)
    assert part.notes == (f"{file} holds 'names', which is left out",)


@pytest.mark.parametrize(
    "keys", [("a", "b"), ("x_test", "y_test"), ("x_train", "train_images"), ("images", "labels")]
)
def test_other_keys_are_refused_by_name(tmp_path: Path, keys: tuple[str, ...]) -> None:
    file = archive(tmp_path, **dict.fromkeys(keys, IMAGES))
    with pytest.raises(DataError) as error:
        open_arrays(file, PLAIN)
    assert f"holds the arrays {keys[0]!r}, {keys[1]!r}; expected one array, or" in str(error.value)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_floats_are_scaled_when_asked(tmp_path: Path, dtype: str) -> None:
    levels = np.arange(256).reshape(4, 8, 8)
    array = (levels / 255).astype(dtype)
    file = saved(tmp_path, array)
    with pytest.raises(ConfigError, match=r"give --scale .* if they are from 0 to 1"):
        open_arrays(file, PLAIN)
    (part,) = open_arrays(file, SCALED)
    np.testing.assert_array_equal(all_images(part)[..., 0], levels)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5, 255.0])
def test_floats_out_of_range_are_refused_with_the_value(tmp_path: Path, wrong: float) -> None:
    array = np.zeros((50, 6, 5))
    array[43, 2, 1] = wrong
    (part,) = open_arrays(saved(tmp_path, array), SCALED)
    with pytest.raises(DataError, match=rf"has the value {wrong} in image 43, counted from 0"):
        all_images(part, 10)


def test_booleans_are_black_and_white(tmp_path: Path) -> None:
    array = noise(5, 4, 4) > 100
    (part,) = open_arrays(saved(tmp_path, array), PLAIN)
    np.testing.assert_array_equal(all_images(part)[..., 0], array * 255)


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("uint16", "save (array / 257).round().astype('uint8')"),
        (">u2", "save (array / 257).round().astype('uint8')"),
        ("int64", "if they are from 0 to 255, save array.astype('uint8')"),
        ("int8", "if they are from 0 to 255, save array.astype('uint8')"),
        ("complex64", "save them as uint8"),
        ("U3", "save them as uint8"),
        ("M8[s]", "save them as uint8"),
    ],
)
def test_other_numbers_are_refused_with_their_conversion(
    tmp_path: Path, dtype: str, advice: str
) -> None:
    file = saved(tmp_path, np.zeros((3, 4, 4), dtype))
    with pytest.raises(DataError) as error:
        open_arrays(file, SCALED)
    assert str(file) in str(error.value)
    assert advice in str(error.value)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((5,), "has the shape 5, expected N×H×W"),
        ((), "has the shape of a single value, expected"),
        ((5, 784), "has the shape 5×784, expected"),
        ((5, 3, 32, 32), "expected N×H×W or N×H×W×C with 1 to 4 channels; save array.transpose("),
        ((5, 8, 8, 5), "expected N×H×W or N×H×W×C with 1 to 4 channels"),
        ((1, 2, 3, 4, 3), "has the shape 1×2×3×4×3"),
        ((0, 4, 4), "has the shape 0×4×4, which holds no pixels"),
        ((4, 0, 4), "which holds no pixels"),
        (
            (1, 20_000, 20_000),
            "has images of 20,000×20,000 uint8, more than 134,217,728 bytes",
        ),
    ],
)
def test_an_array_of_another_shape_is_refused(
    tmp_path: Path, shape: tuple[int, ...], reason: str
) -> None:
    file = write(tmp_path, npy_header(shape))
    with file.open("r+b") as opened:
        opened.truncate(len(npy_header(shape)) + int(np.prod(shape)))
    with pytest.raises(DataError) as error:
        open_arrays(file, PLAIN)
    assert reason in str(error.value)


def test_fortran_order_is_refused_with_the_conversion(tmp_path: Path) -> None:
    file = saved(tmp_path, np.asfortranarray(IMAGES))
    with pytest.raises(DataError, match=r"Fortran's order.*numpy\.ascontiguousarray\(array\)"):
        open_arrays(file, PLAIN)


def test_large_images_come_few_at_a_time(tmp_path: Path) -> None:
    array = np.zeros((5, 2000, 3000), np.uint8)
    (part,) = open_arrays(saved(tmp_path, array), PLAIN)
    assert [len(chunk) for chunk in part.chunks()] == [2, 2, 1]


@pytest.mark.parametrize(
    "array", [noise(9, 4, 5), noise(9, 8, 5, 3), np.asfortranarray(noise(9, 8, 5, 3)), IMAGES[::-2]]
)
def test_an_array_in_memory_is_one_part(array: NDArray[Any]) -> None:
    labels = np.arange(len(array), dtype=np.int32)
    (part,) = open_memory(array, PLAIN, labels)
    assert (part.part, part.count) == (None, len(array))
    np.testing.assert_array_equal(all_images(part, 4), array.reshape(*array.shape[:3], -1))
    np.testing.assert_array_equal(part.labels_N, labels)
    assert open_memory(array, PLAIN)[0].labels_N is None


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_are_turned_where_nothing_else_is_possible(channels: int) -> None:
    array_NCHW = noise(9, channels, 8, 5)
    (part,) = open_memory(array_NCHW, PLAIN)
    assert part.image_shape == (8, 5, channels)
    np.testing.assert_array_equal(all_images(part), array_NCHW.transpose(0, 2, 3, 1))


def test_an_array_of_ambiguous_axes_is_refused() -> None:
    with pytest.raises(DataError, match="may be N×C×H×W or N×H×W×C; give"):
        open_memory(noise(9, 3, 8, 3), PLAIN)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.arange(8), "has the shape 8, not one label for each of 50"),
        (np.zeros(50), "holds float64, not integers"),
        (np.zeros((50, 2), int), "has the shape 50×2"),
    ],
)
def test_labels_in_memory_are_one_integer_per_image(labels: NDArray[Any], reason: str) -> None:
    with pytest.raises(DataError) as error:
        open_memory(IMAGES, PLAIN, labels)
    assert reason in str(error.value)


def test_floats_in_memory_are_scaled_when_asked() -> None:
    array = np.array([[[0, 0.5, 1]]])
    with pytest.raises(ConfigError, match="the array holds float64 numbers"):
        open_memory(array, PLAIN)
    (part,) = open_memory(array, SCALED)
    np.testing.assert_array_equal(all_images(part)[0, 0, :, 0], [0, 128, 255])
