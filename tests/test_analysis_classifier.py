"""The classifier whose agreement with itself measures what a code keeps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ae_sweep.analysis import Classifier, agreement, fit_classifier
from ae_sweep.analysis.classifier import seen_pixels
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.agreement import check_classes, classifier_of


def halves(classes: int, *, shape=(1, 8, 8), count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images with one bright column that names their class."""
    rng = np.random.default_rng(0)
    x_NCHW = rng.integers(0, 60, (count, *shape), dtype=np.uint8)
    labels_N = rng.integers(0, classes, count)
    width = shape[-1] // classes
    for image, label in zip(x_NCHW, labels_N, strict=True):
        image[..., label * width : (label + 1) * width] += 150
    return x_NCHW, labels_N


@pytest.mark.parametrize("classes", [2, 4])
def test_a_classifier_learns_separable_classes_and_is_the_same_every_time(classes) -> None:
    x_NCHW, labels_N = halves(classes)
    labels_N = labels_N * 3 + 1  # labels need not be 0, 1, 2
    made = fit_classifier(x_NCHW[:300], labels_N[:300])
    assert (made.predict(x_NCHW[300:]) == labels_N[300:]).mean() > 0.95
    again = fit_classifier(x_NCHW[:300], labels_N[:300])
    for name, array in made.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])


def test_its_answers_are_those_of_scikit_learn() -> None:
    from sklearn.neural_network import MLPClassifier

    x_NCHW, labels_N = halves(4)
    network = MLPClassifier((128,), batch_size=200, learning_rate_init=1e-3, random_state=0)
    for _ in range(12):
        network.partial_fit(seen_pixels(x_NCHW), labels_N, classes=np.unique(labels_N))
    made = fit_classifier(x_NCHW, labels_N)
    np.testing.assert_array_equal(made.predict(x_NCHW), network.predict(seen_pixels(x_NCHW)))


def test_large_images_are_averaged_over_blocks() -> None:
    x_NCHW, labels_N = halves(2, shape=(3, 70, 64), count=60)
    assert seen_pixels(x_NCHW).shape == (60, 3 * 23 * 32)
    assert seen_pixels(np.full((1, 1, 64, 64), 51, np.uint8)).mean() == pytest.approx(0.2)
    made = fit_classifier(x_NCHW, labels_N)
    assert (made.predict(x_NCHW) == labels_N).mean() > 0.9


def test_agreement_is_with_its_own_answer() -> None:
    assert agreement(np.array([1, 2, 3, 3]), np.array([1, 2, 3, 4])) == 0.75


def test_images_without_classes_or_of_another_shape_are_refused() -> None:
    x_NCHW, labels_N = halves(2)
    with pytest.raises(ConfigError, match="all 400 are of one"):
        fit_classifier(x_NCHW, np.zeros(400, np.uint8))
    with pytest.raises(ConfigError, match="N×1×8×8"):
        fit_classifier(x_NCHW, labels_N).predict(x_NCHW[:, :, :4])
    bare = SimpleNamespace(train_labels_N=None, card=SimpleNamespace(name="pictures"))
    with pytest.raises(ConfigError, match="those of pictures have none"):
        check_classes(bare)


def test_it_is_trained_once_and_a_damaged_file_is_made_anew(tmp_path) -> None:
    x_NCHW, labels_N = halves(2)
    dataset = SimpleNamespace(
        train_NCHW=x_NCHW,
        train_labels_N=labels_N,
        card=SimpleNamespace(name="halves", digest="0123abcd", image_shape=(1, 8, 8)),
    )
    said: list[str] = []
    made = classifier_of(dataset, cache=tmp_path, announce=said.append)
    (file,) = (tmp_path / "classifiers").iterdir()
    content = file.read_bytes()
    kept = classifier_of(dataset, cache=tmp_path, announce=said.append)
    assert said == ["training a classifier of halves once"]
    np.testing.assert_array_equal(made.predict(x_NCHW), kept.predict(x_NCHW))
    for damaged in (b"", content[:200], content[:-60], b"\x00" * 500):
        file.write_bytes(damaged)
        classifier_of(dataset, cache=tmp_path, announce=said.append)
        assert file.read_bytes() == content
    assert len(said) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_PM": np.zeros((3, 3))},
        {"classes_K": np.zeros((2, 2), np.int64)},
        {"classes_K": np.array(["a", "b"])},
        {"output_bias_K": np.array([np.nan, 0.0])},
    ],
)
def test_arrays_that_are_no_classifier_are_not_taken_for_one(change) -> None:
    x_NCHW, labels_N = halves(2)
    arrays = fit_classifier(x_NCHW, labels_N).arrays()
    assert Classifier.from_arrays(arrays, image_shape=(1, 8, 8)) is not None
    assert Classifier.from_arrays(arrays, image_shape=(1, 8, 9)) is None
    assert Classifier.from_arrays({}, image_shape=(1, 8, 8)) is None
    assert Classifier.from_arrays(arrays | change, image_shape=(1, 8, 8)) is None
