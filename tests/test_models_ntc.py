"""Nonlinear transform coding: its prior, its transform and its schedule, against formulas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from fakes import tiny_images, trial_config
from scipy.stats import logistic
from torch import nn

from ae_sweep import models, training
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.models.logistic_mixture import GAIN, LogisticMixtures
from ae_sweep.models.ntc import MEASURED_STEPS, PLAIN_SHARE, metric_transform
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from ae_sweep.models.ntc import TransformCoder
    from ae_sweep.records import TrialResult

STEPS = 100
SWITCH = round(PLAIN_SHARE * STEPS)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(count: int = 6) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8), generator=noise())


def coder(lmbda: float = 0.1, *, latent_dim: int = 3) -> TransformCoder:
    network = models.build(f"ntc lmbda={lmbda}", latent_dim=latent_dim, image_shape=(1, 8, 8))
    return cast("TransformCoder", network.eval())


def mixtures(latent_dim: int = 2) -> LogisticMixtures:
    prior = LogisticMixtures(latent_dim)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=noise()) / GAIN)
    return prior


def measured(network: TransformCoder, x_BCHW: torch.Tensor) -> None:
    """Take a network through the plain part of a schedule and into the other, without training."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the same statistics in training and evaluation
    for step in range(SWITCH):
        network.begin_step(step, STEPS)
        network.training_pass(x_BCHW, noise(step))
    network.begin_step(SWITCH, STEPS)
    network.eval()


def test_bits_are_the_logarithm_of_differences_of_the_distribution_function() -> None:
    prior = mixtures()
    y_BD = torch.tensor([[-3.0, 0.0], [0.25, 2.0], [4.0, -1.5]])
    weight_DK, location_DK, scale_DK = (
        each_DK.detach().double().numpy()
        for each_DK in (
            prior.component_log_weights.exp(),
            prior.component_locations,
            prior.component_scales,
        )
    )
    y_BD1 = y_BD.double().numpy()[..., None]
    probability_BD = (
        weight_DK
        * (
            logistic.cdf(y_BD1 + 0.5, location_DK, scale_DK)
            - logistic.cdf(y_BD1 - 0.5, location_DK, scale_DK)
        )
    ).sum(axis=2)
    with torch.inference_mode():
        np.testing.assert_allclose(prior.bits(y_BD).numpy(), -np.log2(probability_BD), rtol=1e-5)


def test_probabilities_of_all_whole_numbers_add_up_to_one() -> None:
    numbers_B2 = torch.arange(-400.0, 401.0)[:, None].expand(-1, 2)
    with torch.inference_mode():
        probability_2 = torch.exp2(-mixtures().bits(numbers_B2)).sum(dim=0)
    torch.testing.assert_close(probability_2, torch.ones(2), rtol=1e-4, atol=0)


def test_bits_and_their_gradient_are_finite_far_out_and_for_narrow_and_wide_mixtures() -> None:
    for std in (1e-6, 1.0, 1e4):
        prior = LogisticMixtures(1)
        prior.start(torch.tensor([std]))
        y_BD = torch.tensor([[0.0], [0.5], [-3e3], [1e6]], requires_grad=True)
        bits_BD = prior.bits(y_BD)
        bits_BD.sum().backward()
        assert bits_BD.isfinite().all()
        assert (bits_BD >= 0).all()
        assert y_BD.grad is not None
        assert y_BD.grad.isfinite().all()
        assert y_BD.grad[3] > 0, "moving inwards costs less, however far out"
        assert all(p.grad is not None and p.grad.isfinite().all() for p in prior.parameters())


def test_a_mixture_starts_near_a_normal_distribution_of_the_latents_size() -> None:
    for std in (0.5, 3.0, 20.0):
        prior = LogisticMixtures(1)
        prior.start(torch.tensor([std]))
        y_N1 = std * torch.randn((20_000, 1), generator=noise())
        with torch.inference_mode():
            bits = prior.bits((y_N1).round()).mean().item()
        counts_N = torch.unique(y_N1.round(), return_counts=True)[1].double() / len(y_N1)
        entropy = -(counts_N * counts_N.log2()).sum().item()
        assert entropy - 1e-3 < bits < entropy + 0.15


def test_numbers_drawn_from_a_mixture_cost_its_entropy() -> None:
    prior = mixtures(1)
    numbers_B1 = torch.arange(-300.0, 301.0)[:, None]
    with torch.inference_mode():
        bits_B = prior.bits(numbers_B1)[:, 0]
        entropy = (torch.exp2(-bits_B) * bits_B).sum().item()
        drawn = prior.bits(prior.sample(50_000, noise()).round()).mean().item()
    assert drawn == pytest.approx(entropy, rel=0.02)


