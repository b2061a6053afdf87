"""All inspections of sweeps on own images: in colour, without classes, and of many classes."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import own_images
import pytest
import shared
from matplotlib.image import imread
from mlflow import MlflowClient
from typer.testing import CliRunner

import ae_sweep
from ae_sweep import data
from ae_sweep.cli.app import app
from ae_sweep.errors import ConfigError, DataError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done

pytestmark = pytest.mark.slow

DIMS = {"photos": (2, 8), "animals": (2, 4), "things": (1, 4)}


@pytest.fixture(scope="session")
def folder() -> Path:
    """Run a sweep on each set of own images; return the directory of folders and store."""

    def make(place: Path) -> None:
        from ae_sweep import training
        from ae_sweep.runner import setup

        speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            patch.setattr(training, "measure_speed", lambda *_, **__: speed)
            patch.setattr(setup, "remembered_precision", lambda *_, **__: training.FP32)
            patch.setattr(data, "load", own_images.loading())
            for name, dims in DIMS.items():
                (place / name).mkdir()
                words = ["run", "--dataset", str(place / name), "--name", name, "--trials", "1",
                         "--lr", "4e-3", "--epochs", "3", "--batch-size", "32",
                         "--dims", *map(str, dims), "--store", str(place / "store")]  # fmt: skip
                ended = CliRunner().invoke(app, words)
                assert ended.exit_code == 0, (ended.stderr, ended.exception)

    return shared.made_once("own images", make)[0]


@pytest.fixture
def look(
    cli: Callable[..., Done], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    monkeypatch.setattr(data, "load", own_images.loading())
    return lambda *words: cli(*words, "--store", str(folder / "store"))


def last(done: Done) -> str:
    return done.err.splitlines()[-1]


def is_colourful(picture: Path) -> bool:
    return bool((np.ptp(imread(picture)[..., :3], axis=-1) > 0.01).mean() > 0.1)


@pytest.mark.parametrize("name", own_images.SETS)
@pytest.mark.parametrize(
    "words",
    [
        ("reconstruct", "--residuals"),
        ("reconstruct", "--worst", "--count", "3"),
        ("manifold", "--side", "3"),
        ("interpolate", "--steps", "3"),
        ("latent",),
        ("identity",),
        ("frontier",),
    ],
    ids=" ".join,
)
def test_every_inspection_draws_own_images_in_their_colours(
    look: Callable[..., Done], tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    done = look(*words, name)
    assert done.code == 0, done.err
    assert "not logged" not in done.err
    picture = tmp_path / f"{words[0]}-{name}.png"
    if words[0] not in ("latent", "frontier"):
        assert is_colourful(picture) == (name != "things")
    if words[0] == "identity":
        assert "no other data set is tried: shapes has images of 1×28×28, not " in done.err


def test_without_classes_evenly_spaced_images_are_shown(look: Callable[..., Done]) -> None:
    done = look("reconstruct", "photos", "--count", "4")
    assert "test images: 0 20 39 59" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reconstruct", "--classes", "3"), "without --classes evenly spaced images are shown"),
        (("reconstruct", "--digits", "3", "--worst"), "have no classes to choose by"),
        (("interpolate", "--from", "1"), "name two test images by their numbers, as in"),
        (("interpolate", "--means"), "name two test images by their numbers, as in"),
        (("interpolate", "--images", "--from", "x"), "'x' is not the number of a test image"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_without_classes_what_asks_for_them_is_refused_with_what_works(
    look: Callable[..., Done], words: tuple[str, ...], said: str
) -> None:
    done = look(words[0], "photos", *words[1:])
    assert (done.code, done.out) == (2, "")
    assert said in last(done)


def test_the_advice_to_name_two_images_works_as_printed(
    look: Callable[..., Done], cli: Callable[..., Done]
) -> None:
    refused = look("interpolate", "photos", "--from", "3", "--to", "9")
    (command,) = re.findall("`(.*)`", last(refused))
    done = cli(*shlex.split(command)[1:])
    assert done.code == 0, done.err


def test_without_classes_latents_are_measured_and_nothing_of_classes(
    look: Callable[..., Done], folder: Path
) -> None:
    done = look("latent", "photos")
    assert done.out.splitlines()[0].split() == ["Latents", "Active", "Correlation"]
    assert "the images of photos have no classes, so only the latents" in done.err
    document = json.loads(look("latent", "photos", "--json").out)
    assert "no classes" in document["classes_refusal"]
    assert {space["knn_accuracy"] for space in document["spaces"]} == {None}
    sweep = ae_sweep.load_sweep("photos", store=folder / "store")
    metrics = MlflowClient(sweep.store.tracking_uri).get_run(sweep.points()[0].run_id).data.metrics
    assert "active_latents" in metrics
    assert "latent_knn_accuracy" not in metrics


def test_the_report_of_images_without_classes_is_complete(
    look: Callable[..., Done], tmp_path: Path
) -> None:
    done = look("report", "photos")
    assert done.code == 0, done.err
    page = (tmp_path / "report-photos.html").read_text()
    assert "The images of photos have no classes" in page
    assert "coloured by class" not in page
    assert "k-NN" not in page
    assert "3 of the test and validation images equal a training or validation image" in page
    assert "numbers per latent" in page
    assert "pixels per latent" not in page
    assert "Rate and distortion of the model conv on photos" in page
    assert "Not available" not in page


def test_the_report_of_many_classes_says_which_are_coloured(
    look: Callable[..., Done], tmp_path: Path
) -> None:
    assert look("report", "things").code == 0
    page = (tmp_path / "report-things.html").read_text()
    assert "The 20 classes with the most test images are coloured, the other 10 grey." in page
    assert "a vote of the nearest other test image," in page
    assert "pixels per latent" in page


def test_classes_are_named_or_numbered(look: Callable[..., Done]) -> None:
    named = look("reconstruct", "animals", "--classes", "sports car", "猫", "10", "--count", "3")
    assert named.code == 0, named.err
    shown = re.findall(r"\d+ \(([^)]*)\)", named.err)
    assert shown == ["10", "sports car", "猫"]
    numbers = look("reconstruct", "--digits", "3", "10", "animals", "--count", "2")
    shown = re.findall(r"\d+ \(([^)]*)\)", numbers.err)
    assert shown == ["10", "dog"], "a name comes before a number"


@pytest.mark.parametrize("end", ["sports car", "5", "猫"])
def test_an_interpolation_is_between_named_classes(look: Callable[..., Done], end: str) -> None:
    done = look("interpolate", "animals", "--from", "cat", "--to", end, "--steps", "2")
    assert done.code == 0, done.err


def test_of_more_classes_than_images_some_are_shown(look: Callable[..., Done]) -> None:
    done = look("reconstruct", "things", "--count", "4")
    assert re.findall(r"\((thing \d+)\)", done.err) == [
        f"thing {number}" for number in (0, 10, 19, 29)
    ]
    refused = look("reconstruct", "things", "--classes", "thing 1", "thing 2", "--count", "1")
    assert refused.code == 2
    assert "1 images cannot show 2 classes; give --count 2 or name fewer --classes" in refused.err


def test_a_class_that_is_not_there_is_refused_with_some_that_are(
    look: Callable[..., Done],
) -> None:
    done = look("reconstruct", "things", "--classes", "nothing")
    assert done.code == 2
    assert last(done).endswith("thing 18, thing 19 and 10 more")
    assert "of class 'nothing'" in last(done)


def test_the_nearest_neighbours_are_fewer_where_classes_are_small(
    look: Callable[..., Done],
) -> None:
    document = json.loads(look("latent", "animals", "--json").out)
    assert {space["neighbours"] for space in document["spaces"]} == {4}
    assert all(space["knn_accuracy"] > 1 / 12 for space in document["spaces"])


def test_images_that_were_moved_are_found_where_they_are_named(
    look: Callable[..., Done], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere" / "photos"
    moved.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    store = folder / "store"
    (folder / "photos").rename(folder / "away")
    try:
        done = look("reconstruct", "photos")
        assert done.code == 3
        assert "are not at " in last(done)
        assert "with --dataset PATH" in last(done)
        for words in (("reconstruct",), ("manifold", "--side", "2"), ("latent",), ("report",)):
            there = look(words[0], "photos", *words[1:], "--dataset", "elsewhere/photos")
            assert there.code == 0, there.err
        sweep = ae_sweep.load_sweep("photos", store=store, dataset=moved)
        assert len(sweep.dataset.test_NCHW) == 60
    finally:
        (folder / "away").rename(folder / "photos")
    other = ae_sweep.load_sweep("photos", store=store, dataset=folder / "animals")
    with pytest.raises(DataError, match=r"the images of animals are not those of photos: .* with"):
        _ = other.dataset


def test_mlflow_has_leaks_data_set_signature_and_pictures_in_colour(folder: Path) -> None:
    sweep = ae_sweep.load_sweep("photos", store=folder / "store")
    client = MlflowClient(sweep.store.tracking_uri)
    parent = client.get_run(sweep.record.run_id)
    assert parent.data.tags["leaks"] == "3"
    (given,) = parent.inputs.dataset_inputs
    assert given.dataset.name == "photos"
    assert json.loads(given.dataset.profile)["image_shape"] == [3, 32, 48]
    run = client.get_run(sweep.points()[0].run_id)
    assert (run.data.params["pixels"], run.data.params["channels"]) == ("4608", "3")
    folder_of_run = folder / "store" / "artifacts" / run.info.run_id / "artifacts"
    assert is_colourful(folder_of_run / "reconstructions.png")
    (model,) = run.outputs.model_outputs
    (described,) = (folder / "store").rglob(f"{model.model_id}/artifacts/MLmodel")
    assert "[-1, 3, 32, 48]" in " ".join(described.read_text().split())
    other = client.get_run(ae_sweep.load_sweep("things", store=folder / "store").record.run_id)
    assert "leaks" not in other.data.tags


def test_a_python_caller_names_classes_or_numbers_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load", own_images.loading())
    animals = ae_sweep.load_sweep("animals", store=folder / "store")
    assert animals.classes(["cat", 5, "10"]) == [1, 2, 5]
    assert animals.classes() == list(range(12))
    assert animals.frontier.dataset == "animals"
    photos = ae_sweep.load_sweep("photos", store=folder / "store")
    with pytest.raises(ConfigError, match="the images of photos have no classes"):
        photos.classes()


def test_stored_options_that_cannot_be_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Any:
        given.update(options, name=name)
        return own_images.own("photos")

    monkeypatch.setattr(data, "load", load)
    store = shared.copy_store(folder / "store", tmp_path / "store")
    sweep = ae_sweep.load_sweep("photos", store=store)
    client = MlflowClient(sweep.store.tracking_uri)
    for options, passes in (
        ({"image_size": "32x48", "strict": "True"}, True),
        ({"fit": "x"}, False),
    ):
        config = json.dumps({**sweep.record.config, **options})
        client.set_tag(sweep.record.run_id, "config", config)
        again = ae_sweep.load_sweep("photos", store=store)
        if passes:
            assert len(again.dataset.test_NCHW) == 60
            assert (given["options"].image_size, given["options"].strict) == ((32, 48), True)
        else:
            with pytest.raises(StoreError, match="does not name the images of photos"):
                _ = again.dataset
