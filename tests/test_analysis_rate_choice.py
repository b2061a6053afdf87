"""The operating point to code with is chosen by validation images alone."""

from __future__ import annotations

import pytest

from ae_sweep.analysis import (
    CurveKind,
    NotApplicable,
    RateCurve,
    RatePoint,
    choose_point,
    efficient_on_validation,
)


def point(bits: float, mse: float, *, index: int = 0) -> RatePoint:
    # Test numbers tell the opposite story, so that a choice by them would show.
    return RatePoint(
        bits=1000 - bits, mse=1 - mse, psnr=None, index=index, val_bits=bits, val_mse=mse
    )


def curve(*points: RatePoint) -> RateCurve:
    return RateCurve(
        name="one", description="", kind=CurveKind.CODED, points=points, image_shape=(1, 4, 4),
        images=10,
    )  # fmt: skip


POINTS = (point(10, 0.1), point(20, 0.03), point(40, 0.01), point(80, 0.0095), point(160, 0.009))


def test_bits_buy_the_smallest_error_within_them() -> None:
    assert choose_point([curve(*POINTS)], bits=79.9) is POINTS[2]
    assert choose_point([curve(*POINTS[:2]), curve(*POINTS[2:])], bits=1e6) is POINTS[4]


def test_a_quality_is_reached_by_the_fewest_bits() -> None:
    assert choose_point([curve(*POINTS)], psnr=20.0) is POINTS[2]
    assert choose_point([curve(*POINTS)], psnr=10.0) is POINTS[0]


def test_the_default_is_the_cheapest_point_half_a_decibel_from_the_best() -> None:
    # 0.009·10^0.05 = 0.0101
    assert choose_point([curve(*POINTS)]) is POINTS[2]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [({"bits": 9.0}, "the least is 10.0"), ({"psnr": 30.0}, "the best has 20.46 dB")],
)
def test_what_no_point_gives_is_answered_with_what_there_is(
    wanted: dict[str, float], reason: str
) -> None:
    found = choose_point([curve(*POINTS)], **wanted)
    assert isinstance(found, NotApplicable)
    assert reason in found.reason


def test_points_without_validation_are_never_chosen() -> None:
    unmeasured = RatePoint(bits=1, mse=0.0001, psnr=40.0)
    assert choose_point([curve(unmeasured, *POINTS)], bits=10) is POINTS[0]
    assert isinstance(choose_point([curve(unmeasured)]), NotApplicable)


def test_efficient_points_are_beaten_by_no_other() -> None:
    worse = point(30, 0.05)
    assert efficient_on_validation([*POINTS, worse]) == list(POINTS)
