"""A sweep on a folder of own pictures, from the first command to a resumed sweep elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import own_images
import pytest
import shared
from conftest import ROOT, Done
from own_sources import write_pictures
from PIL import Image

import ae_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

CLASSES = ("ten", "two")
SWEEP = ("--dims", "2", "8", "--trials", "1", "--lr", "4e-3", "--name", "discs")


def draw(folder: Path) -> None:
    """Write 240 colour pictures of 12×20 pixels, in two folders."""
    pictures_NCHW, labels_N = own_images.draw(240, (3, 12, 20), classes=2)
    for number, name in enumerate(CLASSES):
        write_pictures(folder / name, pictures_NCHW[labels_N == number].transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def place(process: Callable[..., Done]) -> Path:
    """Run the sweep; return the directory of its pictures and its store."""

    def make(place: Path) -> dict[str, Any]:
        draw(place / "pictures")
        done = process("run", "--dataset", "pictures", *SWEEP, cwd=place, **cache(place))
        assert done.code == 0, done.err
        return asdict(done)

    return shared.made_once("a folder's sweep", make)[0]


def cache(place: Path) -> dict[str, Any]:
    return {"changes": {"XDG_CACHE_HOME": str(place / "cache")}}


@pytest.fixture
def own(place: Path, tmp_path: Path, process: Callable[..., Done]) -> Callable[..., Done]:
    """Run a command beside a copy of the pictures and of the store."""
    shutil.copytree(place / "pictures", tmp_path / "pictures")
    shared.copy_store(place / "mlruns", tmp_path / "mlruns")
    return lambda *words: process(*words, cwd=tmp_path, **cache(tmp_path))


def test_the_plan_says_what_few_images_are_trained_with(
    place: Path, process: Callable[..., Done]
) -> None:
    done = process("run", "--dataset", "pictures", "--dry-run", cwd=place, **cache(place))
    assert done.code == 0, done.err
    assert "pictures:" in done.out
    assert "training images make" in done.out
    assert "search   lr 0.001:0.01, epochs " in done.out


def test_a_sweep_is_resumed_wherever_its_pictures_lie(
    own: Callable[..., Done], tmp_path: Path
) -> None:
    for number, picture in enumerate(sorted((tmp_path / "pictures").rglob("*.png"))):
        picture.rename(picture.with_name(f"renamed {number}.png"))
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    resume = ("run", "--name", "discs", "--resume", "--dataset", "elsewhere", "--dry-run")
    done = own(*resume)
    assert done.code == 0, done.err
    assert ": 0 to train" in done.out
    shown = own("reconstruct", "discs", "--dataset", "elsewhere")
    assert shown.code == 0, shown.err


def test_one_changed_pixel_makes_other_images(own: Callable[..., Done], tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "ten" / "0.png"
    with Image.open(picture) as image:
        red, green, blue = image.getpixel((0, 0))  # type: ignore[misc]
        image.putpixel((0, 0), (red ^ 1, green, blue))
        image.save(picture)
    done = own("run", "--name", "discs", "--resume", "--dataset", "pictures", "--dry-run")
    assert done.code == 4, done.err
    assert re.search(r"stored with other settings: the images' digest is \w{16}, not \w", done.err)
    shown = own("reconstruct", "discs", "--dataset", "pictures")
    assert shown.code == 3
    assert "are not those of discs" in shown.err
    named = own("reconstruct", "discs", "--dataset", "shapes")
    assert (named.code, "name the sweep's images with --dataset" in named.err) == (3, True)


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (("--colour", "grey"), "colour is auto, not grey"),
        (("--image-size", "12x16"), "image-size is not given, not 12x16"),
        (("--dataset", "shapes"), "dataset is a path, not shapes"),
    ],
)
def test_other_images_are_not_resumed(
    own: Callable[..., Done], words: tuple[str, ...], difference: str
) -> None:
    given = words if "--dataset" in words else ("--dataset", "pictures", *words)
    done = own("run", "--name", "discs", "--resume", *given, "--dry-run")
    assert done.code == 4, done.err
    assert difference in done.err


def test_every_question_about_classes_takes_their_names(
    own: Callable[..., Done], tmp_path: Path
) -> None:
    faded = own("interpolate", "discs", "--from", "ten", "--to", "two", "--dataset", "pictures")
    assert faded.code == 0, faded.err
    latent = own("latent", "discs", "--dataset", "pictures")
    assert latent.code == 0, latent.err
    report = own("report", "discs", "--dataset", "pictures", "--out", "page.html")
    assert report.code == 0, report.err
    page = (tmp_path / "page.html").read_text()
    assert "ten" in page
    assert "numbers per latent" in page


def test_the_tracked_data_set_is_named_by_its_folder_and_has_its_shape(place: Path) -> None:
    sweep = ae_sweep.load_sweep("discs", store=place / "mlruns")
    inputs = sweep.runs._client.get_run(sweep.record.run_id).inputs.dataset_inputs
    assert inputs[0].dataset.name == "pictures"
    assert inputs[0].dataset.digest == sweep.record.dataset_digest
    profile = json.loads(inputs[0].dataset.profile)
    assert (profile["image_shape"], profile["classes"]) == ([3, 12, 20], 2)


def test_the_errors_of_principal_components_are_stored_with_the_sweep(place: Path) -> None:
    sweep = ae_sweep.load_sweep("discs", store=place / "mlruns")
    errors = sweep.record.linear_mse
    assert list(errors) == [2, 8]
    assert errors[2] > errors[8] > 0
    assert sweep.frontier.linear_mse == errors
    worse = [point for point in sweep.frontier.points if point.test_mse > errors[point.latent_dim]]
    said = [note for note in sweep.frontier.notes if "principal components" in note]
    assert len(said) == bool(worse)


def test_workers_train_on_the_same_images(own: Callable[..., Done]) -> None:
    done = own(
        "run", "--dataset", "pictures", "--dims", "2", "4", "--trials", "1", "--epochs", "1",
        "--workers", "2", "--name", "both",
    )  # fmt: skip
    assert done.code == 0, done.err


def test_an_array_in_python_is_the_same_data_set_as_its_pictures(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arrays, labels = [], []
    for number, name in enumerate(CLASSES):
        for picture in sorted((place / "pictures" / name).iterdir(), key=os.fspath):
            with Image.open(picture) as image:
                arrays.append(np.array(image))
                labels.append(number)
    pairs = list(zip(arrays, labels, strict=True))
    planned = ae_sweep.plan_sweep("other", dataset=pairs, dims=2, trials=1, store=tmp_path)
    digest = ae_sweep.load_sweep("discs", store=place / "mlruns").record.dataset_digest
    assert planned.setup.card.digest == digest
    unlabelled = ae_sweep.plan_sweep(
        dataset=np.stack(arrays), dims=2, trials=1, image_size=(8, 8), store=tmp_path
    )
    assert unlabelled.setup.card.image_shape == (3, 8, 8)
    assert unlabelled.plan.config.name.startswith("images-")


def test_the_page_names_only_commands_and_options_that_exist(
    process: Callable[..., Done], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "own-images.md").read_text()
    assert "--background" in process("run", "--help", cwd=tmp_path).out
    assert "_TABLE" not in page
