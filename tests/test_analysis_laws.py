"""Laws of distortion: their fits, the choice among them, intervals and bands."""

import numpy as np
import pytest

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.law_bands import resampled_law
from ae_sweep.analysis.law_choice import MOST_LEFT_OUT, LawChoice, choose_law
from ae_sweep.analysis.laws import DIMENSION_LAWS, RATE_LAWS, FittedLaw, Law, Points, fit_law
from ae_sweep.analysis.power_law import PowerLaw, fit_power_law
from ae_sweep.analysis.profile import profile_interval
from ae_sweep.analysis.seeds import SeedSpread, seed_spread

EIGHT = (1, 2, 4, 8, 16, 32, 64, 128)
FIVE = (2, 8, 32, 128, 512)


def power_and_floor(dims):
    return 0.002 + 0.09 * np.asarray(dims, dtype=float) ** -0.9


def noisy(dims, *, seeds, noise, rng):
    """Return the errors of several seeds at each dim, about a power law with a floor."""
    return power_and_floor(dims)[:, None] * np.exp(noise * rng.standard_normal((len(dims), seeds)))


CURVES = {
    Law.POWER: lambda x: 0.09 * x**-0.9,
    Law.POWER_FLOOR: power_and_floor,
    Law.EXPONENTIAL_FLOOR: lambda x: 0.002 + 0.05 * np.exp(-0.03 * x),
    Law.BROKEN_POWER: lambda x: 0.01 * np.where(x < 11, (x / 11) ** -0.4, (x / 11) ** -1.5),
    Law.GAUSSIAN_FLOOR: lambda x: 0.002 + 0.05 * 2 ** (-2 * x / 46),
}
PARAMETERS = {
    Law.POWER: {"scale": 0.09, "exponent": 0.9},
    Law.POWER_FLOOR: {"scale": 0.09, "exponent": 0.9, "floor": 0.002},
    Law.EXPONENTIAL_FLOOR: {"scale": 0.05, "decay": 0.03, "floor": 0.002},
    Law.BROKEN_POWER: {"break_mse": 0.01, "exponent": 0.4, "exponent_after": 1.5, "break": 11},
    Law.GAUSSIAN_FLOOR: {"scale": 0.05, "dimension": 46, "floor": 0.002},
}


@pytest.mark.parametrize("law", Law)
def test_fit_recovers_the_parameters_of_an_exact_curve(law):
    x = np.array(EIGHT, dtype=float)
    points = Points.of(x, CURVES[law](x))
    assert isinstance(points, Points)
    fit = fit_law(law, points)
    assert fit.parameters == pytest.approx(PARAMETERS[law], rel=1e-4)
    np.testing.assert_allclose(fit.distortion(x), CURVES[law](x), rtol=1e-5)
    for place in (1.5, 7.0, 20.0, 100.0):
        assert fit.inverse(float(fit.distortion(place))) == pytest.approx(place, rel=1e-9)


def test_a_law_with_a_floor_never_falls_below_it():
    points = Points.of(EIGHT, power_and_floor(EIGHT))
    assert isinstance(points, Points)
    assert fit_law(Law.POWER_FLOOR, points).inverse(0.0019) is None


def test_power_law_with_a_floor_is_the_fit_of_the_frontier_to_the_last_digit():
    mses = [0.0414, 0.0160, 0.0040, 0.0016]
    known = fit_power_law([2, 8, 32, 128], mses)
    points = Points.of([128, 2, 32, 8], [0.0016, 0.0414, 0.0040, 0.0160])
    assert isinstance(known, PowerLaw)
    assert isinstance(points, Points)
    assert fit_law(Law.POWER_FLOOR, points).parameters == {
        "scale": known.scale, "exponent": known.exponent, "floor": known.floor
    }  # fmt: skip