def test_the_transform_has_an_inverse_no_correlation_and_the_images_metric() -> None:
    factor_DD, other_DD = torch.randn((2, 5, 5), generator=noise(), dtype=torch.double)
    covariance_DD, metric_DD = factor_DD @ factor_DD.T, other_DD @ other_DD.T
    transform = metric_transform(covariance_DD, metric_DD)
    eye_DD = torch.eye(5, dtype=torch.double)
    analysis_DD, synthesis_DD = transform.analysis_DD, transform.synthesis_DD
    torch.testing.assert_close(analysis_DD @ synthesis_DD, eye_DD)
    moved_DD = analysis_DD.T @ covariance_DD @ analysis_DD
    variance_DD = transform.std_D.square().diag()
    torch.testing.assert_close(moved_DD, variance_DD, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(
        synthesis_DD @ metric_DD @ synthesis_DD.T, eye_DD, rtol=1e-2, atol=1e-2
    )
    assert list(transform.std_D) == sorted(transform.std_D, reverse=True)


def test_latents_that_the_decoder_ignores_or_that_never_vary_have_a_transform() -> None:
    dead_DD = torch.diag(torch.tensor([1.0, 0.0, 0.0], dtype=torch.double))
    for covariance_DD, metric_DD in ((dead_DD, dead_DD), (0 * dead_DD, 0 * dead_DD)):
        transform = metric_transform(covariance_DD, metric_DD)
        assert all(each.isfinite().all() for each in transform)
        torch.testing.assert_close(
            transform.analysis_DD @ transform.synthesis_DD, torch.eye(3, dtype=torch.double)
        )


def test_the_penalty_is_lambda_times_the_bits_of_noisy_latents_per_number() -> None:
    network, x_BCHW = coder(0.3), some_images()
    with torch.inference_mode():
        passed = network.training_pass(x_BCHW, noise())
        y_BD = network.encode_unrounded(x_BCHW)
        noisy_BD = y_BD + torch.rand((6, 3), generator=noise()) - 0.5
        bits = network.prior.bits(noisy_BD).sum(dim=1).mean()
        squared_error = (passed.y_BCHW - x_BCHW).square().sum(dim=(1, 2, 3)).mean()
        mse = (passed.y_BCHW - x_BCHW).square().mean()
        torch.testing.assert_close(passed.y_BCHW, network.decode(noisy_BD))
    torch.testing.assert_close(mse + passed.penalty, (squared_error + 0.3 * bits) / 64)


def test_latents_are_whole_numbers_and_those_before_rounding_are_at_hand() -> None:
    network = coder()
    x_BCHW = 20 * some_images()
    with torch.inference_mode():
        y_BD, rounded_BD = network.encode_unrounded(x_BCHW), network.encode(x_BCHW)
        assert torch.equal(rounded_BD, y_BD.round())
        assert not torch.equal(rounded_BD, y_BD)
        # No quantiser is hidden in the decoder.
        assert not torch.equal(network.decode(y_BD), network.decode(rounded_BD))
    trained = models.TrainedAutoencoder(network)
    assert trained.rounds_latents
    x_NCHW = x_BCHW.numpy()
    np.testing.assert_array_equal(trained.encode(x_NCHW), trained.encode_unrounded(x_NCHW).round())


def test_latents_of_other_models_are_those_before_rounding() -> None:
    for name in ("conv", "vae", "fsq codebook=8"):
        network = models.build(name, latent_dim=2, image_shape=(1, 8, 8)).eval()
        trained = models.TrainedAutoencoder(network)
        assert not trained.rounds_latents
        x_NCHW = some_images().numpy()
        np.testing.assert_array_equal(trained.encode(x_NCHW), trained.encode_unrounded(x_NCHW))


def test_a_schedule_begins_with_a_plain_autoencoder_and_ends_with_a_rate() -> None:
    network, x_BCHW = coder(), some_images()
    penalties, whole = [], []
    with torch.inference_mode():
        for step in range(STEPS):
            network.begin_step(step, STEPS)
            penalties.append(float(network.training_pass(x_BCHW, noise()).penalty))
            z_BD = network.encode(x_BCHW)
            whole.append(torch.equal(z_BD, z_BD.round()))
    assert (
        [penalty > 0 for penalty in penalties] == whole == [step >= SWITCH for step in range(STEPS)]
    )


@pytest.mark.parametrize("total_steps", [1, 2, 3])
def test_the_shortest_schedules_end_with_a_rate(total_steps: int) -> None:
    network, x_BCHW = coder(), some_images()
    network.train()
    for step in range(total_steps):
        network.begin_step(step, total_steps)
        passed = network.training_pass(x_BCHW, noise())
    assert torch.as_tensor(passed.penalty).detach() > 0


def test_a_schedule_in_bf16_has_a_transform_and_a_gradient() -> None:
    network, x_BCHW = coder(), some_images(20)
    network.train()
    for step in range(6):
        network.begin_step(step, 6)
        with torch.autocast("cpu", torch.bfloat16):
            passed = network.training_pass(x_BCHW, noise(step))
        (passed.y_BCHW.float().mean() + passed.penalty).backward()
    assert not torch.equal(network.analysis_DD, torch.eye(3))
    assert network.analysis_DD.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_moving_into_the_transform_changes_no_image_but_by_rounding() -> None:
    network, x_BCHW = coder(latent_dim=5), some_images(40)
    measured(network, x_BCHW)
    with torch.inference_mode():
        z_BD = network.encoder(x_BCHW)
        y_BD = network.encode_unrounded(x_BCHW)
        torch.testing.assert_close(
            network.decode(y_BD), network.decoder(z_BD), rtol=1e-3, atol=1e-5
        )
        assert not torch.allclose(y_BD, z_BD)
        covariance_DD = torch.cov(y_BD.T)
    off_diagonal_DD = covariance_DD - covariance_DD.diag().diag()
    assert off_diagonal_DD.abs().max() < 0.1 * covariance_DD.diag().max()


def test_a_step_in_any_latent_changes_images_by_the_squared_error_that_lambda_asks_for() -> None:
    lmbda = 0.02
    network, x_BCHW = coder(lmbda, latent_dim=4), some_images(60)
    measured(network, x_BCHW)
    nudge = 1e-3
    with torch.inference_mode():
        y_BD = network.encode_unrounded(x_BCHW)
        errors_D = torch.stack(
            [
                (network.decode(y_BD + nudge * e_D) - network.decode(y_BD - nudge * e_D))
                .square()
                .sum(dim=(1, 2, 3))
                .mean()
                / (2 * nudge) ** 2
                for e_D in torch.eye(4)
            ]
        )
    # Random combinations of an image's 64 numbers in 32 batches of 60 estimate the metric.
    assert MEASURED_STEPS * 60 > 1_000
    torch.testing.assert_close(
        errors_D, torch.full((4,), 6 / math.log(2) * lmbda), rtol=0.2, atol=0
    )


def test_a_rate_is_the_code_length_of_rounded_latents_under_the_prior() -> None:
    network = coder(latent_dim=4)
    x_BCHW = torch.cat([some_images(), 30 * some_images()])
    with torch.inference_mode():
        y_BD = network.encode(x_BCHW)
        rate = network.rate(x_BCHW.split(5), noise())
        bits = network.prior.bits(y_BD).sum(dim=1).mean().item()
        mse = (network(x_BCHW) - x_BCHW).square().mean().item()
    assert rate["bits"] == pytest.approx(bits, rel=1e-6)
    assert rate["mse"] == pytest.approx(mse, rel=1e-5)
    silent = [len(set(column)) == 1 for column in y_BD.T.tolist()]
    assert rate["silent_latents"] == sum(silent)
    assert 0 <= sum(silent) < 4


def test_samples_of_the_prior_are_images_of_whole_numbers() -> None:
    network = coder()
    with torch.inference_mode():
        x_NCHW = network.sample(50, noise())
        assert torch.equal(x_NCHW, network.sample(50, noise()))
        numbers_N3 = network.prior.sample(50, noise()).round()
        torch.testing.assert_close(x_NCHW, network.decode(numbers_N3))
    assert x_NCHW.shape == (50, 1, 8, 8)
    assert len(numbers_N3.unique(dim=0)) > 1


def finished(model: str, *, latent_dim: int = 4, epochs: int = 100) -> TrialResult:
    config = trial_config(model=model, latent_dim=latent_dim, epochs=epochs)
    course = training.train(config, tiny_images())
    while True:
        try:
            next(course)
        except StopIteration as stop:
            return cast("TrialResult", stop.value)


def test_the_last_validation_counts_the_rate_and_the_first_does_not() -> None:
    trainer = Trainer(trial_config(model="ntc", latent_dim=2, epochs=8), tiny_images())
    penalties = [trainer.train_until(pause).val_penalty for pause in trainer.pauses]
    assert penalties[0] == 0
    assert penalties[-1] > 0


def test_a_training_that_diverges_before_the_transform_is_reported_as_such() -> None:
    trainer = Trainer(trial_config(model="ntc", lr=1e30, epochs=8), tiny_images())
    with pytest.raises(TrainingDivergedError, match=r"a smaller lr trains"):
        trainer.train_until(8)


@pytest.mark.slow
def test_a_larger_lambda_buys_fewer_bits_with_a_larger_error() -> None:
    dear, cheap = (finished(f"ntc lmbda={lmbda}") for lmbda in (0.005, 1))  # of 40 images
    assert cheap.rate["bits"] < 0.7 * dear.rate["bits"]
    assert dear.test_mse < 0.9 * cheap.test_mse
    assert dear.rate["mse"] == pytest.approx(dear.test_mse, rel=1e-5)
