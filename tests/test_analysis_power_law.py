"""The fit of distortion over latent_dim."""

import math

import numpy as np
import pytest

from ae_sweep.analysis.distortion import NotApplicable, psnr_db
from ae_sweep.analysis.power_law import PowerLaw, fit_power_law

DIMS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


def curve(dims, *, floor, scale, exponent):
    return [floor + scale * dim**-exponent for dim in dims]


@pytest.mark.parametrize("floor", [0.0, 1e-4, 2e-3])
@pytest.mark.parametrize("exponent", [0.3, 0.9, 2.0])
def test_fit_recovers_the_parameters_of_an_exact_curve(floor, exponent):
    fit = fit_power_law(DIMS, curve(DIMS, floor=floor, scale=0.09, exponent=exponent))
    assert isinstance(fit, PowerLaw)
    assert fit.floor == pytest.approx(floor, rel=1e-4, abs=1e-12)
    assert fit.scale == pytest.approx(0.09, rel=1e-4)
    assert fit.exponent == pytest.approx(exponent, rel=1e-4)
    assert fit.r_squared_log == pytest.approx(1)


def test_fit_recovers_the_parameters_under_noise_within_its_standard_errors():
    truth = {"floor": 0.002, "scale": 0.09, "exponent": 0.9}
    noise = np.random.default_rng(0)
    misses = []
    for _ in range(20):
        mses = np.array(curve(DIMS, **truth)) * np.exp(0.05 * noise.standard_normal(len(DIMS)))
        fit = fit_power_law(DIMS, list(mses))
        for name, value in truth.items():
            error = getattr(fit, f"{name}_se")
            misses.append((getattr(fit, name) - value) / error)
    # Student's t with 7 degrees of freedom has a standard deviation of 1.18.
    assert 0.8 < np.std(misses) < 1.6
    assert abs(np.mean(misses)) < 0.5


def test_fit_does_not_depend_on_the_order_or_on_the_unit_of_mse():
    mses = [0.0414, 0.0160, 0.0040, 0.0016]
    fit = fit_power_law([2, 8, 32, 128], mses)
    assert fit_power_law([128, 32, 8, 2], mses[::-1]) == fit
    scaled = fit_power_law([2, 8, 32, 128], [mse * 255**2 for mse in mses])
    assert isinstance(fit, PowerLaw)
    assert isinstance(scaled, PowerLaw)
    assert scaled.floor == pytest.approx(fit.floor * 255**2, rel=1e-6)
    assert scaled.exponent == pytest.approx(fit.exponent, rel=1e-6)


def test_a_floor_of_zero_has_no_standard_error_and_the_closed_form_of_a_straight_line():
    dims, mses = [2, 8, 32, 128], [0.0384, 0.0130, 0.0029, 0.0007]
    fit = fit_power_law(dims, mses)
    slope, intercept = np.polyfit(np.log(dims), np.log(mses), 1)
    assert isinstance(fit, PowerLaw)
    assert (fit.floor, fit.floor_se) == (0, None)
    assert fit.exponent == pytest.approx(-slope)
    assert fit.scale == pytest.approx(math.exp(intercept))


def test_fitted_curve_is_no_worse_than_a_dense_search_over_all_curves():
    dims = np.array([2.0, 8, 32, 128, 512])
    mses = np.array([0.0414, 0.0160, 0.0040, 0.0016, 0.0014])
    fit = fit_power_law([2, 8, 32, 128, 512], list(mses))
    assert isinstance(fit, PowerLaw)
    found = np.sum(np.log(fit.distortion(dims) / mses) ** 2)
    floors, scales, exponents = np.meshgrid(
        np.linspace(0, 0.0015, 40), np.geomspace(0.02, 0.5, 60), np.linspace(0.3, 2.5, 60)
    )
    grid = floors[..., None] + scales[..., None] * dims ** -exponents[..., None]
    assert found <= np.min(np.sum(np.log(grid / mses) ** 2, axis=-1))


@pytest.mark.parametrize(
    ("dims", "mses", "reason"),
    [
        ([], [], "at least 4 latent dims to fit, got 0"),
        ([2, 8, 32], [0.04, 0.01, 0.003], "at least 4 latent dims to fit, got 3"),
        ([2, 8, 32, 128], [0.067] * 4, "the same at every latent dim"),
        ([2, 8, 32, 128], [0.01, 0.02, 0.05, 0.06], "does not fall"),
        ([2, 8, 32, 128, 512], [1, 0.1, 0.1, 0.1, 0.1], "they fall in one step"),
        ([2, 8, 32, 128, 512], [1, 0.1, 0.11, 0.09, 0.1], "standard error is larger"),
        pytest.param(
            [2, 4, 8, 16],
            [0.1, 0.09999999, 0.09999998, 0.09999997],
            "they hardly fall",
            marks=pytest.mark.slow,
        ),
        ([2, 4, 8, 16, 32, 64], [0.1] * 5 + [1e-4], "no power law describes"),
    ],
)
def test_fit_refuses_degenerate_data_in_words(dims, mses, reason):
    refusal = fit_power_law(dims, mses)
    assert isinstance(refusal, NotApplicable)
    assert reason in refusal.reason


@pytest.mark.slow
def test_fit_never_raises_whatever_the_positive_numbers():
    random = np.random.default_rng(1)
    for _ in range(40):
        count = int(random.integers(4, 9))
        dims = np.unique(np.exp(random.uniform(0, 30, count)).astype(int))
        mses = np.exp(random.uniform(-300, 0, len(dims)) * random.choice([0.001, 0.1, 1]))
        assert isinstance(fit_power_law(dims.tolist(), mses.tolist()), PowerLaw | NotApplicable)


def test_psnr_of_a_perfect_reconstruction_is_no_number():
    assert psnr_db(0.01) == pytest.approx(20)
    assert psnr_db(0.0) is None


@pytest.mark.parametrize("mse", [-1e-9, float("nan"), float("inf"), -float("inf")])
def test_what_is_no_measurement_has_no_psnr(mse):
    with pytest.raises(ValueError, match=f"at least 0, got {mse}"):
        psnr_db(mse)