def test_a_point_with_more_seeds_weighs_more():
    mses = [0.0414, 0.0160, 0.0040, 0.0019]
    even, uneven = Points.of([2, 8, 32, 128], mses), Points.of([2, 8, 32, 128], mses, [1, 1, 1, 9])
    assert isinstance(even, Points)
    assert isinstance(uneven, Points)
    errors = [
        abs(np.log(fit_law(Law.POWER, each).distortion(128.0) / 0.0019)) for each in (even, uneven)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("x", "mses", "reason"),
    [
        ([2], [0.1], "at least 2 points, got 1"),
        ([2, 2, 4], [0.3, 0.2, 0.1], "distinct positive"),
        ([0, 2, 4], [0.3, 0.2, 0.1], "distinct positive"),
        ([1, 2, 4], [0.3, 0.2, 0.0], "0 has no logarithm"),
        ([1, 2, 4], [0.3, float("nan"), 0.1], "positive errors"),
        ([1, 2, 4], [0.3, 0.3, 0.3], "the same at every point"),
        ([1, 2, 4], [0.1, 0.2, 0.3], "does not fall"),
    ],
)
def test_points_without_a_falling_law_are_refused(x, mses, reason):
    refusal = Points.of(x, mses)
    assert isinstance(refusal, NotApplicable)
    assert reason in refusal.reason
    assert choose_law(x, [[mse] for mse in mses]) == refusal


@pytest.mark.slow
def test_eight_dims_of_one_seed_choose_the_true_law_and_hold_its_exponent():
    rng = np.random.default_rng(1)
    choices = [choose_law(EIGHT, noisy(EIGHT, seeds=1, noise=0.02, rng=rng)) for _ in range(100)]
    right = [each for each in choices if each.fit.law is Law.POWER_FLOOR]
    assert len(right) >= 95
    intervals = [each.intervals[1] for each in right]
    assert {each.name for each in intervals} == {"exponent"}
    assert 90 <= sum(each.low <= 0.9 <= each.high for each in intervals) <= 99


def test_five_dims_of_one_seed_make_no_choice_and_say_why():
    refusal = choose_law(FIVE, [[mse] for mse in power_and_floor(FIVE)])
    assert isinstance(refusal, NotApplicable)
    assert "5 points cannot choose between laws: power + floor needs 6" in refusal.reason
    assert "--repeats" in refusal.reason


@pytest.mark.slow
def test_five_dims_of_three_seeds_choose_the_true_law_and_hold_its_exponent():
    rng = np.random.default_rng(1)
    choices = [choose_law(FIVE, noisy(FIVE, seeds=3, noise=0.02, rng=rng)) for _ in range(100)]
    right = [each for each in choices if each.fit.law is Law.POWER_FLOOR]
    assert len(right) >= 95
    held = [each.intervals[1].low <= 0.9 <= each.intervals[1].high for each in right]
    assert 90 <= sum(held) <= 99
    assert {each.criterion for each in choices} == {"AIC"}
    # The probability of χ² is uniform where the law is true.
    assert 0.4 < np.mean([each.p_value for each in right]) < 0.6


def chosen(x, mses, **options):
    choice = choose_law(x, mses, **options)
    assert isinstance(choice, LawChoice)
    return choice


@pytest.mark.parametrize("law", DIMENSION_LAWS)
def test_each_law_is_chosen_where_it_is_true(law):
    x = np.geomspace(1, 512, 10)
    noise = np.exp(0.01 * np.random.default_rng(4).standard_normal(10))
    choice = chosen(x, (CURVES[law](x) * noise)[:, None])
    assert choice.fit.law is law
    assert choice.criterion == "AICc"
    assert sum(each.weight for each in choice.candidates) == pytest.approx(1)
    assert [each.weight for each in choice.candidates] == sorted(
        (each.weight for each in choice.candidates), reverse=True
    )
    for interval in choice.intervals:
        assert interval.low <= interval.value <= interval.high


