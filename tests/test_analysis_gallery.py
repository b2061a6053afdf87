"""Which images are shown."""

from __future__ import annotations

import numpy as np
import pytest

from ae_sweep import analysis
from ae_sweep.errors import ConfigError

LABELS = np.array([1, 0, 1, 0, 2, 1])


def test_the_first_of_each_class_are_shared_out_evenly() -> None:
    assert analysis.first_of_each(LABELS, [0, 1], count=4).tolist() == [1, 3, 0, 2]
    assert analysis.first_of_each(LABELS, [0, 1], count=5).tolist() == [1, 3, 0, 2]
    assert analysis.first_of_each(LABELS, [1, 2], count=3).tolist() == [0, 2, 4]


def test_fewer_images_than_classes_are_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigError, match="2 images cannot show 3 classes; give --count 3"):
        analysis.first_of_each(LABELS, [0, 1, 2], count=2)


def test_every_model_has_the_same_say_in_what_is_worst() -> None:
    coarse, fine = np.array([10.0, 30.0, 20.0, 20.0, 20.0, 20.0]), np.zeros(6)
    fine[3] = 1e-6  # all of the fine model's error

    def worst(errors: list[np.ndarray], classes: list[int], *, count: int) -> list[int]:
        chosen: list[int] = analysis.worst(
            errors, labels_N=LABELS, classes=classes, count=count
        ).tolist()
        return chosen

    assert worst([coarse, fine], [0, 1, 2], count=2) == [3, 1]
    assert worst([coarse, fine], [1, 2], count=9) == [2, 4, 5, 0]
    assert worst([np.zeros(6)], [2], count=1) == [4]
    assert analysis.worst([coarse, fine], count=3).tolist() == [3, 1, 2], "without classes"


def test_evenly_spaced_images_include_both_ends_and_are_all_where_there_are_few() -> None:
    assert analysis.evenly_spaced(60, count=4).tolist() == [0, 20, 39, 59]
    assert analysis.evenly_spaced(3, count=10).tolist() == [0, 1, 2]
    assert analysis.evenly_spaced(7, count=1).tolist() == [0]
    assert len(set(analysis.evenly_spaced(400_000, count=20_000).tolist())) == 20_000


def test_squared_errors_are_per_image_and_of_pixels_up_to_one() -> None:
    originals = np.zeros((1001, 1, 2, 2), np.uint8)
    originals[1000] = 255
    rebuilt = np.zeros((1001, 1, 2, 2), np.float32)
    rebuilt[7, 0, 0, 0] = 1
    errors = analysis.squared_errors(originals, rebuilt)
    assert errors.shape == (1001,)
    assert (errors[7], errors[1000], errors.sum()) == (0.25, 1.0, 1.25)


def test_numbers_become_the_nearest_bytes_and_are_clipped() -> None:
    assert analysis.as_bytes(np.array([-1, 0, 0.5, 1, 2])).tolist() == [0, 0, 128, 255, 255]


def test_squared_errors_of_large_images_are_those_of_each_image_alone() -> None:
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 256, (9, 3, 1024, 512), dtype=np.uint8)
    rebuilt = rng.random(originals.shape, dtype=np.float32)
    alone = [np.square(x / 255 - y).mean() for x, y in zip(originals, rebuilt, strict=True)]
    np.testing.assert_allclose(analysis.squared_errors(originals, rebuilt), alone, rtol=1e-12)
