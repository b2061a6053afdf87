"""Numerics of coding: the transform of latents, the quantiser, a Gaussian source, clusters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from ae_sweep.analysis.cluster_start import cluster_start
from ae_sweep.analysis.gaussian_source import GaussianPoint, at_level, water_level
from ae_sweep.analysis.latent_transform import fit_transform, metric_klt
from ae_sweep.analysis.quantiser import LEAST_STEPS, MOST_STEPS, fit_quantiser, step_ladder
from ae_sweep.codec import ans
from ae_sweep.codec.fit import fit_codec
from ae_sweep.codec.table_fit import fit_tables
from ae_sweep.errors import ConfigError


def drawn(images: int = 4_000, latents: int = 5, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(images, latents)) @ generator.normal(size=(latents, latents)) + 3


def metric(latents: int = 5) -> np.ndarray:
    jacobian = np.random.default_rng(1).normal(size=(50, latents))
    return jacobian.T @ jacobian


def test_coordinates_are_uncorrelated_and_their_error_is_that_of_the_image() -> None:
    z_ND, metric_DD = drawn(), metric()
    transform = fit_transform(z_ND, metric_DD)
    y_NK = transform.forward(z_ND).astype(np.float64)
    covariance_KK = np.cov(y_NK, rowvar=False)
    variances_K = np.diag(covariance_KK)
    assert (np.diff(variances_K) < 0).all()
    assert covariance_KK - np.diag(variances_K) == pytest.approx(0, abs=1e-4 * variances_K[0])
    moved_NK = y_NK + np.random.default_rng(2).normal(size=y_NK.shape)
    error_ND = transform.inverse(moved_NK).astype(np.float64) - z_ND
    in_image_N = np.einsum("nd,de,ne->n", error_ND, metric_DD, error_ND)
    assert in_image_N == pytest.approx(((moved_NK - y_NK) ** 2).sum(axis=1), rel=1e-3)


def test_the_transform_is_inverted_by_its_inverse() -> None:
    z_ND = drawn()
    transform = fit_transform(z_ND, metric())
    assert transform.inverse(transform.forward(z_ND)) == pytest.approx(z_ND, abs=1e-3)


def test_a_dead_latent_is_rebuilt_at_its_mean_and_takes_no_coordinate() -> None:
    z_ND = np.column_stack([drawn(), np.full(4_000, 7.0)])
    transform = fit_transform(z_ND, metric(6))
    assert transform.forward_DK.shape == (6, 5)
    assert transform.inverse(transform.forward(z_ND)) == pytest.approx(z_ND, abs=1e-3)


def test_a_latent_that_the_decoder_ignores_costs_nothing() -> None:
    metric_DD = metric()
    metric_DD[2] = metric_DD[:, 2] = 0
    z_ND = drawn()
    transform = fit_transform(z_ND, metric_DD)
    y_NK = transform.forward(z_ND)
    assert np.isfinite(transform.inverse(y_NK)).all()
    quantiser = fit_quantiser(y_NK, float(y_NK[:, 0].std()) / 100)
    assert quantiser.alphabet.sizes[4:].tolist() in ([], [1])


@pytest.mark.parametrize(
    ("covariance", "metric_DD", "message"),
    [
        (np.eye(2), np.zeros((2, 2)), "metric is zero"),
        (np.eye(2), np.eye(3), "metric of 2 latents is 2×2"),
        (np.eye(3), np.eye(2), "covariance of 2 latents"),
        (np.full((2, 2), np.nan), np.eye(2), "not finite"),
    ],
)
def test_impossible_statistics_are_refused(
    covariance: np.ndarray, metric_DD: np.ndarray, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        metric_klt(np.zeros(2), covariance, metric_DD)


def test_a_cell_is_rebuilt_at_the_mean_of_its_training_values() -> None:
    y_NK = np.random.default_rng(0).laplace(size=(20_000, 2)).astype(np.float32)
    quantiser = fit_quantiser(y_NK, 1.5)
    symbols_NK = quantiser.quantise(y_NK)
    rebuilt_NK = quantiser.dequantise(symbols_NK)
    for symbol in (-2, 0, 1):
        inside = symbols_NK[:, 0] == symbol
        mean = y_NK[inside, 0].mean()
        assert rebuilt_NK[inside, 0] == pytest.approx(mean, abs=1.5 / 500)
    centres_NK = symbols_NK * np.float32(1.5)
    assert ((rebuilt_NK - y_NK) ** 2).mean() < ((centres_NK - y_NK) ** 2).mean()


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_that_is_no_positive_size_is_refused(step: float) -> None:
    with pytest.raises(ConfigError, match="positive number"):
        fit_quantiser(np.ones((3, 1), np.float32), step)


def test_the_ladder_goes_from_almost_no_bits_to_almost_no_error() -> None:
    variances_K = np.geomspace(5, 0.001, 32)
    y_NK = np.random.default_rng(0).normal(size=(20_000, 32)) * np.sqrt(variances_K)
    steps = step_ladder(variances_K, 3.0)
    assert LEAST_STEPS <= len(steps) <= MOST_STEPS
    assert all(coarse > fine for coarse, fine in itertools.pairwise(steps))
    coarsest, finest = (fit_quantiser(y_NK, step) for step in (steps[0], steps[-1]))
    tables = fit_tables(coarsest.quantise(y_NK), coarsest.alphabet)
    assert tables.code_lengths(coarsest.quantise(y_NK)).mean() < 2
    added = ((finest.dequantise(finest.quantise(y_NK)) - y_NK) ** 2).sum(axis=1).mean()
    assert added == pytest.approx(0.01 * 3.0, rel=0.1)


def test_latents_that_do_not_vary_have_no_ladder() -> None:
    with pytest.raises(ConfigError, match="do not vary"):
        step_ladder(np.zeros(3), 1.0)


def test_reverse_water_filling_of_a_white_source_is_the_textbook_formula() -> None:
    point = at_error(np.full(8, 2.0), 4.0)
    assert (point.active, point.level) == (8, pytest.approx(0.5, rel=1e-12))
    assert point.bits == pytest.approx(8 * 0.5 * np.log2(2.0 / 0.5), rel=1e-12)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01])
def test_the_closed_form_is_the_least_rate_that_a_search_finds(share: float) -> None:
    variances_K = np.array([4.0, 2.0, 0.7, 0.1])
    error = share * variances_K.sum()
    point = at_error(variances_K, error)

    # Minimise the bits of errors D_k ≤ σ_k² that sum to the error, without any water level.
    def bits(errors_K: np.ndarray) -> float:
        return float(0.5 * np.log2(variances_K / errors_K).sum())

    found = minimize(
        bits,
        variances_K * share,
        jac=lambda errors_K: -0.5 / np.log(2) / errors_K,
        bounds=[(1e-6, each) for each in variances_K],
        constraints={"type": "eq", "fun": lambda e: e.sum() - error, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1_000},
    )
    assert found.fun == pytest.approx(point.bits, abs=1e-6)
    assert point.squared_error == pytest.approx(error, rel=1e-12)


def at_error(variances_K: np.ndarray, error: float) -> GaussianPoint:
    """Return the point of a squared error, by the closed form of its water level."""
    return at_level(variances_K, water_level(variances_K, error))


def bisected(variances_K: np.ndarray, error: float) -> float:
    """Return the bits at an error, with the water level found by bisection."""
    low, high = 0.0, float(variances_K.max())
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(variances_K, level).sum() < error else (low, level)
    return at_level(variances_K, high).bits


def test_the_closed_form_agrees_with_bisection_to_1e_9() -> None:
    variances_K = np.random.default_rng(0).exponential(size=784) ** 3
    total = variances_K.sum()
    for share in np.geomspace(1e-6, 0.999, 40):
        assert at_error(variances_K, share * total).bits == pytest.approx(
            bisected(variances_K, share * total), rel=1e-9, abs=1e-9
        )


def test_the_whole_variance_takes_no_bits_and_a_level_below_all_errors_is_refused() -> None:
    variances_K = np.array([3.0, 1.0])
    point = at_error(variances_K, 4.0)
    assert (point.bits, point.active) == (0, 0)
    for level in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="must be a positive number"):
            at_level(variances_K, level)


def test_clusters_are_the_same_on_every_call_and_fewer_of_few_images() -> None:
    y_NK = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)
    first, again = cluster_start(y_NK, 4), cluster_start(y_NK, 4)
    assert (first == again).all()
    assert set(first) == {0, 1, 2, 3}
    assert cluster_start(y_NK[:50], 32).max() == 1


def test_a_codec_follows_the_metric_of_its_decoder() -> None:
    # The same latents, one of which the decoder amplifies: in its metric fewer bits are needed.
    weights_D = np.array([10.0, 1.0, 0.1])
    z_ND = np.random.default_rng(0).normal(size=(8_000, 3)) @ np.array(
        [[1, 0.7, 0.7], [0, 1, 0.7], [0, 0, 1]]
    )
    kept = {"model_sha256": "0" * 64, "image_shape": (1, 4, 4), "clusters": ()}

    def measured(metric_DD: np.ndarray, step: float) -> tuple[float, float]:
        codec = fit_codec(z_ND, metric_DD, squared_error=1.0, steps=(step,), **kept)
        rebuilt_ND = codec.dequantise(codec.quantise(z_ND, 0), 0)
        error = (((rebuilt_ND - z_ND) * weights_D) ** 2).sum(axis=1).mean()
        return codec.code_lengths(z_ND, 0).mean(), error

    bits, error = measured(np.diag(weights_D**2), 2.0)
    plain_bits, plain_error = measured(np.eye(3), 0.28)
    assert error <= plain_error
    assert bits < 0.8 * plain_bits


@pytest.mark.slow
@pytest.mark.skipif(not ans.is_available(), reason="constriction is not published")
def test_a_gaussian_source_of_mnist_is_coded_as_close_as_the_theory_says() -> None:
    from ae_sweep import data, locations

    train_NCHW = data.load("mnist", cache_dir=locations.cache_dir()).train_NCHW
    pixels = train_NCHW.reshape(len(train_NCHW), -1) / np.float32(255)
    spectrum_K = np.linalg.eigvalsh(np.cov(pixels, rowvar=False, dtype=np.float64))[::-1]
    variances_K = np.maximum(spectrum_K[:500], 0)
    generator = np.random.default_rng(0)
    deviations_K = np.sqrt(variances_K).astype(np.float32)
    y_NK, y_MK = (
        generator.standard_normal((images, 500), np.float32) * deviations_K
        for images in (40_000, 10_000)
    )
    gaps = []
    for step in (4.0, 2.0, 1.0, 0.5, 0.25, 0.1):
        quantiser = fit_quantiser(np.asfortranarray(y_NK), step)
        tables = fit_tables(quantiser.quantise(y_NK), quantiser.alphabet)
        symbols_MK = quantiser.quantise(y_MK)
        bits = 8 * len(ans.encode(symbols_MK, tables)) / len(y_MK)
        error = ((quantiser.dequantise(symbols_MK) - y_MK) ** 2).sum(axis=1).mean()
        bound = at_error(variances_K, float(error))
        assert bound.bits == pytest.approx(bisected(variances_K, float(error)), rel=1e-9)
        gaps.append((bits - bound.bits) / bound.active)
    assert all(0.19 <= gap <= 0.28 for gap in gaps), gaps
    assert gaps[-2:] == pytest.approx([0.2546] * 2, abs=0.02)
