"""The kernels compute what torch does, whatever the shape, the type and the number of threads.

Shapes: B batch, C channels, H height, W width, O channels out (one), K sides of a kernel.
"""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ae_sweep.kernels import Kernels, kernels
from ae_sweep.models.factored import FactoredLinear
from ae_sweep.models.layer_kernels import use_kernels
from ae_sweep.models.narrow import NarrowConv2d
from ae_sweep.models.normalised import BatchNormReLU2d

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = {torch.float32: 4e-6, torch.bfloat16: 4e-3}
"""Relative to the norm: rounding of the result alone, as sums are taken in float."""
TYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["fp32", "bf16"])


@pytest.fixture
def ours() -> Kernels:
    found = kernels()
    if not found.used:
        pytest.skip(found.what)
    return found


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def features(shape: tuple[int, ...], dtype: torch.dtype, *, mean: float = 0.3) -> Tensor:
    x_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + mean
    return x_BCHW.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def error(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


class Normalised(NamedTuple):
    """What a step of BatchNorm and ReLU leaves behind."""

    y: Tensor
    mean: Tensor
    variance: Tensor
    x_gradient: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


def layer_of(channels: int) -> BatchNormReLU2d:
    noise = torch.Generator().manual_seed(1)
    layer = BatchNormReLU2d(channels)
    layer.weight.data = torch.rand(channels, generator=noise) + 0.5
    layer.bias.data = torch.randn(channels, generator=noise)
    return layer


def step(layer: nn.Module, norm: nn.BatchNorm2d, x: Tensor) -> Normalised:
    y = layer(x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    direction = direction.contiguous(memory_format=torch.channels_last).to(x.dtype)
    y.backward(direction.to(y.dtype))
    return Normalised(
        y.detach(), norm.running_mean, norm.running_var, x.grad, norm.weight.grad, norm.bias.grad
    )


@TYPES
@pytest.mark.parametrize(
    "shape",
    [(4, 32, 9, 5), (2, 128, 7, 7), (3, 96, 1, 2), (64, 64, 14, 14), (1, 32, 1, 2)],
    ids=str,
)
def test_batch_norm_with_relu_is_that_of_torch_in_double_precision(
    ours: Kernels, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    layer = layer_of(shape[1])
    exact_norm = nn.BatchNorm2d(shape[1]).double()
    exact_norm.load_state_dict(layer.state_dict())
    use_kernels(layer, ours)
    x = features(shape, dtype)
    assert ours.take(x, layer.weight)
    exact_x = x.detach().double().requires_grad_()
    got = step(layer, layer, x)
    expected = step(nn.Sequential(exact_norm, nn.ReLU()), exact_norm, exact_x)
    assert got.y.dtype == got.x_gradient.dtype == dtype
    assert got.y.is_contiguous(memory_format=torch.channels_last)
    for name, found, wanted in zip(Normalised._fields, got, expected, strict=True):
        # Of two pixels the gradient of one is that of the other, negative, but for eps.
        lenient = 50 if shape[0] * shape[2] * shape[3] == 2 else 1
        assert error(found, wanted) < lenient * TOLERANCE[dtype], name
    assert int(layer.num_batches_tracked) == 1


class _Kept(torch.autograd.Function):
    """Keeps the gradient that it returns."""

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, gradient):
        if not hasattr(ctx, "kept"):
            ctx.kept = gradient.clone()
        return ctx.kept


def test_a_gradient_that_others_may_see_is_not_overwritten(ours: Kernels) -> None:
    layer, plain = layer_of(32), layer_of(32)
    use_kernels(layer, ours)
    seen: dict[nn.Module, list[Tensor]] = {plain: [], layer: []}
    for each, found in seen.items():
        x, beside = features((2, 32, 4, 4), torch.float32), features((2, 32, 4, 4), torch.float32)
        y = each(x)
        y.register_hook(found.append)
        (y + beside).square().sum().backward()
        found.extend((x.grad, beside.grad))
        kept = _Kept.apply(each(x)).sum()
        for _ in range(2):
            found.extend(torch.autograd.grad(kept, x, retain_graph=True))
    for one, other in zip(seen[plain], seen[layer], strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("used_once", [True, False])
def test_a_gradient_is_overwritten_only_where_that_was_allowed(
    ours: Kernels, used_once: bool
) -> None:
    layer = BatchNormReLU2d(32, used_once=used_once)
    use_kernels(layer, ours)
    y = layer(features((2, 32, 4, 4), torch.float32))
    gradients: list[Tensor] = []
    y.register_hook(gradients.append)
    conv2d(y, torch.ones(1, 32, 1, 1)).sum().backward()
    assert torch.equal(gradients[0], torch.ones_like(y)) == (not used_once)


def test_the_wrong_number_of_channels_is_an_error_of_torch(ours: Kernels) -> None:
    layer = layer_of(32)
    use_kernels(layer, ours)
    with pytest.raises(RuntimeError, match="running_mean should contain 64 elements"):
        layer(features((2, 64, 4, 4), torch.float32))


def test_what_is_default_elsewhere_changes_nothing(
    ours: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for dtype, device in ((torch.float32, "cpu"), (torch.float64, "meta")):
        layers = nn.Sequential(layer_of(32), NarrowConv2d(32, 1))
        layers[1].weight.data.fill_(0.5)
        layers[1].bias.data.fill_(0.1)
        use_kernels(layers, ours)
        x = features((2, 32, 4, 4), torch.float32)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                y = layers(x)
                y.sum().backward()
        finally:
            torch.set_default_dtype(before)
        results.append((y, x.grad, layers[1].weight.grad))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_a_copy_trains_without_the_kernels_of_this_machine(ours: Kernels) -> None:
    layer = layer_of(32)
    use_kernels(layer, ours)
    copied = pickle.loads(pickle.dumps(layer))
    assert (layer.kernels, copied.kernels, copy.deepcopy(layer).kernels) == (ours, None, None)
    x = features((2, 32, 4, 4), torch.float32).detach()
    assert torch.allclose(copied(x), layer(x), atol=1e-5)


def test_the_variance_of_features_with_a_large_mean_is_not_lost(ours: Kernels) -> None:
    layer = layer_of(32)
    use_kernels(layer, ours)
    x = features((64, 32, 14, 14), torch.float32, mean=1_000.0)
    layer(x)
    expected = x.detach().double().transpose(0, 1).flatten(1).var(dim=1)
    moved = (layer.running_var.double() - 0.9) / 0.1
    assert torch.allclose(moved, expected, rtol=1e-4)


@TYPES
@pytest.mark.parametrize("size", [1e17, 1e19, 1e30])
def test_squares_may_be_beyond_a_float(ours: Kernels, dtype: torch.dtype, size: float) -> None:
    layer = layer_of(64)
    exact = nn.BatchNorm2d(64).double()
    exact.load_state_dict(layer.state_dict())
    use_kernels(layer, ours)
    x = (features((8, 64, 14, 14), torch.float32).detach() * size).to(dtype).requires_grad_()
    exact_x = x.detach().double().requires_grad_()
    y, expected = layer(x), torch.relu(exact(exact_x))
    for each in (y, expected):
        (each * torch.linspace(0, 1, 14)).sum().backward()
    assert error(y, expected) < TOLERANCE[dtype]
    assert error(layer.weight.grad, exact.weight.grad) < 10 * TOLERANCE[dtype]
    assert x.grad.isfinite().all()
    if size <= 1e17:
        assert error(x.grad, exact_x.grad) < 10 * TOLERANCE[dtype]


@pytest.mark.parametrize("size", [1e17, 1e30])
def test_a_batch_of_large_numbers_does_not_spoil_the_statistics(ours: Kernels, size: float) -> None:
    layer = layer_of(32)
    plain = copy.deepcopy(layer)
    use_kernels(layer, ours)
    x = features((8, 32, 14, 14), torch.float32).detach()
    for each in (layer, plain):
        each(x * size), each(x)
        each.eval()
    assert torch.allclose(layer.running_mean, plain.running_mean)
    assert torch.allclose(layer.running_var, plain.running_var), "infinite with both, or neither"
    assert torch.allclose(layer(x), plain(x))


@TYPES
def test_results_do_not_depend_on_the_number_of_threads(
    ours: Kernels, two_threads: None, dtype: torch.dtype
) -> None:
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        layer, narrow = layer_of(64), NarrowConv2d(64, 1)
        torch.manual_seed(0)
        narrow.reset_parameters()
        for each in (layer, narrow):
            use_kernels(each, ours)
        x = features((7, 64, 13, 11), dtype)
        narrow(layer(x)).square().sum().backward()
        results.append([x.grad, layer.weight.grad, narrow.weight.grad, layer.running_var])
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@TYPES
@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_hidden(ours: Kernels, dtype: torch.dtype, value: float) -> None:
    layer = layer_of(32)
    use_kernels(layer, ours)
    with torch.no_grad():
        x = features((2, 32, 4, 4), dtype).detach()
        x[1, 5, 2, 2] = value
        y = layer(x)
    assert y[:, 5].isnan().all()
    assert y[:, :5].isfinite().all()
    assert y[:, 6:].isfinite().all()


@TYPES
@pytest.mark.parametrize(
    "shape",
    [(3, 32, 28, 28), (2, 64, 7, 5), (1, 32, 1, 1), (2, 32, 1, 9), (1, 96, 6, 2), (2, 32, 3, 7)],
    ids=str,
)
def test_a_narrow_convolution_is_that_of_torch_in_double_precision(
    ours: Kernels, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = features(shape, dtype)
    weight = torch.randn((1, shape[1], 3, 3), generator=torch.Generator().manual_seed(3))
    weight.requires_grad_()
    exact_x, exact_weight = (each.detach().double().requires_grad_() for each in (x, weight))
    y, exact_y = ours.narrow_conv(x, weight), conv2d(exact_x, exact_weight, padding=1)
    direction = torch.randn(exact_y.shape, generator=torch.Generator().manual_seed(4))
    y.backward(direction)
    exact_y.backward(direction.double())
    assert y.dtype == weight.grad.dtype == torch.float32
    assert x.grad.dtype == dtype
    assert error(y, exact_y) < TOLERANCE[torch.float32]
    assert error(weight.grad, exact_weight.grad) < TOLERANCE[torch.float32]
    assert error(x.grad, exact_x.grad) < TOLERANCE[dtype]


@pytest.mark.parametrize("count", [0, 1, 31, 33, 8_191, 100_003])
def test_numbers_are_rounded_to_bfloat16_bit_for_bit_as_torch_does(
    ours: Kernels, two_threads: None, count: int
) -> None:
    bits = torch.randint(-(2**31), 2**31, (count,), generator=torch.Generator().manual_seed(5))
    x = bits.to(torch.int32).view(torch.float32)
    rounded, expected = ours.rounded(x, torch.bfloat16), x.to(torch.bfloat16)
    assert torch.equal(rounded.isnan(), expected.isnan())
    kept = ~expected.isnan()
    assert torch.equal(rounded[kept].view(torch.int16), expected[kept].view(torch.int16))


def test_special_numbers_are_rounded_as_torch_does(ours: Kernels) -> None:
    limits = torch.finfo(torch.float32)
    x = torch.tensor(
        [0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, limits.max, -limits.max, limits.tiny, 1e-45,
         float("inf"), -float("inf")]
    )  # fmt: skip
    found, expected = ours.rounded(x, torch.bfloat16), x.to(torch.bfloat16)
    assert torch.equal(found.view(torch.int16), expected.view(torch.int16))
    assert ours.rounded(torch.tensor([float("nan"), -float("nan")]), torch.bfloat16).isnan().all()


@pytest.mark.parametrize(
    "refused",
    [
        torch.zeros(2, 8, 4, 4).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 32, 4, 4),
        torch.zeros(2, 32, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
        torch.zeros(1, 32, 1, 1),
        torch.zeros(0, 32, 4, 4).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 32),
        torch.zeros(2, 32, 4, 4, device="meta").contiguous(memory_format=torch.channels_last),
    ],
    ids=["channels", "layout", "double", "one pixel", "none", "no image", "meta"],
)
def test_other_features_are_left_to_torch(ours: Kernels, refused: Tensor) -> None:
    assert not ours.take(refused, torch.ones(32))


def test_weights_of_another_type_are_left_to_torch(ours: Kernels) -> None:
    x = features((2, 32, 4, 4), torch.bfloat16)
    assert ours.take(x, torch.ones(32))
    assert not ours.take(x, torch.ones(32, dtype=torch.bfloat16))
    layers = nn.Sequential(layer_of(32), NarrowConv2d(32, 1)).bfloat16()
    use_kernels(layers, ours)
    assert layers(x).isfinite().all()


def test_layers_without_kernels_and_all_inference_are_torchs() -> None:
    layer = layer_of(32)
    plain = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU())
    plain[0].load_state_dict(layer.state_dict())
    x = features((2, 32, 4, 4), torch.float32).detach()
    assert torch.equal(layer(x), plain(x))
    use_kernels(layer, kernels())
    layer.eval(), plain.eval()
    with torch.inference_mode():
        assert torch.equal(layer(x.clone()), plain(x))
        narrow = NarrowConv2d(32, 1).eval()
        use_kernels(narrow, kernels())
        assert torch.equal(narrow(x), conv2d(x, narrow.weight, narrow.bias, padding=1))


def test_a_factored_layer_trains_alike_with_kernels(ours: Kernels) -> None:
    results = []
    for given in (None, ours):
        torch.manual_seed(0)
        layer = FactoredLinear(70, 50)
        layer.keeps_factors = True
        use_kernels(layer, given)
        x = torch.randn(3, 70, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.float().square().sum().backward()
        results.append([y.detach(), x.grad, layer.bias.grad])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
