"""What a codec needs of networks: the decoder's metric, tokens, images of bytes, drawn codes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from ae_sweep import models
from ae_sweep.analysis import as_bytes
from ae_sweep.errors import ConfigError
from ae_sweep.models import coding
from ae_sweep.models.narrow import NarrowConv2d

SHAPE = (1, 8, 8)
NAMES = ("conv", "mlp", "vae", "vqvae codebook=8", "fsq codebook=8")


def trained(name: str, latent_dim: int = 4) -> models.TrainedAutoencoder:
    network = models.build(name, latent_dim=latent_dim, image_shape=SHAPE, seed=3)
    return models.TrainedAutoencoder(network.eval())


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def codes(model: models.TrainedAutoencoder, x_NCHW: np.ndarray) -> np.ndarray:
    return model.encode(x_NCHW) if model.codebook is None else model.tokens(x_NCHW)


def decoded(model: models.TrainedAutoencoder, codes_ND: np.ndarray) -> np.ndarray:
    return np.concatenate(list(model.decode_to_bytes(codes_ND)))


@pytest.mark.parametrize("name", [pytest.param("conv", marks=pytest.mark.slow), "mlp"])
def test_the_metric_is_the_mean_of_the_products_of_jacobians(name: str) -> None:
    model = trained(name)
    z_ND = model.encode(images(5))
    exact_DD = np.zeros((4, 4))
    for z_D in torch.from_numpy(z_ND):
        jacobian = torch.autograd.functional.jacobian(
            lambda z_1D: model.network.decode(z_1D).flatten(), z_D[None]
        )[:, 0].numpy()
        exact_DD += jacobian.T @ jacobian / 5
    metric_DD = model.metric(z_ND)
    scale_D = np.sqrt(np.diag(exact_DD))
    assert np.abs((metric_DD - exact_DD) / np.outer(scale_D, scale_D)).max() < 0.1
    assert np.array_equal(metric_DD, model.metric(z_ND)), "the same on every call"


def test_the_metric_leaves_weights_and_random_state_as_they_were() -> None:
    model = trained("mlp")
    state = torch.random.get_rng_state()
    model.metric(model.encode(images(3)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(each.grad is None for each in model.network.parameters())


@pytest.mark.usefixtures("two_threads")
def test_work_side_by_side_computes_with_one_thread_each_and_leaves_torch_as_it_was() -> None:
    together = threading.Barrier(2, timeout=10)

    def threads_of(_: int) -> int:
        together.wait()
        return torch.get_num_threads()

    assert list(coding.side_by_side(threads_of, range(4))) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2
    started: list[int] = []
    later = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert started == [2], "threads that start later have as many as before"


@pytest.mark.usefixtures("two_threads")
def test_codes_and_metric_are_those_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "LEAST_DIRECTIONS", 450)
    monkeypatch.setattr(coding, "MOST_DIRECTIONS", 450)
    model = trained("conv")
    x_NCHW = images(250)
    codes_ND, metric_DD = model.codes(x_NCHW), model.metric(model.encode(x_NCHW[:9]))
    torch.set_num_threads(1)
    assert np.allclose(codes_ND, model.codes(x_NCHW), atol=1e-5)
    assert np.allclose(metric_DD, model.metric(model.encode(x_NCHW[:9])), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)])
def test_a_fused_network_decodes_and_encodes_what_the_network_does(
    shape: tuple[int, int, int],
) -> None:
    network = models.build("conv", latent_dim=4, image_shape=shape, seed=3)
    with torch.inference_mode():
        for _ in range(3):
            network.train()(torch.rand(16, *shape))  # means and variances that are not 0 and 1
        network.eval()
        faster = coding.fused(network)
        x_BCHW = torch.rand(5, *shape)
        z_BD = network.encode(x_BCHW)
        assert torch.allclose(faster.encode(x_BCHW), z_BD, atol=1e-4)
        assert torch.allclose(faster.decode(z_BD), network.decode(z_BD), atol=1e-5)
    by_taps = [each for each in faster.modules() if isinstance(each, NarrowConv2d)]
    assert [each.always_by_taps for each in by_taps] == [shape[0] == 1]
    assert not any(
        each.always_by_taps for each in network.modules() if isinstance(each, NarrowConv2d)
    ), "training and evaluation compute as before"


@pytest.mark.parametrize("name", NAMES)
def test_images_of_bytes_are_those_of_the_floats_and_alike_in_any_company(name: str) -> None:
    model = trained(name)
    x_NCHW = images(130)
    codes_ND = codes(model, x_NCHW)
    together = decoded(model, codes_ND)
    assert together.dtype == np.uint8
    assert together.shape == x_NCHW.shape
    difference = together.astype(int) - as_bytes(model.reconstruct(x_NCHW))
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-3
    for part in (slice(0, 1), slice(7, 9), slice(99, 130)):
        assert np.array_equal(decoded(model, codes_ND[part]), together[part])


@pytest.mark.parametrize("name", NAMES[3:])
def test_tokens_are_indices_of_the_codes_that_encode_returns(name: str) -> None:
    model = trained(name)
    x_NCHW = images(20)
    tokens_ND = model.tokens(x_NCHW)
    assert (tokens_ND.dtype, tokens_ND.shape) == (np.int32, (20, 4))
    assert model.codebook == 8
    network = model.network
    assert isinstance(network, models.tokens.TokenAutoencoder)
    codes_NDE = network.codes(torch.from_numpy(tokens_ND).long())
    assert np.allclose(codes_NDE.detach().flatten(1).numpy(), model.encode(x_NCHW))


def test_every_token_of_a_grid_is_the_index_of_its_own_code() -> None:
    network = trained("fsq codebook=64").network
    assert isinstance(network, models.tokens.TokenAutoencoder)
    every_BD = torch.arange(64).reshape(16, 4)
    squashed_BDE = network.codes(every_BD)
    # The inverse of tanh, but for the levels at -1 and 1.
    again = network.quantise(torch.atanh(squashed_BDE * 0.999)).index_BD
    assert torch.equal(again, every_BD)


def test_what_does_not_fit_is_refused() -> None:
    conv, fsq = trained("conv"), trained("fsq codebook=8")
    with pytest.raises(ConfigError, match="latents must be N×4, got 2×5"):
        conv.decode_to_bytes(np.zeros((2, 5), np.float32))
    with pytest.raises(ConfigError, match="at least one image"):
        conv.metric(np.zeros((0, 4), np.float32))
    with pytest.raises(ConfigError, match="not tokens"):
        conv.tokens(images(1))
    with pytest.raises(ConfigError, match="draws no codes"):
        conv.draw(images(1))
    with pytest.raises(ConfigError, match="tokens have no metric"):
        fsq.metric(np.zeros((2, 4), np.float32))
    with pytest.raises(ConfigError, match="tokens must be from 0 to 7, got 0 to 8"):
        fsq.decode_to_bytes(np.array([[0, 1, 2, 8]]))
    with pytest.raises(ConfigError, match="tokens must be N×4"):
        fsq.decode_to_bytes(np.zeros((2, 3), np.int32))


def test_drawn_codes_cost_their_divergence() -> None:
    model = trained("vae")
    x_NCHW = images(30)
    bits = np.concatenate([bits_B for bits_B, _ in model.draw(x_NCHW)])
    batch = torch.from_numpy(x_NCHW).float() / 255
    with torch.inference_mode():
        measured = model.network.rate([batch], torch.Generator().manual_seed(0))
    assert bits.mean() == pytest.approx(measured["bits"])
    first, again = (next(model.draw(x_NCHW))[1] for _ in range(2))
    assert np.array_equal(first, again)


def test_a_fused_network_is_the_same_function_and_the_other_stays_as_it_was() -> None:
    model = trained("conv")
    network = model.network
    layers = list(map(type, network.modules()))
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):  # as after a training
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    faster = models.coding.fused(network)
    assert torch.nn.BatchNorm2d not in list(map(type, faster.modules()))
    assert list(map(type, network.modules())) == layers
    x_BCHW = torch.from_numpy(images(9)).float() / 255
    with torch.inference_mode():
        assert torch.allclose(faster.encode(x_BCHW), network.encode(x_BCHW), atol=1e-6)
        assert torch.allclose(faster(x_BCHW), network(x_BCHW), atol=1e-6)


def test_a_decoder_needs_all_but_the_encoder() -> None:
    model = trained("mlp")
    encoder = sum(each.nbytes for each in model.network.encoder.state_dict().values())
    assert model.decoder_bytes == model.weight_bytes - encoder