@pytest.mark.parametrize("law", RATE_LAWS)
def test_laws_of_bits_are_chosen_where_they_are_true(law):
    bits = np.geomspace(20, 800, 12) / 6
    choice = chosen(bits, CURVES[law](bits)[:, None], laws=RATE_LAWS)
    assert choice.fit.law is law


def test_aicc_is_the_formula_with_the_variance_counted():
    mses = noisy(EIGHT, seeds=1, noise=0.02, rng=np.random.default_rng(0))
    for each in chosen(EIGHT, mses).candidates:
        n, k = 8, len(each.fit.law.parameters) + 1
        squares = np.sum(np.log(each.fit.distortion(np.array(EIGHT)) / mses[:, 0]) ** 2)
        expected = n * np.log(squares / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        assert each.criterion == pytest.approx(expected)


def test_six_dims_compare_all_laws_but_the_broken_one():
    choice = chosen(EIGHT[:6], noisy(EIGHT[:6], seeds=1, noise=0.02, rng=np.random.default_rng(0)))
    assert {each.fit.law for each in choice.candidates} == set(DIMENSION_LAWS) - {Law.BROKEN_POWER}
    assert choice.notes[0] == "broken power is not a candidate: it needs 7 points"
    assert "there is one seed of each point" in choice.notes[1]
    assert {each.law for each in choice.left_out} == {None}


def test_of_many_points_only_some_are_left_out_both_ends_among_them():
    x = np.geomspace(2, 500, 30)
    choice = choose_law(x, [[2 * each**-0.5] for each in x], laws=[Law.POWER])
    assert isinstance(choice, LawChoice)
    left_out = choice.left_out
    assert len(left_out) == MOST_LEFT_OUT
    assert [left_out[0].x, left_out[-1].x] == pytest.approx([2, 500])
    for each in left_out:
        assert each.law is Law.POWER
        assert each.predicted == pytest.approx(each.measured)


@pytest.mark.slow
def test_each_point_left_out_is_predicted_by_the_others():
    mses = power_and_floor(EIGHT)
    mses[3] *= 1.1
    choice = chosen(EIGHT, mses[:, None])
    assert choice.fit.law is Law.POWER_FLOOR
    left_out = choice.left_out
    assert [each.x for each in left_out] == list(EIGHT)
    outlier = left_out[3]
    assert outlier.law is Law.POWER_FLOOR
    assert outlier.measured == mses[3]
    assert outlier.predicted == pytest.approx(mses[3] / 1.1, rel=1e-4)


def test_a_law_that_describes_nothing_has_a_chi_squared_that_says_so():
    rng = np.random.default_rng(0)
    mses = noisy(EIGHT, seeds=3, noise=0.002, rng=rng)
    mses[[1, 3, 5]] *= 1.1
    choice = chosen(EIGHT, mses)
    assert choice.p_value < 1e-6
    assert any("does not describe the points: χ² is" in note for note in choice.notes)


def test_intervals_of_a_pure_power_law_are_those_of_a_straight_line():
    from scipy.stats import t

    x = np.array(EIGHT, dtype=float)
    mses = 0.09 * x**-0.9 * np.exp(0.05 * np.random.default_rng(2).standard_normal(8))
    points = Points.of(x, mses)
    assert isinstance(points, Points)
    fit = fit_law(Law.POWER, points)
    variance = fit.squares / 6
    _, covariance = np.polyfit(np.log(x), np.log(mses), 1, cov="unscaled")
    for name, index in (("exponent", 0), ("scale", 1)):
        interval = profile_interval(fit, name, variance=variance, degrees=6)
        reach = t.ppf(0.975, 6) * np.sqrt(variance * covariance[index, index])
        if name == "scale":
            ends = (interval.value * np.exp(-reach), interval.value * np.exp(reach))
        else:
            ends = (interval.value - reach, interval.value + reach)
        assert (interval.low, interval.high) == pytest.approx(ends, rel=1e-3)


def test_a_floor_that_may_be_none_has_an_interval_that_starts_at_0():
    x = np.array(EIGHT, dtype=float)
    mses = (1e-4 + 0.09 * x**-0.9) * np.exp(0.05 * np.random.default_rng(2).standard_normal(8))
    points = Points.of(x, mses)
    assert isinstance(points, Points)
    fit = fit_law(Law.POWER_FLOOR, points)
    interval = profile_interval(fit, "floor", variance=0.05**2, degrees=100)
    assert interval.low == 0
    assert 1e-4 < interval.high < mses.min()


@pytest.mark.parametrize("seeds", [1, 3])
def test_band_holds_the_true_curve_and_is_narrower_with_seeds(seeds):
    rng = np.random.default_rng(6)
    choice = chosen(EIGHT, noisy(EIGHT, seeds=seeds, noise=0.02, rng=rng))
    resamples = resampled_law(choice, resamples=60)
    assert resamples.source == ("residuals" if seeds == 1 else "seeds")
    places = np.array([2.0, 10.0, 100.0])
    low, high = resamples.band(places)
    assert np.all((low < power_and_floor(places)) & (power_and_floor(places) < high))
    assert np.all(high / low < (1.2 if seeds == 1 else 1.08))
    start, end = resamples.reached(0.01)
    assert start < (0.008 / 0.09) ** (-1 / 0.9) < end
    assert resamples.reached(1e-5)[1] == np.inf


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_bands_hold_the_true_curve_about_as_often_as_they_claim(seeds):
    rng = np.random.default_rng(7)
    places, held = np.array([2.0, 10.0, 100.0]), []
    for _ in range(60):
        choice = chosen(EIGHT, noisy(EIGHT, seeds=seeds, noise=0.02, rng=rng))
        low, high = resampled_law(choice, resamples=80).band(places)
        held.append((low < power_and_floor(places)) & (power_and_floor(places) < high))
    assert 0.87 < np.mean(held) <= 0.99


def test_pooled_spread_is_that_of_the_seeds():
    rng = np.random.default_rng(0)
    spread = seed_spread(noisy(EIGHT * 20, seeds=3, noise=0.05, rng=rng))
    assert isinstance(spread, SeedSpread)
    assert spread.degrees == 320
    assert spread.sigma == pytest.approx(0.05, rel=0.1)
    assert np.std(spread.residuals) == pytest.approx(0.05, rel=0.1)
    resampled = np.log(spread.resampled(500) / spread.means)
    assert np.std(resampled) == pytest.approx(0.05 / np.sqrt(3), rel=0.1)


@pytest.mark.parametrize(
    ("mses", "reason"),
    [
        ([[0.1], [0.05]], "one seed of each point"),
        ([[0.1, 0.11], [0.05, 0.06]], "2 degrees of freedom, and needs 4"),
        ([[0.1, 0.0], [0.05, 0.06]], "no logarithm"),
        ([[0.1] * 3, [0.05] * 3], "all seeds gave the same error"),
    ],
)
def test_seeds_that_measure_no_noise_say_why(mses, reason):
    refusal = seed_spread(mses)
    assert isinstance(refusal, NotApplicable)
    assert reason in refusal.reason


@pytest.mark.slow
def test_choice_never_raises_whatever_the_positive_numbers():
    rng = np.random.default_rng(1)
    for _ in range(3):
        dims = np.unique(np.exp(rng.uniform(0, 10, 9)).astype(int) + 1)
        mses = np.exp(rng.uniform(-30, 0, len(dims)) * rng.choice([0.001, 0.1, 1]))
        choice = choose_law(dims.tolist(), [[mse] for mse in np.sort(mses)[::-1]])
        assert isinstance(choice, LawChoice | NotApplicable)
        if isinstance(choice, LawChoice):
            assert isinstance(choice.fit, FittedLaw)
            assert all(np.isfinite(each.weight) for each in choice.candidates)
