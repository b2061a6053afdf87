"""Split and identity of own images: pixels and classes decide, never names, order or times."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from own_sources import as_set, images, load, parts, prepare, write_pictures

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_one_twelfth_is_for_testing_and_one_twelfth_of_the_rest_for_validation(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "all.npy", images(12_000))
    card = load(tmp_path / "all.npy", tmp_path / "cache").card
    assert card.test_images == pytest.approx(1000, abs=120)
    assert card.val_images == pytest.approx(11_000 / 12, abs=120)
    assert card.train_images + card.val_images + card.test_images == 12_000


def test_added_images_move_no_other(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", images())
    before = parts(load(tmp_path / "set", tmp_path / "cache"))
    write_pictures(tmp_path / "set" / "more", images(100, seed=1))
    after = parts(load(tmp_path / "set", tmp_path / "cache"))
    assert all(old <= new for old, new in zip(before, after, strict=True))
    assert sum(map(len, after)) == 400


def test_touching_and_renaming_every_file_leaves_the_digest(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "set", images())
    before = load(tmp_path / "set", tmp_path / "cache").card.digest
    for number, path in enumerate(paths):
        os.utime(path, (number, number))
        path.rename(path.with_name(f"renamed{300 - number}.PNG"))
    (tmp_path / "set").rename(tmp_path / "moved")
    assert load(tmp_path / "moved", tmp_path / "cache").card.digest == before


def test_one_changed_pixel_changes_the_digest(tmp_path: Path) -> None:
    x_NHW = images()
    write_pictures(tmp_path / "set", x_NHW)
    before = load(tmp_path / "set", tmp_path / "cache").card.digest
    x_NHW[17, 2, 3] ^= 1
    write_pictures(tmp_path / "set", x_NHW)
    assert load(tmp_path / "set", tmp_path / "cache").card.digest != before


def test_equal_images_are_in_one_part_and_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", images())
    write_pictures(tmp_path / "set", images()[:40], prefix="again")
    said: list[str] = []
    facts = prepare(tmp_path / "set", tmp_path / "cache", said).facts
    assert (facts.duplicates, facts.leaks) == (40, 0)
    assert "40 images equal to another one of the same part" in said


def test_equal_images_across_a_given_split_are_counted_as_leaks(tmp_path: Path) -> None:
    x_NHW = images()
    write_pictures(tmp_path / "set" / "train", x_NHW[:200])
    write_pictures(tmp_path / "set" / "val", x_NHW[195:250])
    write_pictures(tmp_path / "set" / "test", x_NHW[[0, *range(250, 300)]])
    loaded = load(tmp_path / "set", tmp_path / "cache")
    assert loaded.card.leaks == 6
    write_pictures(tmp_path / "set" / "test", x_NHW[[198, 240, 241]], prefix="again")
    assert load(tmp_path / "set", tmp_path / "cache").card.leaks == 9
    assert parts(loaded)[2] == as_set(x_NHW[[0, *range(250, 300)]])


@pytest.mark.parametrize(("given", "made"), [("test", "val"), ("val", "test")])
def test_a_part_that_is_not_given_is_made_from_the_training_images(
    given: str, made: str, tmp_path: Path
) -> None:
    x_NHW = images(600)
    write_pictures(tmp_path / "set" / "train", x_NHW[:500])
    write_pictures(tmp_path / "set" / given, x_NHW[500:])
    loaded = load(tmp_path / "set", tmp_path / "cache")
    found = dict(zip(("train", "val", "test"), parts(loaded), strict=True))
    assert found[given] == as_set(x_NHW[500:])
    assert found["train"] | found[made] == as_set(x_NHW[:500])
    assert 20 < len(found[made]) < 70


def test_a_limit_takes_the_first_training_images_and_changes_the_digest(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", images())
    whole = load(tmp_path / "all.npy", tmp_path / "cache")
    limited = load(tmp_path / "all.npy", tmp_path / "cache", train_limit=50)
    np.testing.assert_array_equal(limited.train_NCHW, whole.train_NCHW[:50])
    np.testing.assert_array_equal(limited.val_NCHW, whole.val_NCHW)
    assert limited.card.train_images == 50
    assert limited.card.digest != whole.card.digest
    most = whole.card.train_images
    again = load(tmp_path / "all.npy", tmp_path / "cache", train_limit=most)
    assert again.card.digest == whole.card.digest
    with pytest.raises(ConfigError, match=f"give at most {most}"):
        load(tmp_path / "all.npy", tmp_path / "cache", train_limit=most + 1)


def test_too_few_images_are_refused_with_the_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", images(23))
    with pytest.raises(ConfigError, match=r"has 23 images .*; at least 24 are needed"):
        load(tmp_path / "few.npy", tmp_path / "cache")
    write_pictures(tmp_path / "set" / "train", [images(1)[0]] * 40)
    with pytest.raises(ConfigError, match=r"leaves no images for .*\((40|0) for train"):
        load(tmp_path / "set", tmp_path / "cache")


def test_different_sizes_are_refused_with_the_commonest(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", images(50))
    write_pictures(tmp_path / "set", images(10, side=6), prefix="large")
    write_pictures(tmp_path / "set", images(5, side=5), prefix="odd")
    with pytest.raises(
        ConfigError, match=r"3 sizes: .* 4×4, and 15 of 65 differ; .* --image-size 4"
    ):
        load(tmp_path / "set", tmp_path / "cache")
    said: list[str] = []
    prepared = prepare(tmp_path / "set", tmp_path / "cache", said, image_size=(4, 4))
    assert prepared.facts.image_shape == (1, 4, 4)
    assert prepared.facts.sizes == (("4×4", 50), ("6×6", 10), ("5×5", 5))
    assert "15 images resized" in said


def test_transparent_pixels_are_refused_with_the_number_of_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", images(50, channels=3))
    write_pictures(tmp_path / "set", images(7, channels=4), prefix="see-through")
    with pytest.raises(ConfigError, match="transparent pixels in 7 of 57; give --background"):
        load(tmp_path / "set", tmp_path / "cache")
    white = load(tmp_path / "set", tmp_path / "cache", background="white")
    black = load(tmp_path / "set", tmp_path / "cache", background="#000000")
    assert white.card.digest != black.card.digest


def test_arrays_and_pictures_with_alpha_are_composited_alike(tmp_path: Path) -> None:
    x_NHWC = images(100, channels=4)
    np.save(tmp_path / "all.npy", x_NHWC)
    write_pictures(tmp_path / "set", x_NHWC)
    digests = {
        load(tmp_path / name, tmp_path / "cache", background="#ff8000", image_size=size).card.digest
        for name in ("all.npy", "set")
        for size in (None,)
    }
    assert len(digests) == 1
