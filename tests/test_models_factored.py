"""A layer that leaves its weight's gradient in factors computes what torch's layer does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ae_sweep.models.factored import FactoredLinear


def layer(*, bias: bool = True) -> FactoredLinear:
    torch.manual_seed(0)
    return FactoredLinear(7, 5, bias=bias)


def test_by_itself_it_is_torchs_layer() -> None:
    ours = layer()
    torch.manual_seed(0)
    theirs = nn.Linear(7, 5)
    x = torch.randn(3, 7)
    assert torch.equal(ours(x), theirs(x))
    ours(x).sum().backward()
    assert ours.weight.grad is not None
    assert not ours.factors


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_the_product_of_the_factors_is_the_gradient(bias: bool, leading: tuple[int, ...]) -> None:
    plain, kept = layer(bias=bias), layer(bias=bias)
    kept.keeps_factors = True
    gradients = []
    for each in (plain, kept):
        x = torch.randn(*leading, 7, generator=torch.Generator().manual_seed(1)).requires_grad_()
        each(x).square().sum().backward()
        gradients.append((x.grad, each.bias.grad if bias else torch.zeros(1)))
    assert torch.allclose(gradients[0][0], gradients[1][0], rtol=1e-5)
    assert torch.allclose(gradients[0][1], gradients[1][1], rtol=1e-5)
    assert kept.weight.grad is None
    (factors,) = kept.factors
    product = factors.output_gradients_BR.T @ factors.inputs_BS
    assert torch.allclose(product, plain.weight.grad, rtol=1e-5)


def test_an_input_that_needs_no_gradient_has_none_and_the_weight_its_factors() -> None:
    kept = layer(bias=False)
    kept.keeps_factors = True
    kept(torch.randn(3, 7)).sum().backward()
    assert len(kept.factors) == 1


def test_in_bfloat16_all_factors_are_of_that_type() -> None:
    kept = layer()
    kept.keeps_factors = True
    x = torch.randn(3, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = kept(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    (factors,) = kept.factors
    assert (factors.output_gradients_BR.dtype, factors.inputs_BS.dtype) == (torch.bfloat16,) * 2
    assert x.grad is not None
    assert x.grad.dtype == kept.bias.grad.dtype == torch.float32


def test_without_gradients_nothing_is_kept() -> None:
    kept = layer()
    kept.keeps_factors = True
    with torch.no_grad():
        kept(torch.randn(3, 7))
    assert not kept.factors


def test_a_copy_keeps_its_own_factors() -> None:
    kept = layer()
    kept.keeps_factors = True
    other = copy.deepcopy(kept)
    kept(torch.randn(3, 7)).sum().backward()
    assert (len(kept.factors), len(other.factors)) == (1, 0)
