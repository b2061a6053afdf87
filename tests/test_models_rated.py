"""Models whose code has a rate, against formulas and each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fakes import tiny_images, trial_config
from torch.distributions import Normal, kl_divergence

from ae_sweep import models, training
from ae_sweep.errors import ConfigError
from ae_sweep.models.fsq import grid_levels
from ae_sweep.models.tokens import entropy_bits
from ae_sweep.models.vae import Posterior
from ae_sweep.training.evaluate import mean_squared_error, validation

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.records import TrialResult

MNIST = (1, 28, 28)
RATED = ["vae", "vae beta=1", "vqvae codebook=8", "fsq codebook=8", "ntc lmbda=0.01"]
TOKENS = ["vqvae codebook=8", "fsq codebook=8"]


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def some_images(count: int = 6) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8), generator=noise())


def trained(model: str, **changes: Any) -> tuple[list[float], TrialResult]:
    course = training.train(trial_config(model=model, **changes), tiny_images())
    objectives = []
    while True:
        try:
            objectives.append(next(course).val_objective)
        except StopIteration as stop:
            return objectives, stop.value


@pytest.mark.parametrize("model", RATED)
def test_training_lowers_the_models_own_objective_and_its_file_rebuilds_it(
    model: str, tmp_path: Path
) -> None:
    objectives, result = trained(model, latent_dim=4, epochs=8)
    assert objectives[-1] < objectives[0]
    assert result.val_objective == pytest.approx(objectives[-1])
    file = tmp_path / "model.safetensors"
    file.write_bytes(result.weights)
    network = models.load(file)
    images = tiny_images()
    rebuilt = models.TrainedAutoencoder(network).reconstruct(images.test.x_NCHW.numpy())
    mse = float(((rebuilt - images.test.x_NCHW.numpy() / 255) ** 2).mean())
    assert mse == pytest.approx(result.test_mse, rel=1e-4)
    again = network.rate([images.test.x_NCHW / 255], torch.Generator().manual_seed(0))
    assert again == pytest.approx(dict(result.rate), rel=1e-4)


@pytest.mark.parametrize("model", RATED)
def test_a_training_repeats_to_the_last_digit_and_leaves_the_callers_randomness_alone(
    model: str,
) -> None:
    state = torch.random.get_rng_state()
    first, again = (trained(model, latent_dim=3, epochs=2)[1] for _ in range(2))
    assert (first.test_mse, first.val_penalty, first.rate) == (
        again.test_mse,
        again.val_penalty,
        again.rate,
    )
    assert first.weights == again.weights
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("model", RATED)
def test_decoding_the_code_is_reconstructing(model: str) -> None:
    network = models.build(model, latent_dim=3, image_shape=(1, 8, 8)).eval()
    x_BCHW = some_images()
    with torch.inference_mode():
        z_BD = network.encode(x_BCHW)
        assert z_BD.shape == (6, network.latent_width)
        torch.testing.assert_close(network.decode(z_BD), network(x_BCHW))
        first = network.training_pass(x_BCHW, noise())
        second = network.training_pass(x_BCHW, noise())
    torch.testing.assert_close(first.y_BCHW, second.y_BCHW)


@pytest.mark.parametrize("model", RATED)
def test_a_pass_in_bf16_trains_on_a_code_in_float32(model: str) -> None:
    network = models.build(model, latent_dim=3, image_shape=(1, 8, 8))
    for _ in range(2):  # a codebook begins with the first batch, and learns from the second on
        with torch.autocast("cpu", torch.bfloat16):
            told = network.training_pass(some_images(), noise())
        (told.y_BCHW.float().mean() + told.penalty).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert network.encode(some_images()).dtype == torch.float32


@pytest.mark.parametrize("model", RATED)
def test_validation_tells_the_error_and_what_the_objective_adds(model: str) -> None:
    images = tiny_images().val
    x_NCHW = images.x_NCHW
    network = models.build(model, latent_dim=3, image_shape=tuple(x_NCHW.shape[1:]), seed=1)
    told = validation(network, images, precision=training.FP32)
    assert network.training, "the mode is left as it was"
    plain = mean_squared_error(network, images, precision=training.FP32)
    assert told.mse == pytest.approx(plain, rel=1e-5)
    network.eval()
    with torch.inference_mode():
        x_BCHW = x_NCHW / 255
        one = network.training_pass(x_BCHW, noise())
    objective = float((one.y_BCHW - x_BCHW).square().mean() + one.penalty)
    assert told.mse + told.penalty == pytest.approx(objective, rel=1e-4)


def test_divergence_is_that_of_torchs_distributions() -> None:
    mean_BD, log_variance_BD = torch.randn((2, 5, 3), generator=noise()).unbind(0)
    posterior = Posterior(mean_BD, log_variance_BD)
    exact = kl_divergence(Normal(mean_BD, (log_variance_BD / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.divergence_nats(), exact)
    draws = torch.stack([posterior.sample(g) for g in [noise()] for _ in range(4000)])
    torch.testing.assert_close(draws.mean(dim=0), mean_BD, atol=0.15, rtol=0)
    torch.testing.assert_close(draws.std(dim=0), (log_variance_BD / 2).exp(), rtol=0.06, atol=0)


def test_the_objective_of_a_vae_is_half_a_squared_error_and_beta_times_the_divergence() -> None:
    network = models.build("vae beta=0.3", latent_dim=3, image_shape=(1, 8, 8)).eval()
    x_BCHW = some_images()
    with torch.inference_mode():
        told = network.training_pass(x_BCHW, noise())
        posterior = network.posterior(x_BCHW)
        half_errors_B = (told.y_BCHW - x_BCHW).square().sum(dim=(1, 2, 3)) / 2
        objective = (half_errors_B + 0.3 * posterior.divergence_nats().sum(dim=1)).mean()
        mse = (told.y_BCHW - x_BCHW).square().mean()
    torch.testing.assert_close(mse + told.penalty, objective / 32)


def test_a_rate_of_a_vae_is_its_divergence_in_bits() -> None:
    network = models.build("vae", latent_dim=3, image_shape=(1, 8, 8)).eval()
    with torch.inference_mode():
        x_BCHW = some_images()
        rate = network.rate(x_BCHW.split(2), noise())
        nats = network.posterior(x_BCHW).divergence_nats().sum(dim=1).mean().item()
    assert rate["bits"] == pytest.approx(nats / math.log(2), rel=1e-5)
    assert 0 <= rate["active_latents"] <= 3


@pytest.mark.slow
def test_a_large_beta_collapses_the_posterior_and_none_leaves_an_autoencoder() -> None:
    _, collapsed = trained("vae beta=1000", latent_dim=4, epochs=60)
    _, free = trained("vae beta=0", latent_dim=4, epochs=60)
    _, plain = trained("conv", latent_dim=4, epochs=60)
    assert collapsed.rate["bits"] < 0.5
    assert free.rate["active_latents"] == 4
    assert free.val_penalty < 0.1 * free.val_mse
    assert free.test_mse < 1.3 * plain.test_mse < 0.8 * collapsed.test_mse


def test_samples_of_the_prior_are_images() -> None:
    network = models.build("vae", latent_dim=3, image_shape=(1, 8, 8)).eval()
    with torch.inference_mode():
        x_NCHW = network.sample(5, noise())
        assert torch.equal(x_NCHW, network.sample(5, noise()))
    assert x_NCHW.shape == (5, 1, 8, 8)
    assert x_NCHW.std(dim=0).max() > 0


@pytest.mark.parametrize("model", TOKENS)
def test_tokens_are_whole_numbers_below_the_codebook_and_carry_the_image(model: str) -> None:
    network = models.build(model, latent_dim=5, image_shape=(1, 8, 8)).eval()
    x_BCHW = some_images(40)
    with torch.inference_mode():
        index_BD = network.tokens(x_BCHW)
        z_BD = network.encode(x_BCHW)
        rate = network.rate([x_BCHW], noise())
    assert index_BD.shape == (40, 5)
    assert 0 <= int(index_BD.min()) <= int(index_BD.max()) < 8
    # Equal tokens are equal numbers, and different ones are not.
    pairs = {
        (int(index), tuple(numbers))
        for index, numbers in zip(
            index_BD.flatten(), z_BD.view(200, network.token_width).tolist(), strict=True
        )
    }
    assert len(pairs) == len({index for index, _ in pairs}) == len({code for _, code in pairs})
    assert rate["bits"] == 5 * 3
    assert rate["dead_codes"] == 8 - len(pairs)
    assert rate["entropy_bits"] <= 15 + 1e-9
    assert 1 <= rate["perplexity"] <= len(pairs) + 1e-9


@pytest.mark.parametrize("model", TOKENS)
def test_gradients_pass_straight_through_to_the_encoder(model: str) -> None:
    network = models.build(model, latent_dim=2, image_shape=(1, 8, 8))
    network(some_images()).sum().backward()
    gradient = next(network.encoder.parameters()).grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_decoding_takes_what_lies_between_codes_for_the_nearest() -> None:
    for model in TOKENS:
        network = models.build(model, latent_dim=2, image_shape=(1, 8, 8)).eval()
        with torch.inference_mode():
            z_BD = network.encode(some_images())
            torch.testing.assert_close(network.decode(z_BD + 1e-3), network.decode(z_BD))


def test_codes_of_a_vqvae_are_means_of_what_is_assigned_to_them_and_dead_ones_begin_anew() -> None:
    network = models.build("vqvae codebook=4", latent_dim=1, image_shape=(1, 8, 8))
    centres_KE = 10 * torch.eye(8)[:4]
    generator = noise()
    for _ in range(400):
        which_B = torch.randint(4, (32,), generator=generator)
        z_BDE = centres_KE[which_B, None] + 0.1 * torch.randn((32, 1, 8), generator=generator)
        network.learn(z_BDE, network.quantise(z_BDE).index_BD, generator)
    found = network.quantise(centres_KE[:, None])
    assert sorted(found.index_BD.flatten().tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(
        network.nearest(centres_KE[:, None])[:, 0], centres_KE, atol=0.3, rtol=0
    )


def test_a_codebook_begins_with_as_many_different_codes_as_there_are_tokens() -> None:
    network = models.build("vqvae codebook=64", latent_dim=2, image_shape=(1, 8, 8))
    z_BDE = torch.randn((40, 2, 8), generator=noise())
    network.learn(z_BDE, network.quantise(z_BDE).index_BD, noise())
    assert len(network.quantise(z_BDE).index_BD.unique()) == 64
    few_BDE = z_BDE[:8]  # 16 tokens for 64 codes: some begin at one token, and lie apart
    other = models.build("vqvae codebook=64", latent_dim=2, image_shape=(1, 8, 8))
    other.learn(few_BDE, other.quantise(few_BDE).index_BD, noise())
    assert len(other.codes_KE.unique(dim=0)) == 64


def test_tokens_are_found_and_learned_in_parts_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    z_BDE = torch.randn((50, 3, 8), generator=noise())

    def learned() -> tuple[torch.Tensor, torch.Tensor]:
        network = models.build("vqvae codebook=16", latent_dim=3, image_shape=(1, 8, 8))
        generator = noise()
        for _ in range(5):
            network.learn(z_BDE, network.quantise(z_BDE).index_BD, generator)
        return network.codes_KE, network.quantise(z_BDE).index_BD

    codes_KE, index_BD = learned()
    monkeypatch.setattr("ae_sweep.models.vqvae.MOST_DISTANCES", 16 * 7)
    codes_again_KE, index_again_BD = learned()
    torch.testing.assert_close(codes_again_KE, codes_KE)
    assert torch.equal(index_again_BD, index_BD)


def test_entropy_is_that_of_the_counts() -> None:
    counts_NK = torch.tensor([[4, 4, 0, 0], [1, 1, 1, 1], [7, 0, 0, 0]])
    assert entropy_bits(counts_NK).tolist() == pytest.approx([1.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("codebook", "levels"),
    [(2, [2]), (4, [4]), (8, [8]), (16, [4, 4]), (256, [8, 8, 4]), (1024, [8, 8, 4, 4])],
)
def test_a_grid_has_as_many_points_as_its_codebook(codebook: int, levels: list[int]) -> None:
    assert grid_levels(codebook) == levels
    assert math.prod(levels) == codebook


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fsq codebook=100", "must be a power of two, got 100; the next is 128"),
        ("vqvae codebook=1", "whole number from 2 to 65536, got 1$"),
        ("vqvae codebook=inf", "whole number from 2 to 65536, got inf"),
        ("vae beta=nan", "beta must be a finite number, at least 0, got nan"),
        ("vae beta=-1", "beta must be a finite number, at least 0, got -1"),
        ("vqvae codebook=2.5", "whole number from 2 to 65536, got 2.5"),
        ("conv beta=1", "model 'conv' has no setting 'beta=1'"),
        ("vae codebook=16", "model 'vae' has no setting 'codebook=16'"),
        ("ntc lmbda=0", "lmbda must be a finite number above 0, got 0"),
        ("ntc lmbda=inf", "lmbda must be a finite number above 0, got inf"),
        ("vae beta=much", "model 'vae' has no setting 'beta=much'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.build(model, latent_dim=2, image_shape=MNIST)


def test_a_models_default_setting_is_told() -> None:
    assert models.default_settings("conv") == ()
    for name, setting in (
        ("vae", "beta"),
        ("vqvae", "codebook"),
        ("fsq", "codebook"),
        ("ntc", "lmbda"),
    ):
        assert [each.name for each in models.default_settings(name)] == [setting]


@pytest.mark.parametrize("model", ["vae", "vqvae", "fsq", "ntc"])
def test_a_model_with_a_rate_cannot_be_nested(model: str) -> None:
    with pytest.raises(ConfigError, match="cannot be trained nested"):
        models.check_nested(model, dims=(2, 8), image_shape=MNIST)
