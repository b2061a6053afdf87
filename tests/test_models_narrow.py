"""The narrow convolution is torch's own, computed another way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ae_sweep.models.narrow import NarrowConv2d


@pytest.fixture(params=[1, 3], ids=["grey", "rgb"])
def pair(request) -> tuple[NarrowConv2d, nn.Conv2d]:
    generator = torch.Generator().manual_seed(0)
    narrow = NarrowConv2d(8, request.param)
    plain = nn.Conv2d(8, request.param, kernel_size=3, padding=1)
    for parameter in narrow.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    plain.load_state_dict(narrow.state_dict())
    return narrow, plain


def images(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x_BCHW = torch.randn(5, 8, 6, 10, generator=torch.Generator().manual_seed(1))
    return x_BCHW.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_result_and_gradients_are_those_of_a_plain_convolution(pair, dtype, tolerance):
    narrow, plain = pair
    x, exact_x = images(dtype), images()
    y, exact_y = narrow(x), plain(exact_x)
    direction = torch.randn(exact_y.shape, generator=torch.Generator().manual_seed(2))
    y.backward(direction)
    exact_y.backward(direction)
    assert y.dtype == torch.float32
    for got, expected in [
        (y, exact_y),
        (x.grad, exact_x.grad),
        (narrow.weight.grad, plain.weight.grad),
        (narrow.bias.grad, plain.bias.grad),
    ]:
        error = (got.float() - expected).norm() / expected.norm()
        assert error < tolerance


def test_its_gradient_keeps_the_layout_convolutions_are_fastest_with(pair):
    narrow, _ = pair
    x = images()
    narrow(x).sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_autocast_changes_neither_the_dtype_of_the_result_nor_of_the_gradients(pair):
    narrow, _ = pair
    x = images(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = narrow(x)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, narrow.weight.grad.dtype) == (
        torch.float32,
        torch.bfloat16,
        torch.float32,
    )


def test_inference_is_bit_for_bit_a_plain_convolution(pair):
    narrow, plain = pair
    with torch.inference_mode():
        assert torch.equal(narrow(images()), plain(images()))
