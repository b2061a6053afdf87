"""Own images given in Python: arrays, lists, data sets of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from own_sources import images, load
from PIL import ExifTags, Image, ImageCms
from torch.utils.data import TensorDataset

from ae_sweep import data
from ae_sweep.config import ImageOptions
from ae_sweep.data.decode import convert_array, read_picture
from ae_sweep.data.own.cache import MAKING
from ae_sweep.data.own.memory import read_item
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

X_NHWC = images(120, side=6, channels=3)
LABELS_N = np.arange(120) % 3


class Photos:
    """A data set in the style of torchvision."""

    classes = ("ant", "bee", "wasp")

    def __len__(self) -> int:
        return len(X_NHWC)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(X_NHWC[index]), int(LABELS_N[index])


def _store(source: Any, cache: Path, labels: Any = None, **options: Any) -> Path:
    return data.from_memory(source, labels=labels, cache_dir=cache, options=ImageOptions(**options))


def test_all_ways_to_give_the_same_images_are_one_data_set(tmp_path: Path) -> None:
    tensors_NCHW = torch.from_numpy(X_NHWC.transpose(0, 3, 1, 2).copy())
    floats_NCHW = tensors_NCHW.float() / 255
    stored = [
        _store(X_NHWC, tmp_path, LABELS_N),
        _store(list(X_NHWC), tmp_path, LABELS_N),
        _store(tensors_NCHW, tmp_path, torch.from_numpy(LABELS_N)),
        _store(TensorDataset(tensors_NCHW, torch.from_numpy(LABELS_N)), tmp_path),
        _store(TensorDataset(floats_NCHW, torch.from_numpy(LABELS_N)), tmp_path),
        _store(Photos(), tmp_path),
        _store(list(zip(X_NHWC, LABELS_N, strict=True)), tmp_path),
    ]
    loaded = [load(path, tmp_path) for path in stored]
    assert len({each.card.digest for each in loaded}) == 1
    assert loaded[0].class_names == ("0", "1", "2")
    assert loaded[5].class_names == Photos.classes
    assert stored[0] == stored[1] == stored[3]
    assert not list(tmp_path.glob(f"images/{MAKING}*"))


def test_labels_that_some_items_lack_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    items = [(x, None if number == 7 else 1) for number, x in enumerate(X_NHWC)]
    said: list[str] = []
    path = data.from_memory(items, cache_dir=tmp_path, options=ImageOptions(), announce=said.append)
    assert load(path, tmp_path).train_labels_N is None
    assert "no classes: item 7 has no label, and 119 of 120 have one" in said


def test_images_alone_have_no_classes(tmp_path: Path) -> None:
    loaded = load(_store([Image.fromarray(x) for x in X_NHWC], tmp_path), tmp_path)
    assert loaded.train_labels_N is None
    assert loaded.card.digest == load(_store(X_NHWC, tmp_path), tmp_path).card.digest


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBA", "LA", "I;16"])
def test_pillow_images_of_every_mode_are_read_as_from_a_file(mode: str, tmp_path: Path) -> None:
    pictures = []
    for x in X_NHWC:
        if mode == "I;16":
            pictures.append(Image.fromarray(x[..., 0].astype(np.uint16) * 257))
        else:
            pictures.append(Image.fromarray(x).convert(mode))
    assert pictures[0].mode == mode
    ending = "tif" if mode == "CMYK" else "png"
    (tmp_path / "set").mkdir()
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / "set" / f"{number}.{ending}")
    assert (
        load(_store(pictures, tmp_path, background="white"), tmp_path).card.digest
        == load(tmp_path / "set", tmp_path, background="white").card.digest
    )


def test_every_mode_of_pillow_gives_the_pixels_of_its_file(tmp_path: Path) -> None:
    palette = Image.fromarray(X_NHWC[0]).convert("P")
    key = Image.fromarray(X_NHWC[0])
    key.info["transparency"] = tuple(int(value) for value in X_NHWC[0, 0, 0])
    turned = Image.fromarray(X_NHWC[0, :3])
    turned.getexif()[ExifTags.Base.Orientation] = 6
    deep = Image.fromarray((X_NHWC[0, ..., 0].astype(np.uint16) * 257) ^ 99)
    integers = Image.fromarray(X_NHWC[0, ..., 0].astype(np.int32) * 257)
    lab = Image.frombytes("LAB", (6, 6), X_NHWC[0].tobytes())
    for number, (image, ending, options) in enumerate(
        (
            (palette, "png", {"transparency": bytes(range(0, 256, 3))}),
            (key, "png", {"transparency": key.info["transparency"]}),
            (turned, "png", {"exif": turned.getexif()}),
            (deep, "png", {}),
            (integers, "tif", {}),
            (lab, "tif", {}),
        )
    ):
        path = tmp_path / f"{number}.{ending}"
        image.save(path, **options)
        with Image.open(path) as opened:
            opened.load()
            image.info |= {name: value for name, value in options.items() if name == "transparency"}
            _check_same(opened, path)
        _check_same(image, path)


def test_the_embedded_profile_of_cmyk_counts_as_in_a_file() -> None:
    cmyk = Image.fromarray(X_NHWC[0]).convert("CMYK")
    of_rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    cmyk.info["icc_profile"] = of_rgb.tobytes()
    with pytest.raises(DataError, match=r"item 3 has a colour profile that does not fit its CMYK"):
        read_item([None, None, None, cmyk], 3, ImageOptions())


def _check_same(image: Image.Image, path: Path) -> None:
    options = ImageOptions(background="white")
    pixels_HWC, _ = read_item([image], 0, options)
    expected = read_picture(path, options)
    np.testing.assert_array_equal(
        convert_array(pixels_HWC, options).pixels_HWC, expected.pixels_HWC, err_msg=image.mode
    )


def test_images_are_resized_if_asked(tmp_path: Path) -> None:
    assert load(_store(X_NHWC, tmp_path, image_size=(8, 6)), tmp_path).card.image_shape == (3, 8, 6)


def _mixed_pictures() -> list[Image.Image]:
    """Grey, colour, palette and transparent pictures, in runs of one and of several."""
    pictures = [Image.fromarray(x) for x in X_NHWC]
    modes = [None, None, "L", "P", "LA", "RGBA", "RGBA"]
    for number, picture in enumerate(pictures):
        mode = modes[number % len(modes)]
        if mode is not None:
            pictures[number] = picture.convert(mode)
        if mode in {"LA", "RGBA"}:
            pictures[number].putalpha(number)
    return pictures


def test_a_list_of_opaque_and_transparent_pictures_is_the_folder_of_them(tmp_path: Path) -> None:
    pictures = _mixed_pictures()
    with pytest.raises(ConfigError, match=r"transparent pixels in 51 of 120; give --background"):
        _store(pictures, tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
    listed = load(_store(pictures, tmp_path, background="#ff8000"), tmp_path)
    assert listed.card.image_shape == (3, 6, 6)
    assert listed.card.digest == load(folder, tmp_path, background="#ff8000").card.digest


def test_pictures_of_several_sizes_are_resized_as_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = [
        Image.fromarray(x[: 4 + number % 3, : 5 + number % 2]) for number, x in enumerate(X_NHWC)
    ]
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
    listed = load(_store(pictures, tmp_path, image_size=(8, 8)), tmp_path)
    assert listed.card.digest == load(folder, tmp_path, image_size=(8, 8)).card.digest


def test_large_items_after_small_ones_wait_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_sweep.data.own.memory.CHUNK_BYTES", 2 * 6 * 6 * 3)
    chunks: list[int] = []
    stacked = np.stack
    monkeypatch.setattr(np, "stack", lambda rows: chunks.append(len(rows)) or stacked(rows))
    whole = load(_store(list(X_NHWC), tmp_path), tmp_path)
    assert set(chunks) == {2}
    assert whole.card.digest == load(_store(X_NHWC, tmp_path), tmp_path).card.digest


def test_forget_removes_stored_images(tmp_path: Path) -> None:
    path = _store(X_NHWC, tmp_path)
    assert data.forget(path, tmp_path) == 1
    with pytest.raises(DataError, match="give the images themselves again"):
        load(path, tmp_path)


@pytest.mark.parametrize(
    ("source", "labels", "error", "reason"),
    [
        (3, None, ConfigError, "neither an array, a path nor a sequence"),
        ({1, 2}, None, ConfigError, "neither an array, a path nor a sequence"),
        ((x for x in X_NHWC), None, ConfigError, "make a list of it"),
        ([], None, ConfigError, "no images"),
        (["a"] * 30, None, DataError, "item 0 is of the type str"),
        ({"images": X_NHWC}, None, DataError, "'dict' has no item 0, though its length is 1"),
        (
            (X_NHWC, LABELS_N),
            None,
            DataError,
            r"the shape 120.*; of images and labels, give list\(zip\(images, labels\)\)",
        ),
        ([*X_NHWC, X_NHWC[0, :3]], None, ConfigError, "have 2 sizes: .* 6×6, and 1 of 121 differ"),
        ([np.zeros((5, 5, 5), np.uint8)] * 30, None, DataError, "has the shape 5×5×5"),
        ([(x, 0.5) for x in X_NHWC], None, DataError, "has the label '0.5'"),
        (X_NHWC, LABELS_N[:-1], DataError, "labels"),
        (list(X_NHWC), LABELS_N[:-1], DataError, "one label for each of 120"),
        ([torch.randn(3, 4, 4)] * 30, None, DataError, "leave out the normalisation"),
        ([torch.full((3, 4, 4), torch.nan)] * 30, None, DataError, "must be from 0 to 1"),
        ([torch.full((3, 4, 4), 0.501)] * 30, None, ConfigError, "scale=True"),
        ([x / 255 for x in X_NHWC], None, ConfigError, "scale=True"),
        (X_NHWC / 255, None, ConfigError, "--scale"),
        ([x.astype(np.int64) for x in X_NHWC], None, DataError, "images are uint8"),
        ([Image.new("F", (4, 4))] * 30, None, DataError, "item 0 has floating-point numbers"),
        (list(X_NHWC[:20]), None, ConfigError, "at least 24"),
    ],
)
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_what_cannot_be_a_data_set_is_refused(
    source: Any, labels: Any, error: type[Exception], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        _store(source, tmp_path, labels)
    assert list((tmp_path / "images").iterdir()) == []


def test_floats_are_scaled_if_asked(tmp_path: Path) -> None:
    expected = load(_store(X_NHWC, tmp_path), tmp_path).card.digest
    for source in (X_NHWC / 255, [x / 255 for x in X_NHWC]):
        assert load(_store(source, tmp_path, scale=True), tmp_path).card.digest == expected
