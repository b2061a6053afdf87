"""The dimension at a quality, from the slope of bits over PSNR."""

from __future__ import annotations

import numpy as np
import pytest
from rate_fakes import curve

from ae_sweep.analysis import NotApplicable, quality_dimensions


@pytest.mark.parametrize("components", [3, 12, 40])
def test_a_gaussian_of_equal_components_has_as_many_dimensions_at_every_quality(components) -> None:
    # R = (m/2)·log2(σ²/D), Cover and Thomas 2006, theorem 10.3.3
    mse = 0.05 * 10 ** -np.linspace(0.05, 2, 25)
    bits = components / 2 * np.log2(0.05 / mse)
    found = quality_dimensions(curve("gaussian", list(zip(bits, mse, strict=True))))
    assert len(found) >= 8
    assert [each.dimension for each in found] == pytest.approx([components] * len(found))
    first = found[0]
    assert first.psnr == 14
    assert first.bits == pytest.approx(components / 2 * np.log2(0.05 / 10**-1.4))


def test_components_that_become_active_raise_the_dimension_with_the_quality() -> None:
    variances = 0.05 * 0.7 ** np.arange(40)
    water = 0.05 * 10 ** -np.linspace(0.1, 3.5, 40)
    bits = [0.5 * np.log2(np.maximum(variances / level, 1)).sum() for level in water]
    mse = [np.minimum(variances, level).sum() for level in water]
    found = quality_dimensions(curve("gaussian", list(zip(bits, mse, strict=True))))
    dimensions = [each.dimension for each in found]
    assert dimensions == sorted(dimensions)
    assert dimensions[-1] > 2 * dimensions[0]


def test_steps_of_a_quantiser_are_near_enough_for_a_slope() -> None:
    mse = 0.05 * 10 ** -np.arange(0.09, 1.5, 0.17)
    bits = 6 * np.log2(0.05 / mse)
    found = quality_dimensions(curve("stepped", list(zip(bits, mse, strict=True))))
    assert [each.psnr for each in found] == list(range(16, 27, 2))
    assert [each.dimension for each in found] == pytest.approx([12] * len(found))


@pytest.mark.parametrize(
    "pairs",
    [[(10, 0.01)], [(10, 0.01), (20, 0.005)], [(10, 0.01), (20, 0.001), (90, 0.0)]],
    ids=["one point", "two points", "far apart and perfect"],
)
def test_too_few_points_give_a_reason_instead(pairs) -> None:
    found = quality_dimensions(curve("short", pairs))
    assert isinstance(found, NotApplicable)
    assert found.reason == "short has no 3 points within 3 dB of any quality"


def test_a_falling_curve_has_no_dimension() -> None:
    found = quality_dimensions(curve("odd", [(30, 0.01), (20, 0.0095), (10, 0.0075)]))
    assert isinstance(found, NotApplicable)
