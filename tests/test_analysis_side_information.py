"""Side information: spread over images, and from how many on a learned code pays."""

from __future__ import annotations

import pytest
from rate_fakes import curve, rate_point

from ae_sweep.analysis import NotApplicable, amortised_bits, best_payoff, payoff, side_bytes
from ae_sweep.analysis.side_information import bits_at

LEARNED = curve(
    "learned", [(50, 0.01), (100, 0.004)], header_bytes=45, decoder_bytes=99_000, table_bytes=955
)
REFERENCE = curve("codec", [(100, 0.01), (400, 0.001)], header_bytes=0)


def test_header_tables_and_decoder_are_spread_over_the_images() -> None:
    point = LEARNED.points[0]
    assert side_bytes(LEARNED, point) == 100_000
    assert amortised_bits(LEARNED, point, images=1) == 50 + 800_000
    assert amortised_bits(LEARNED, point, images=10_000) == 50 + 80


def test_a_code_pays_from_the_number_of_images_that_spreads_its_side_information() -> None:
    found = payoff(LEARNED, LEARNED.points[0], REFERENCE)
    assert found.reference_bits == 100
    assert found.images == 800_000 / (100 - 50)
    equal = amortised_bits(LEARNED, LEARNED.points[0], images=found.images)
    assert equal == pytest.approx(100)


def test_the_reference_is_interpolated_in_decibels_between_its_points() -> None:
    bits, side = bits_at(REFERENCE, mse=10**-2.5)
    assert (bits, side) == (pytest.approx(250), 0)
    assert bits_at(REFERENCE, mse=0.01) == (100, 0)
    assert bits_at(REFERENCE, mse=0.02) is None
    assert bits_at(REFERENCE, mse=0.0005) is None
    # A point that another beats in both is not used.
    worse = curve("codec", [(100, 0.01), (390, 0.02), (400, 0.001)])
    assert bits_at(worse, mse=10**-2.5)[0] == pytest.approx(250)
    # Against a lossless code every distortion costs what lossless costs.
    assert bits_at(curve("both", [(10, 0.05), (900, 0.0)]), mse=0.01) == (900, 0)


def test_a_code_of_more_bits_never_pays_and_another_distortion_is_not_compared() -> None:
    costly = curve("costly", [(500, 0.01)], decoder_bytes=10)
    assert payoff(costly, costly.points[0], REFERENCE).images is None
    assert best_payoff(costly, REFERENCE).images is None
    far = curve("far", [(5, 0.06)])
    refused = best_payoff(far, REFERENCE)
    assert isinstance(refused, NotApplicable)
    assert refused.reason == "codec and far share no distortion"
    assert isinstance(payoff(far, far.points[0], REFERENCE), NotApplicable)


def test_the_best_payoff_is_that_of_the_point_that_pays_first() -> None:
    found = best_payoff(LEARNED, REFERENCE)
    each = [payoff(LEARNED, point, REFERENCE).images for point in LEARNED.points]
    assert found.images == min(each)
    free = curve("free", [(10, 0.01)])
    assert best_payoff(free, REFERENCE).images == 1


def test_a_point_that_no_measurement_gives_is_refused() -> None:
    from ae_sweep.errors import ConfigError

    with pytest.raises(ConfigError, match="at least 0"):
        rate_point(-1.0, 0.1)
