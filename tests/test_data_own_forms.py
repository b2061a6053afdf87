"""Forms of own images: folders, arrays, IDX files; the same pixels and split are one data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from data_fakes import Brings, arrays, files, gz_files, tiny_set, write
from fakes import sweep_config
from own_sources import as_set, images, load, parts, prepare, write_idx, write_pictures
from PIL import Image

from ae_sweep import data
from ae_sweep.config import ImageOptions
from ae_sweep.data.dataset import load_image_set
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 300
PART_N = np.arange(COUNT) % 12
MASKS = {"train": PART_N > 1, "val": PART_N == 1, "test": PART_N == 0}
LABELS_N = np.arange(COUNT) % 7 % 3


def _split_folder(folder: Path, val: str = "val") -> Path:
    x_NHW = images(COUNT)
    for part, mask in MASKS.items():
        for label in range(3):
            name = val if part == "val" else part
            write_pictures(
                folder / name / f"class{label}", x_NHW[mask & (label == LABELS_N)], prefix=part
            )
    return folder


def _split_npz(path: Path, images_key: str, labels_key: str) -> Path:
    x_NHW = images(COUNT)
    np.savez(
        path,
        **{images_key.format(part): x_NHW[mask] for part, mask in MASKS.items()},
        **{labels_key.format(part): LABELS_N[mask] for part, mask in MASKS.items()},
    )
    return path


def test_the_same_split_as_folder_and_both_kinds_of_npz_is_one_data_set(tmp_path: Path) -> None:
    loaded = [
        load(path, tmp_path / "cache")
        for path in (
            _split_folder(tmp_path / "folder"),
            _split_folder(tmp_path / "other", val="validation"),
            _split_npz(tmp_path / "med.npz", "{}_images", "{}_labels"),
            _split_npz(tmp_path / "keras.npz", "x_{}", "y_{}"),
        )
    ]
    assert len({each.card.digest for each in loaded}) == 1
    assert {each.card.val_images for each in loaded} == {25}
    assert loaded[0].class_names == ("class0", "class1", "class2")
    assert loaded[2].class_names == ("0", "1", "2")
    for each in loaded:
        np.testing.assert_array_equal(each.train_NCHW, loaded[0].train_NCHW)
        np.testing.assert_array_equal(each.test_labels_N, loaded[0].test_labels_N)


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    x_NHW = images(COUNT)
    loaded = load(_split_folder(tmp_path / "folder", val="valid"), tmp_path / "cache")
    assert parts(loaded) == [as_set(x_NHW[mask]) for mask in MASKS.values()]
    labels = {image.tobytes(): label for image, label in zip(x_NHW, LABELS_N, strict=True)}
    assert loaded.train_labels_N is not None
    assert [
        labels[image.tobytes()] for image in loaded.train_NCHW
    ] == loaded.train_labels_N.tolist()


def test_images_without_split_are_one_data_set_as_npy_npz_and_flat_folder(tmp_path: Path) -> None:
    x_NHW = images(COUNT)
    np.save(tmp_path / "all.npy", x_NHW)
    np.savez_compressed(tmp_path / "one.npz", anything=x_NHW)
    write_pictures(tmp_path / "flat", x_NHW)
    memory = data.from_memory(x_NHW, cache_dir=tmp_path / "cache", options=ImageOptions())
    paths = [tmp_path / "all.npy", tmp_path / "one.npz", tmp_path / "flat", memory]
    loaded = [load(path, tmp_path / "cache") for path in paths]
    assert len({each.card.digest for each in loaded}) == 1
    assert loaded[0].train_labels_N is None
    assert loaded[0].class_names == ()
    assert set().union(*parts(loaded[0])) == as_set(x_NHW)


def test_the_arrays_are_read_only_maps_in_the_order_of_their_hashes(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", images())
    np.save(tmp_path / "reversed.npy", images()[::-1])
    loaded = load(tmp_path / "all.npy", tmp_path / "cache")
    assert isinstance(loaded.train_NCHW, np.memmap)
    assert not loaded.train_NCHW.flags.writeable
    assert loaded.train_NCHW.shape == (loaded.card.train_images, 1, 4, 4)
    other = load(tmp_path / "reversed.npy", tmp_path / "cache")
    np.testing.assert_array_equal(loaded.train_NCHW, other.train_NCHW)


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for label, name in enumerate(("10", "2", "1")):
        write_pictures(tmp_path / "set" / name / "deep" / "er", images(40, seed=label))
    assert load(tmp_path / "set", tmp_path / "cache").class_names == ("1", "2", "10")


def test_names_of_classes_do_not_matter_but_the_division_into_classes_does(tmp_path: Path) -> None:
    x_NHW = images(COUNT)
    digests = []
    for number, names in enumerate((("a", "b"), ("z", "y"), ("a", "a"))):
        for half, name in enumerate(names):
            write_pictures(tmp_path / str(number) / name, x_NHW[half::2], prefix=str(half))
        digests.append(load(tmp_path / str(number), tmp_path / "cache").card.digest)
    assert digests[0] == digests[1] != digests[2]


def test_equal_images_of_two_classes_have_one_digest_whatever_the_classes_names(
    tmp_path: Path,
) -> None:
    x_NHW = images(COUNT)
    for first, second in (("a", "b"), ("b", "a")):
        write_pictures(tmp_path / first / first, x_NHW)
        write_pictures(tmp_path / first / second, x_NHW[:100])
    assert (
        load(tmp_path / "a", tmp_path / "cache").card.digest
        == load(tmp_path / "b", tmp_path / "cache").card.digest
    )


def test_pictures_beside_class_folders_leave_no_classes_which_is_said(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "cats", images(60))
    write_pictures(tmp_path / "set" / "dogs", images(60, seed=1))
    write_pictures(tmp_path / "set", images(1, seed=2))
    said: list[str] = []
    prepared = prepare(tmp_path / "set", tmp_path / "cache", said)
    assert prepared.class_names is None
    assert any("no classes: 1 picture of 121 is in no class folder" in line for line in said)
    assert sum(prepared.facts.counts.values()) == 121


@pytest.mark.slow
def test_more_than_a_thousand_folders_are_no_classes_which_is_said(tmp_path: Path) -> None:
    for number, pixels in enumerate(images(1001)):
        write_pictures(tmp_path / "set" / str(number), [pixels])
    said: list[str] = []
    assert prepare(tmp_path / "set", tmp_path / "cache", said).class_names is None
    assert any("1,001 folders" in line for line in said)


def test_class_names_that_are_not_utf_8_are_made_printable(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "caf\udce9", images(60))
    write_pictures(tmp_path / "set" / "two\nlines", images(60, seed=1))
    names = load(tmp_path / "set", tmp_path / "cache").class_names
    assert names == ("caf\\udce9", "two lines")


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        (("train", "test", "masks"), "'masks', which belong to no part"),
        (("Train", "Test"), "in lower case; rename 'Test', 'Train'"),
        (("train", "val", "valid"), "more than one folder of validation images"),
        (("val", "test"), "name the folder with the training images train"),
    ],
)
def test_folders_that_may_or_may_not_be_a_split_are_refused(
    folders: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    for seed, name in enumerate(folders):
        write_pictures(tmp_path / "set" / name, images(60, seed=seed))
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path / "set", tmp_path / "cache")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for seed, name in enumerate(("car", "plane", "train")):
        write_pictures(tmp_path / "set" / name, images(60, seed=seed))
    said: list[str] = []
    prepared = prepare(tmp_path / "set", tmp_path / "cache", said)
    assert prepared.class_names == ("car", "plane", "train")
    assert any("train is read as a class" in line for line in said)


def test_a_folder_without_pictures_is_refused_with_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.TXT").write_text("")
    with pytest.raises(ConfigError, match=r"has no pictures .* only 1 \.txt"):
        load(tmp_path / "set", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("one.png", "is one picture"), ("set.tar", "has no known file extension")],
)
def test_another_file_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path / name, tmp_path / "cache")


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nothing", tmp_path / "cache")


def test_labels_of_some_parts_only_are_left_out_which_is_said(tmp_path: Path) -> None:
    x_NHW = images(COUNT)
    np.savez(
        tmp_path / "x.npz", x_train=x_NHW[:250], y_train=np.arange(250) % 3, x_test=x_NHW[250:]
    )
    said: list[str] = []
    assert prepare(tmp_path / "x.npz", tmp_path / "cache", said).class_names is None
    assert any("the labels are left out" in line for line in said)


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_have_the_order_and_digest_of_a_named_set(
    compressed: bool, tmp_path: Path
) -> None:
    named = load_image_set(tiny_set(Brings(files())), cache_dir=tmp_path / "named")
    folder = write(tmp_path / "own", gz_files() if compressed else files())
    loaded = load(folder, tmp_path / "cache")
    assert loaded.card.digest == named.card.digest
    for part in ("train_NCHW", "val_NCHW", "test_NCHW", "train_labels_N", "test_labels_N"):
        np.testing.assert_array_equal(getattr(loaded, part), getattr(named, part))
    limited = load(folder, tmp_path / "cache", train_limit=20)
    assert (
        limited.card.digest
        == load_image_set(
            tiny_set(Brings(files())), cache_dir=tmp_path / "named", train_limit=20
        ).card.digest
    )


def test_idx_files_are_found_in_the_sub_folder_of_torchvision_and_with_a_prefix(
    tmp_path: Path,
) -> None:
    named = {f"emnist-letters-{name}": array for name, array in arrays().items()}
    write_idx(tmp_path / "EMNIST" / "raw", named, compressed=True)
    assert load(tmp_path / "EMNIST", tmp_path / "cache").card.train_images == 33
    write_idx(tmp_path / "EMNIST" / "raw", arrays())
    with pytest.raises(ConfigError, match="the files of 2 sets") as refused:
        load(tmp_path / "EMNIST", tmp_path / "cache")
    assert "emnist-letters-t10k-images-idx3-ubyte.gz and t10k-images" in str(refused.value)


def test_what_lies_beside_idx_files_is_counted(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "own", arrays())
    write_pictures(folder, images(3))
    write_pictures(folder / "more", images(3))
    said: list[str] = []
    prepare(folder, tmp_path / "cache", said)
    assert "4 other files skipped: 3 .png, 1 folder" in said


def test_idx_files_without_test_images_are_split_by_their_pixels(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "own", {"train-images-idx3-ubyte": images()})
    np.save(tmp_path / "all.npy", images())
    loaded = load(folder, tmp_path / "cache")
    assert loaded.card.digest == load(tmp_path / "all.npy", tmp_path / "cache").card.digest


def test_idx_files_that_are_resized_are_no_longer_the_named_set(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", files())
    loaded = load(folder, tmp_path / "cache", image_size=(8, 8))
    assert loaded.card.image_shape == (1, 8, 8)
    assert loaded.card.test_images == 6
    assert loaded.card.digest != load(folder, tmp_path / "cache").card.digest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-1], "holds"),
        (lambda content: content + b"x", "holds"),
        (lambda content: b"\0\0\x0d" + content[3:], "not an IDX file of unsigned bytes"),
        (lambda content: content[:4] + b"\xff" * 12 + content[16:], "claims the shape"),
        (lambda content: b"", "begins with nothing"),
    ],
)
def test_a_damaged_idx_file_is_refused(change, reason: str, tmp_path: Path) -> None:
    contents = files()
    contents["train-images-idx3-ubyte"] = change(contents["train-images-idx3-ubyte"])
    with pytest.raises(DataError, match=reason):
        load(write(tmp_path / "own", contents), tmp_path / "cache")


def test_hidden_idx_files_are_skipped(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", files())
    before = load(folder, tmp_path / "cache").card
    (folder / "._train-images-idx3-ubyte").write_bytes(b"of a file manager")
    assert load(folder, tmp_path / "cache").card == before


def test_a_compressed_idx_file_that_claims_far_too_much_is_refused(tmp_path: Path) -> None:
    name = "train-images-idx3-ubyte"
    write_idx(tmp_path / "own", {name: np.zeros((2_000_000, 2, 2), np.uint8)}, compressed=True)
    with pytest.raises(DataError, match="not decompressed"):
        load(tmp_path / "own", tmp_path / "cache")


def test_a_limit_beyond_the_training_images_is_refused_with_the_most_there_are(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "own.npy", images(300))
    card = load(tmp_path / "own.npy", tmp_path / "cache").card
    own = (card.train_images, card.val_images, card.test_images)
    for dataset, name, counts in (
        ("shapes", "shapes", (2_200, 200, 400)),
        (str(tmp_path / "own.npy"), "own.npy", own),
    ):
        train, val, test = counts
        with pytest.raises(ConfigError) as caught:
            data.load(dataset, cache_dir=tmp_path / "cache", train_limit=2_201)
        assert str(caught.value) == (
            f"train-limit 2,201 is more than the {train:,} training images of {name} ({val} are "
            f"for validation and {test} for testing); give at most {train}"
        )


def test_options_of_own_images_are_refused_for_a_named_set(tmp_path: Path) -> None:
    options = ImageOptions(image_size=(8, 8), fit="pad")
    with pytest.raises(ConfigError) as loaded:
        data.load("shapes", options=options, cache_dir=tmp_path)
    with pytest.raises(ConfigError) as configured:
        sweep_config(dataset="shapes", images=options)
    assert str(loaded.value) == str(configured.value)
    assert str(loaded.value) == (
        "only own images are converted, and 'shapes' is used as it is; leave out --image-size "
        "and --fit, or name a path in its place"
    )
    with pytest.raises(ConfigError, match="--data-dir"):
        data.load(str(tmp_path), cache_dir=tmp_path, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", False), ("minst", False), ("a/b", True), ("./mnist", True), ("x.npz", True),
        ("X.NPY", True), ("~me", True), ("/x", True), ("here", True), ("\0", False),
    ],
)  # fmt: skip
def test_a_path_is_known_from_a_name(
    text: str, expected: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "mnist").mkdir()
    assert data.is_path(text) is expected


def test_colours_stay_and_grey_pictures_are_one_channel_only_if_all_are(tmp_path: Path) -> None:
    grey_NHW, rgb_NHWC = images(), images(60, channels=3, seed=1)
    write_pictures(tmp_path / "grey", np.repeat(grey_NHW[..., None], 3, axis=3))
    assert load(tmp_path / "grey", tmp_path / "cache").card.image_shape == (1, 4, 4)
    as_rgb = load(tmp_path / "grey", tmp_path / "cache", colour="rgb")
    assert as_rgb.card.image_shape == (3, 4, 4)
    before = load(tmp_path / "grey", tmp_path / "cache")
    np.testing.assert_array_equal(as_rgb.train_NCHW, before.train_NCHW.repeat(3, axis=1))
    write_pictures(tmp_path / "grey", rgb_NHWC, prefix="colour")
    mixed = load(tmp_path / "grey", tmp_path / "cache")
    assert mixed.card.image_shape == (3, 4, 4)
    assert as_set(as_rgb.test_NCHW) <= as_set(mixed.test_NCHW)
    grey = load(tmp_path / "grey", tmp_path / "cache", colour="grey")
    expected = as_set(np.stack([np.asarray(Image.fromarray(x).convert("L")) for x in rgb_NHWC]))
    assert expected <= set().union(*parts(grey))
