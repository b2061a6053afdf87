"""The knee of PSNR over latent_dim."""

import pytest

from ae_sweep.analysis.distortion import NotApplicable, psnr_db
from ae_sweep.analysis.knee import Knee, find_knee
from ae_sweep.analysis.knee_support import KneeSupport, knee_support


def test_knee_is_the_corner_of_two_straight_lines():
    knee = find_knee([1, 2, 4, 8, 16, 32, 64], [10, 13, 16, 19, 19.5, 20, 20.5])
    assert isinstance(knee, Knee)
    assert knee.latent_dim == 8
    assert knee.db_per_doubling_before == pytest.approx(3)
    assert knee.db_per_doubling_after == pytest.approx(0.5)
    assert knee.height == pytest.approx(9 / 10.5 - 0.5)
    assert knee.advice == "beyond d=8, doubling latent_dim bought 0.5 dB (3.0 dB up to there)"


def test_knee_of_a_curve_that_turns_down_is_its_top():
    psnrs = [psnr_db(mse) for mse in (0.0384, 0.0130, 0.0029, 0.0007, 0.0013)]
    knee = find_knee([2, 8, 32, 128, 1024], psnrs)
    assert isinstance(knee, Knee)
    assert knee.latent_dim == 128
    assert knee.db_per_doubling_after < 0
    assert "bought nothing" in knee.advice


@pytest.mark.parametrize(
    ("psnrs", "reason"),
    [
        ([], "at least 3 latent dims"),
        ([14.0, 20.0], "at least 3 latent dims"),
        ([10.0, 13.0, 16.0, 19.0], "up to d|no point lies above"),
        ([10.0, 11.0, 13.0, 19.0], "no point lies above"),
        ([19.0, 17.0, 12.0, 11.0], "does not rise"),
        ([12.0, 12.0, 12.0, 12.0], "does not rise"),
        ([12.0, 12.03, 12.03, 12.02], "rises by 0.03 dB"),
        ([12.0, 11.0, 12.05, 12.05], "rises by 0.05 dB"),
        ([10.0, 13.2, 15.0, 17.1], "still"),
    ],
)
def test_no_knee_is_said_in_words(psnrs, reason):
    refusal = find_knee([2, 4, 8, 16][: len(psnrs)], psnrs)
    assert isinstance(refusal, NotApplicable)
    assert any(part in refusal.reason for part in reason.split("|"))


def test_equal_mses_that_differ_in_the_last_digit_have_no_knee():
    mses = [0.067, 0.067 * (1 - 2e-16), 0.067 * (1 - 2e-16)]
    assert isinstance(find_knee([2, 4, 8], [psnr_db(mse) for mse in mses]), NotApplicable)


CLEAR = [[0.0384, 0.0380], [0.0130, 0.0131], [0.0029, 0.0030], [0.0007, 0.00071], [0.0013, 0.0014]]


def test_a_clear_knee_is_that_of_nearly_every_resample():
    support = knee_support([2, 8, 32, 128, 1024], CLEAR)
    assert isinstance(support, KneeSupport)
    assert support.shares == ((128, 1.0),)
    assert (support.none, support.identifiable) == (0, True)
    assert support.sentence == "d=128 in 100% of the resampled curves"


def test_a_knee_that_depends_on_the_seeds_is_not_identifiable():
    mses = [[10 ** (-psnr / 10) * factor for factor in (0.85, 1, 1.17)]
            for psnr in (10, 13.2, 15.2, 16.6)]  # fmt: skip
    support = knee_support([2, 4, 8, 16], mses)
    assert isinstance(support, KneeSupport)
    assert not support.identifiable
    assert support.sentence.startswith("the knee is not identifiable: ")
    assert sum(share for _, share in support.shares) + support.none == pytest.approx(1)
    assert knee_support([2, 4, 8, 16], mses) == support


def test_one_seed_gives_a_knee_no_share():
    refusal = knee_support([2, 8, 32, 128, 1024], [each[:1] for each in CLEAR])
    assert isinstance(refusal, NotApplicable)
    assert "no share of resamples: there is one seed of each point" in refusal.reason
