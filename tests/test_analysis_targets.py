"""The smallest code that reaches a target."""

import math

import numpy as np
import pytest

from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.law_choice import LawChoice, choose_law
from ae_sweep.analysis.laws import Law
from ae_sweep.analysis.targets import Axis, GoodEnough, Target, TargetKind, good_enough
from ae_sweep.errors import ConfigError

DIMS = (2, 4, 8, 16, 32, 64, 128)


def psnr(value):
    return Target(kind=TargetKind.PSNR, value=value)


def found(x, values, **options):
    answer = good_enough(x, values, axis=options.pop("axis", Axis.LATENT_DIM), **options)
    assert isinstance(answer, GoodEnough)
    return answer


def test_first_point_that_reaches_the_target_is_taken_with_its_neighbour_below():
    values = [[0.0004], [0.04], [0.003], [0.016]]
    answer = found([128, 2, 32, 8], values, target=psnr(25))
    assert (answer.measured, answer.below, answer.measured_interval) == (32, 8, None)
    assert (answer.fitted, answer.law) == (None, None)
    assert answer.sentence == "25 dB: d=32, measured (d=8 does not reach it)"


def test_a_point_exactly_at_the_target_reaches_it():
    assert found([2, 8], [[0.02], [0.01]], target=psnr(20)).measured == 8
    mse = Target(kind=TargetKind.MSE, value=0.02)
    assert found([2, 8], [[0.02], [0.01]], target=mse).measured == 2


def test_a_target_beyond_what_was_measured_is_not_extrapolated():
    answer = found([20.5, 75.25], [[0.02], [0.01]], target=psnr(30), axis=Axis.BITS)
    assert answer.measured is None
    assert answer.sentence == (
        "no measured point reaches 30 dB; the best is 75.25 bits with 20 dB, and none is "
        "extrapolated"
    )


def test_a_target_that_every_point_reaches_and_one_that_is_lost_again_are_noted():
    answer = found([2, 8, 32], [[0.01], [0.001], [0.02]], target=psnr(20))
    assert answer.sentence == (
        "20 dB: d=2, measured; no smaller one was measured; beyond it d=32 again falls short"
    )


def test_law_is_inverted_within_the_measured_range_and_agrees_with_the_points():
    dims = np.array(DIMS, dtype=float)
    mses = (0.002 + 0.09 / dims) * np.exp(0.01 * np.random.default_rng(0).standard_normal(7))
    choice = choose_law(DIMS, mses[:, None])
    assert isinstance(choice, LawChoice)
    target = Target(kind=TargetKind.MSE, value=0.002 + 0.09 / 21.5)
    answer = found(DIMS, mses[:, None], target=target, choice=choice)
    assert (answer.measured, answer.below, answer.law) == (32, 16, Law.POWER_FLOOR)
    assert answer.fitted == pytest.approx(22, abs=1)
    low, high = answer.fitted_interval
    assert 16 < low <= answer.fitted <= high < 32
    assert answer.notes == ()
    assert f"; d={answer.fitted} by the fitted power + floor [95 %: d=" in answer.sentence
    beyond = found(
        DIMS, mses[:, None], target=Target(kind=TargetKind.MSE, value=1e-3), choice=choice
    )
    assert (beyond.measured, beyond.fitted) == (None, None)
    assert "reaches it nowhere within the measured range" in beyond.sentence


def test_points_and_law_that_disagree_say_so():
    dims = np.array(DIMS, dtype=float)
    mses = 0.09 / dims
    choice = choose_law(DIMS, mses[:, None])
    assert isinstance(choice, LawChoice)
    target = Target(kind=TargetKind.MSE, value=0.09 / 15)
    worse, better = mses.copy(), mses.copy()
    worse[3], better[2] = 0.0061, 0.0059
    less = found(DIMS, worse[:, None], target=target, choice=choice)
    assert (less.measured, less.fitted) == (32, 15)
    assert "points and fit disagree: the fit asks for less than the points" in less.sentence
    more = found(DIMS, better[:, None], target=target, choice=choice)
    assert (more.measured, more.fitted) == (8, 15)
    assert "the fit asks for more than the points" in more.sentence
    worse[4:] = 0.0062
    never = found(DIMS, worse[:, None], target=target, choice=choice)
    assert "points and fit disagree: by the fit d=15 reaches it" in never.sentence


def test_seeds_give_an_interval_of_the_measured_point():
    values = [[0.04, 0.041, 0.039], [0.0101, 0.0099, 0.0103], [0.003, 0.0031, 0.0029]]
    answer = found([2, 8, 32], values, target=psnr(20))
    assert (answer.measured, answer.measured_interval) == (32, (8, 32))
    assert "[95 %: d=8 to d=32]" in answer.sentence
    ends = found([2, 8], values[:2], target=psnr(20))
    assert ends.measured_interval is None or math.isinf(ends.measured_interval[1])


def test_accuracy_is_a_share_that_grows():
    target = Target(kind=TargetKind.ACCURACY, value=0.95)
    answer = found([2, 8, 32], [[0.6], [0.94], [0.97]], target=target)
    assert answer.sentence == "an agreement of 0.95: d=32, measured (d=8 does not reach it)"
    choice = choose_law(DIMS, [[0.09 / dim] for dim in DIMS])
    with pytest.raises(ConfigError, match="says nothing about an accuracy"):
        good_enough([2], [[0.9]], target=target, axis=Axis.LATENT_DIM, choice=choice)


def test_nothing_measured_is_said():
    refusal = good_enough([], [], target=psnr(20), axis=Axis.BITS)
    assert refusal == NotApplicable("nothing was measured")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (TargetKind.PSNR, math.nan, "finite number, got nan"),
        (TargetKind.PSNR, -4000.0, "between 0 and 200 dB, got -4000"),
        (TargetKind.PSNR, 4000.0, "between 0 and 200 dB, got 4000"),
        (TargetKind.MSE, 0.0, "above 0, got 0"),
        (TargetKind.ACCURACY, 95.0, "at most 1, got 95; 95 % is 0.95"),
        (TargetKind.ACCURACY, 0.0, "above 0 and at most 1"),
    ],
)
def test_targets_that_mean_nothing_are_refused(kind, value, reason):
    with pytest.raises(ConfigError, match=reason):
        Target(kind=kind, value=value)
