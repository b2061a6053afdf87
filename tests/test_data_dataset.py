"""A name becomes images: split the same way for ever, with a digest of what they are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_fakes import IMAGES, NAMES, TRAIN, Brings, arrays, files, gz_files, tiny_set, write

from ae_sweep import data
from ae_sweep.data import registry
from ae_sweep.data.dataset import load_image_set
from ae_sweep.data.split import split
from ae_sweep.errors import ConfigError, DataError

VAL = TRAIN // 12


def test_training_and_validation_are_disjoint_and_together_everything() -> None:
    train, val = split(60_000)
    assert (len(train), len(val)) == (55_000, 5_000)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(60_000))


def test_the_split_never_changes() -> None:
    train, val = split(60_000)
    assert hashlib.sha256(val.astype("<i8").tobytes()).hexdigest()[:16] == "8ad51235abc32cfe"
    assert hashlib.sha256(train.astype("<i8").tobytes()).hexdigest()[:16] == "0158bea29192afd6"


def test_a_smaller_train_limit_is_a_prefix_and_leaves_validation_alone() -> None:
    train, val = split(60_000)
    few, same_val = split(60_000, train_limit=100)
    assert np.array_equal(few, train[:100])
    assert np.array_equal(same_val, val)


def test_images_and_labels_stay_together_through_the_split(tmp_path: Path) -> None:
    loaded = load_image_set(tiny_set(Brings(files())), cache_dir=tmp_path)
    original = arrays()
    train, val = split(TRAIN)
    np.testing.assert_array_equal(loaded.train_NCHW[:, 0], original[NAMES[0]][train])
    np.testing.assert_array_equal(loaded.train_labels_N, original[NAMES[1]][train])
    np.testing.assert_array_equal(loaded.val_NCHW[:, 0], original[NAMES[0]][val])
    np.testing.assert_array_equal(loaded.val_labels_N, original[NAMES[1]][val])
    np.testing.assert_array_equal(loaded.test_NCHW[:, 0], original[NAMES[2]])
    np.testing.assert_array_equal(loaded.test_labels_N, original[NAMES[3]])


def test_arrays_are_bytes_that_torch_can_share(tmp_path: Path) -> None:
    loaded = load_image_set(tiny_set(Brings(files())), cache_dir=tmp_path)
    for array in [getattr(loaded, name) for name in vars(loaded) if "_N" in name]:
        assert array.dtype == np.uint8
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_the_card_tells_what_is_used(tmp_path: Path) -> None:
    image_set = tiny_set(Brings(files()))
    card = load_image_set(image_set, cache_dir=tmp_path, train_limit=7).card
    assert (card.name, card.source) == ("tiny", "a good source")
    assert (card.train_images, card.val_images, card.test_images) == (7, VAL, 6)
    assert card.image_shape == (1, 4, 4)
    assert len(card.digest) == 16


def test_the_digest_does_not_depend_on_where_the_files_came_from(tmp_path: Path) -> None:
    raw, packed = write(tmp_path / "raw", files()), write(tmp_path / "gz", gz_files())
    image_set = tiny_set(Brings(files()))
    cards = [
        load_image_set(image_set, cache_dir=tmp_path / "a", data_dir=raw).card,
        load_image_set(image_set, cache_dir=tmp_path / "b", data_dir=packed).card,
        load_image_set(image_set, cache_dir=tmp_path / "c").card,
        load_image_set(tiny_set(form="gz"), cache_dir=tmp_path / "d", data_dir=packed).card,
    ]
    assert len({card.source for card in cards}) == 3
    assert len({card.digest for card in cards}) == 1


def test_the_digest_changes_with_the_pixels_and_with_the_limit(tmp_path: Path) -> None:
    def digest_of(seed: int, train_limit: int | None) -> str:
        image_set = tiny_set(Brings(files(seed)), seed=seed)
        cache = tmp_path / str(seed)
        return load_image_set(image_set, cache_dir=cache, train_limit=train_limit).card.digest

    assert len({digest_of(0, None), digest_of(1, None), digest_of(0, 7), digest_of(0, 8)}) == 4
    assert digest_of(0, None) == digest_of(0, TRAIN - VAL)


@pytest.mark.parametrize("limit", [TRAIN - VAL + 1, 10**9])
def test_a_limit_above_what_there_is_names_both_before_any_download(
    tmp_path: Path, limit: int
) -> None:
    source = Brings(files())
    with pytest.raises(ConfigError, match=rf"{limit:,} is more than the {TRAIN - VAL} training"):
        load_image_set(tiny_set(source), cache_dir=tmp_path, train_limit=limit)
    assert source.asked == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {limit}"):
        data.load("shapes", cache_dir=tmp_path, train_limit=limit)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minst", "did you mean 'mnist'?"),
        ("MNIST", "did you mean 'mnist'?"),
        ("fashionmnist", "did you mean 'fashion-mnist'?"),
        ("shape", "did you mean 'shapes'?"),
        ("cifar100", "only mnist, fashion-mnist, kmnist, shapes"),
        ("../../etc/passwd", "only mnist"),
        ("[bold]\x1b[31m" * 1_000, "characters"),
        ("", "there is no data set ''"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path, name: str, hint: str) -> None:
    for use in (data.load, data.fetch):
        with pytest.raises(ConfigError) as caught:
            use(name, cache_dir=tmp_path)
        assert hint in str(caught.value)
        assert str(caught.value).isprintable()


def test_shapes_is_the_same_on_every_machine(tmp_path: Path) -> None:
    card = data.load("shapes", cache_dir=tmp_path).card
    assert card.digest == "c33760a11c970b08"
    assert (card.train_images, card.val_images, card.test_images) == (2_200, 200, 400)
    assert card.image_shape == (1, 28, 28)
    assert card.source == "generated"


@pytest.mark.slow
def test_shapes_needs_many_numbers_to_describe() -> None:
    images = data.load("shapes", cache_dir=Path()).train_NCHW.reshape(2_200, 784) / 255.0
    variance = np.linalg.svd(images - images.mean(0), compute_uv=False) ** 2
    left = {d: variance[d:].sum() / variance.sum() for d in (2, 8, 32, 128)}
    assert left[2] > 1.5 * left[8] > 3 * left[32] > 9 * left[128] > 0


def test_shapes_is_on_no_disk(tmp_path: Path) -> None:
    located = data.fetch("shapes", cache_dir=tmp_path)
    assert located == data.Located(name="shapes", source="generated", files=())
    assert list(tmp_path.iterdir()) == []


def test_fetching_tells_the_verified_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_set = tiny_set(Brings(files()))
    monkeypatch.setitem(registry.IMAGE_SETS, "tiny", image_set)
    located = data.fetch("tiny", cache_dir=tmp_path)
    assert [file.path.name for file in located.files] == list(NAMES)
    for file in located.files:
        content = file.path.read_bytes()
        assert file.content_bytes == len(content)
        assert file.content_sha256 == hashlib.sha256(content).hexdigest()
    assert data.load("tiny", cache_dir=tmp_path).card.source.startswith("local files in ")


def test_a_damaged_file_that_the_user_named_is_an_environment_error(tmp_path: Path) -> None:
    write(tmp_path / "mine", dict.fromkeys(NAMES, b""))
    with pytest.raises(DataError, match=IMAGES) as caught:
        data.load("mnist", cache_dir=tmp_path / "cache", data_dir=tmp_path / "mine")
    assert "holds 0 bytes, expected 47,040,016" in str(caught.value)
    assert caught.value.exit_code == 3


def test_the_table_has_the_sizes_of_mnist() -> None:
    for image_set in registry.IMAGE_SETS.values():
        sizes = [resource.size for resource in image_set.resources]
        assert sizes == [47_040_016, 60_008, 7_840_016, 10_008]
        assert all(len(resource.sha256) == 64 for resource in image_set.resources)
    hashes = [r.sha256 for s in registry.IMAGE_SETS.values() for r in s.resources]
    assert len(set(hashes)) == 12


def test_importing_and_reading_need_neither_torch_nor_torchvision() -> None:
    code = (
        "import sys, pathlib; from ae_sweep import data;"
        "data.load('shapes', cache_dir=pathlib.Path());"
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
