"""Estimates of how many dimensions images have."""

import numpy as np
import pytest

from ae_sweep import data
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.intrinsic_dimension import (
    IntrinsicDimension,
    intrinsic_dimension,
    participation_ratio,
)
from ae_sweep.analysis.principal_components import PrincipalComponents
from ae_sweep.locations import cache_dir


def estimated(x):
    result = intrinsic_dimension(x)
    assert isinstance(result, IntrinsicDimension)
    return result


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_cubes_have_their_dimension_wherever_they_lie(dims):
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.standard_normal((12, dims)))
    result = estimated(rng.uniform(size=(2_000, dims)) @ directions.T)
    assert [sample.images for sample in result.samples] == [200, 500, 1_000, 2_000]
    largest = result.samples[-1]
    assert largest.two_nn == pytest.approx(dims, rel=0.1)
    assert [k for k, _ in largest.mle] == [5, 10, 20, 100]
    assert [value for _, value in largest.mle] == pytest.approx([dims] * 4, rel=0.2)
    assert [k for k, _ in result.samples[0].mle] == [5, 10, 20]


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "low"), [(10, 8.9), (13, 11.0), (20, 15.9), (30, 22.9)])
def test_wide_cubes_are_estimated_as_narrow_as_was_measured(dims, low):
    result = estimated(np.random.default_rng(0).uniform(size=(10_000, dims)))
    assert result.samples[-1].two_nn == pytest.approx(low, rel=0.05)
    assert result.at_least[0] < low < dims


@pytest.mark.slow
def test_mnist_has_the_dimensions_that_were_measured():
    train_NCHW = data.load("mnist", cache_dir=cache_dir()).train_NCHW
    result = estimated(train_NCHW)
    assert [sample.images for sample in result.samples] == [1_000, 2_500, 5_000, 10_000]
    assert [sample.two_nn for sample in result.samples] == pytest.approx(
        [12.1, 12.7, 13.6, 13.8], rel=0.06
    )
    assert [value for _, value in result.samples[-1].mle] == pytest.approx(
        [13.1, 12.7, 12.3, 11.1], rel=0.03
    )
    ratio = participation_ratio(PrincipalComponents.fit(train_NCHW))
    assert ratio == pytest.approx(30.7, abs=0.1)


def test_equal_images_count_once():
    x = np.random.default_rng(0).uniform(size=(600, 3))
    assert estimated(np.concatenate([x, x[:300]])) == estimated(x)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.zeros((5_000, 1, 4, 4), np.uint8), "at least 500 different images, got 1"),
        (np.random.default_rng(0).uniform(size=(400, 3)), "got 400"),
        (np.eye(700), "at the same distance"),
    ],
)
def test_images_without_a_dimension_say_why(x, reason):
    refusal = intrinsic_dimension(x)
    assert isinstance(refusal, NotApplicable)
    assert reason in refusal.reason


def components(variances, *, rest=0.0, numbers=None):
    numbers = numbers or len(variances)
    return PrincipalComponents(
        mean_P=np.zeros(numbers),
        components_KP=np.eye(len(variances), numbers),
        variance_K=np.array(variances, dtype=float),
        total_variance=sum(variances) + rest,
        image_shape=(1, 1, numbers),
        images=100,
    )


def test_participation_ratio_counts_equal_variances():
    assert participation_ratio(components([2, 2, 2, 0])) == pytest.approx(3)
    assert participation_ratio(components([2, 2], rest=4, numbers=4)) == pytest.approx(4)
    assert participation_ratio(components([0, 0])) == NotApplicable("all images are the same")
