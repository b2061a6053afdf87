"""BD-rate and BD-PSNR."""

import warnings

import bjontegaard as reference
import numpy as np
import pytest

from ae_sweep.analysis.bjontegaard import (
    BjontegaardDelta,
    Interpolation,
    RateQuality,
    bjontegaard,
)
from ae_sweep.analysis.distortion import NotApplicable

ANCHOR = RateQuality(bits=(40, 89, 180, 347, 611), psnrs_db=(16.1, 18.5, 21.2, 24.3, 28.1))
TEST = RateQuality(bits=(30.5, 54, 75.5, 99, 180, 300), psnrs_db=(17.2, 19.94, 22.02, 23.3, 25, 27))


def delta(anchor, test, **options):
    result = bjontegaard(anchor, test, **options)
    assert isinstance(result, BjontegaardDelta)
    return result


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("seed", range(5))
def test_deltas_equal_those_of_the_bjontegaard_package(interpolation, seed):
    rng = np.random.default_rng(seed)
    curves = [
        RateQuality(
            bits=tuple(np.cumsum(rng.uniform(5, 90, count)) + 10),
            psnrs_db=tuple(np.cumsum(rng.uniform(0.2, 3, count)) + 14),
        )
        for count in (5, 8)
    ]
    result = delta([curves[0]], [curves[1]], interpolation=interpolation)
    arguments = [part for curve in curves for part in (curve.bits, curve.psnrs_db)]
    options = {"method": str(interpolation), "require_matching_points": False, "min_overlap": 0}
    assert result.rate_percent == pytest.approx(reference.bd_rate(*arguments, **options), abs=1e-9)
    assert result.psnr_db == pytest.approx(reference.bd_psnr(*arguments, **options), abs=1e-9)


def test_half_the_bits_at_every_quality_is_minus_50_percent():
    half = RateQuality(bits=tuple(bits / 2 for bits in ANCHOR.bits), psnrs_db=ANCHOR.psnrs_db)
    result = delta([ANCHOR], [half])
    assert result.rate_percent == pytest.approx(-50)
    assert result.psnr_db > 0
    assert (result.pairs, result.rate_range, result.psnr_range) == (1, None, None)
    assert result.psnr_overlap == 1


def test_order_of_the_points_does_not_matter():
    turned = RateQuality(bits=TEST.bits[::-1], psnrs_db=TEST.psnrs_db[::-1])
    assert delta([ANCHOR], [turned]) == delta([ANCHOR], [TEST])


def test_warning_names_what_is_shared_where_the_package_warns():
    short = RateQuality(bits=(30, 40, 50, 60), psnrs_db=(18, 19, 20, 21))
    result = delta([ANCHOR], [short])
    assert result.warning == (
        "the curves share only 25% of their PSNRs (BD-rate) and 13% of their rates (BD-PSNR), and "
        "say nothing about the rest"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference.bd_rate(
            ANCHOR.bits, ANCHOR.psnrs_db, short.bits, short.psnrs_db,
            method="pchip", require_matching_points=False,
        )  # fmt: skip
    assert "Insufficient curve overlap" in str(caught[0].message)
    assert delta([ANCHOR], [ANCHOR]).warning is None


def test_seeds_give_the_range_over_all_pairs():
    seeds = [
        RateQuality(bits=tuple(bits * factor for bits in TEST.bits), psnrs_db=TEST.psnrs_db)
        for factor in (0.9, 1.0, 1.1)
    ]
    result = delta([ANCHOR], seeds)
    singles = [delta([ANCHOR], [each]).rate_percent for each in seeds]
    assert result.pairs == 3
    assert result.rate_range == pytest.approx((min(singles), max(singles)))
    assert min(singles) < result.rate_percent < max(singles)
    both = delta(seeds, seeds)
    assert both.pairs == 9
    assert both.rate_percent == pytest.approx(0, abs=1e-9)


def curve(bits, psnrs):
    return RateQuality(bits=bits, psnrs_db=psnrs)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (curve((1, 2, 3), (20, 21, 22)), "at least 4 points, got 3"),
        (curve((1, 2, 3, 4), (20, 21, 22)), "4 rates and 3 PSNRs"),
        (curve((40, 80, 160, 300), (20, 22, 21, 24)), "does not rise with every step"),
        (curve((40, 40, 160, 300), (20, 22, 23, 24)), "does not rise with every step"),
        (curve((0, 40, 160, 300), (20, 22, 23, 24)), "a rate of 0 has no logarithm"),
        (curve((1, 40, 160, 300), (20, 22, 23, float("inf"))), "not finite"),
        (curve((40, 80, 160, 300), (30, 31, 32, 33)), "share no range of PSNR"),
        (curve((4000, 8000, 9000, 9900), (17, 18, 19, 20)), "share no range of rates"),
    ],
)
def test_curves_that_cannot_be_compared_say_why(test, reason):
    for pair in ([ANCHOR], [test]), ([test], [ANCHOR]):
        refusal = bjontegaard(*pair)
        assert isinstance(refusal, NotApplicable)
        assert reason in refusal.reason


def test_no_curve_is_said():
    assert bjontegaard([], [ANCHOR]) == NotApplicable("there is no curve to compare")
