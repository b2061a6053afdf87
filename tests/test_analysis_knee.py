"""The knee of PSNR over latent_dim."""

import pytest

from ae_sweep.analysis.distortion import NotApplicable, psnr_db
from ae_sweep.analysis.knee import Knee, find_knee


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
