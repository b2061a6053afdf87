"""Muon takes the matrices, Adam the rest, and neither touches what is frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ae_sweep import models, training
from ae_sweep.models.factored import FactoredLinear
from ae_sweep.training.optimiser import MuonAndAdam, orthogonal_factor, orthogonalise


def taken(latent_dim: int) -> set[str]:
    model = models.build("conv", latent_dim=latent_dim, image_shape=(1, 28, 28))
    optimiser = MuonAndAdam(model, training.RECIPE)
    by_muon = {id(matrix.weight) for matrix in optimiser.matrices}
    return {name for name, parameter in model.named_parameters() if id(parameter) in by_muon}


HIDDEN = {"encoder.3.weight", "encoder.6.weight", "decoder.2.weight", "decoder.5.weight"}
LINEAR = {"encoder.10.weight", "decoder.0.weight"}


@pytest.mark.parametrize(
    ("latent_dim", "expected"),
    [(2, HIDDEN), (15, HIDDEN), (16, HIDDEN | LINEAR), (257, HIDDEN | LINEAR)],
)
def test_muon_takes_hidden_convolutions_and_linear_layers_that_are_not_narrow(
    latent_dim: int, expected: set[str]
) -> None:
    assert taken(latent_dim) == expected


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 16), (32, 288)])
def test_orthogonalising_leaves_directions_and_levels_singular_values(shape) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    levelled = orthogonalise(matrix)
    assert levelled.shape == matrix.shape
    assert levelled.dtype == torch.float32
    values = torch.linalg.svdvals(levelled)
    assert (values.min() > 0.4, values.max() < 1.3) == (True, True)
    cosine = (levelled * (u @ v)).sum() / levelled.norm() / (u @ v).norm()
    assert cosine > 0.95


def test_it_is_muons_newton_schulz_iteration() -> None:
    matrix = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    assert torch.allclose(orthogonalise(matrix), x, atol=1e-4)


def test_a_matrix_of_few_directions_stays_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 2, generator=generator) @ torch.randn(2, 500, generator=generator)
    assert torch.linalg.matrix_norm(orthogonalise(matrix), 2) < 1.5


def test_orthogonalising_nothing_gives_nothing() -> None:
    assert not orthogonalise(torch.zeros(16, 20)).any()


def test_a_product_is_orthogonalised_in_its_factors_as_it_is_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    left_BR, right_BS = (
        torch.randn(12, 20, generator=generator),
        torch.randn(12, 50, generator=generator),
    )
    for size in (1e-12, 1e4):
        levelled = left_BR.T @ orthogonal_factor(size * left_BR, right_BS) * size
        assert torch.allclose(levelled, orthogonalise(left_BR.T @ right_BS), atol=2e-3)
    assert not orthogonal_factor(torch.zeros(4, 20), torch.zeros(4, 50)).any()


@pytest.mark.parametrize("bias", [True, False])
def test_a_wide_layer_learns_by_the_factors_of_its_gradient(bias: bool) -> None:
    torch.manual_seed(0)
    layer = FactoredLinear(300, 280, bias=bias)
    target_RS = torch.randn(280, 300) / 300**0.5
    optimiser = MuonAndAdam(nn.Sequential(layer), training.RECIPE)
    errors = []
    for step in range(60):
        x_BS = torch.randn(200, 300)  # in two parts
        loss = (layer(x_BS) - x_BS @ target_RS.T).square().mean()
        loss.backward()
        assert layer.weight.grad is None
        optimiser.step(6e-3 * (1 - step / 60))
        assert not layer.factors
        errors.append(loss.item())
    assert errors[-1] < errors[0] / 10


def test_the_recipe_of_version_0_1_0_leaves_wide_layers_to_adam() -> None:
    layer = FactoredLinear(300, 280)
    optimiser = MuonAndAdam(nn.Sequential(layer), training.RECIPES["2"])
    assert optimiser.matrices == []
    assert not layer.keeps_factors


def test_a_wide_weight_that_is_used_in_another_way_is_no_silent_loss() -> None:
    layer = FactoredLinear(300, 280)
    optimiser = MuonAndAdam(nn.Sequential(layer), training.RECIPE)
    (layer(torch.randn(4, 300)) @ layer.weight).sum().backward()
    with pytest.raises(RuntimeError, match="has a gradient of its own"):
        optimiser.step(1e-3)


def test_a_model_that_another_optimiser_takes_over_learns_by_that_ones_recipe() -> None:
    layer = FactoredLinear(300, 280)
    for version in ("3", "2"):
        optimiser = MuonAndAdam(nn.Sequential(layer), training.RECIPES[version])
        before = layer.weight.detach().clone()
        layer(torch.randn(4, 300)).square().sum().backward()
        optimiser.step(1e-3)
        assert not torch.equal(layer.weight, before)


def test_a_wide_weight_that_layers_share_learns_by_adam() -> None:
    one, other = FactoredLinear(300, 300), FactoredLinear(300, 300)
    other.weight = one.weight
    model = nn.Sequential(one, other)
    optimiser = MuonAndAdam(model, training.RECIPE)
    before = one.weight.detach().clone()
    model(torch.randn(4, 300)).square().sum().backward()
    optimiser.step(1e-3)
    assert not torch.equal(one.weight, before)


def test_a_wide_layers_momentum_is_kept_and_loaded() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        layer = FactoredLinear(300, 280)
        optimiser = MuonAndAdam(nn.Sequential(layer), training.RECIPE)
        states.append((layer, optimiser))
    (layer, optimiser), (other, others) = states
    x_BS = torch.randn(8, 300)
    layer(x_BS).square().mean().backward()
    optimiser.step(1e-3)
    others.load_state_tensors(optimiser.state_tensors())
    other.load_state_dict(layer.state_dict())
    for each, its in states:
        each(x_BS).square().mean().backward()
        its.step(1e-3)
    assert torch.equal(layer.weight, other.weight)


def test_a_step_moves_a_matrix_by_the_learning_rate_whatever_the_gradients_size() -> None:
    moved = []
    for size in (1e-6, 1e3):
        model = nn.Sequential(nn.Linear(32, 16))
        model[0].weight.grad = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
        model[0].weight.grad *= size
        model[0].bias.grad = torch.zeros(16)
        before = model[0].weight.detach().clone()
        MuonAndAdam(model, training.RECIPE).step(1e-3)
        moved.append(torch.linalg.matrix_norm(model[0].weight - before, 2).item())
    expected = 1e-3 * training.RECIPE.muon_lr_ratio
    assert moved == pytest.approx([expected, expected], rel=0.3)


def test_a_transposed_convolution_is_seen_with_its_outputs_as_rows() -> None:
    plain, transposed = nn.Conv2d(20, 16, 3), nn.ConvTranspose2d(20, 16, 3)
    transposed.weight.data = plain.weight.data.transpose(0, 1).clone()
    gradient = torch.randn(plain.weight.shape, generator=torch.Generator().manual_seed(0))
    for layer, its_gradient in ((plain, gradient), (transposed, gradient.transpose(0, 1))):
        layer.weight.grad = its_gradient.clone()
        layer.bias.grad = torch.zeros(16)
        MuonAndAdam(layer, training.RECIPE).step(0.1)
    assert torch.allclose(plain.weight, transposed.weight.transpose(0, 1), atol=1e-6)


def test_what_is_frozen_stays_and_gradients_are_forgotten() -> None:
    model = models.build("conv", latent_dim=16, image_shape=(1, 8, 8))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = MuonAndAdam(model, training.RECIPE)
    x_BCHW = torch.rand(4, 1, 8, 8)
    (model(x_BCHW) - x_BCHW).square().mean().backward()
    optimiser.step(1e-2)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name]) is not parameter.requires_grad, name


def test_weights_that_widths_share_are_optimised_once() -> None:
    network = models.NestedAutoencoder("conv", dims=(2, 30), image_shape=(1, 8, 8))
    optimiser = MuonAndAdam(network, training.RECIPE)
    trained = [id(parameter) for parameter in optimiser.trained]
    assert len(trained) == len(set(trained))
    assert set(trained) == {id(p) for p in network.parameters() if p.requires_grad}
    # Two hidden convolutions, two transposed ones, and the latents 3 to 30 in and out.
    assert len(optimiser.matrices) == 6
