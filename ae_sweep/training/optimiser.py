"""The optimiser: Muon for the matrices of a model, Adam for everything else.

Shapes: R rows (outputs) and S columns (inputs times kernel taps) of a weight seen as a matrix.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ae_sweep.models.factored import FactoredLinear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ae_sweep.training.recipe import Recipe

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial that drives singular values towards 1 quickest (Jordan et al. 2024)."""
NEWTON_SCHULZ_STEPS = 5
MIN_CHANNELS = 16
"""Of a weight that Muon takes, in and out: with fewer, Adam learned better (docs/LOG.md)."""
MAX_SHORT_SIDE = 256
"""Of a matrix that Muon takes as a whole: its work grows with the square of that side, and at 1,024
it would cost several times the rest of a step."""

MOST_SAMPLES = 128
"""Of a batch, in one iteration on factors; of a larger batch, parts are averaged."""

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")
"""torch's names."""


class MuonAndAdam:
    """Muon (Jordan et al. 2024) for the hidden matrices and convolutions, Adam for the rest.

    Muon steps along the momentum with all its singular values set to about 1, so that rare
    directions learn as fast as common ones. It takes the linear layers and the convolutions between
    16 channels and more; of wider ones than 256, the layers that keep the factors of their
    gradients. Adam takes biases, BatchNorm and the rest.

    Parameters
    ----------
    model
        Its trainable parameters are optimised; the others are left alone.
    recipe
        Decay rates, and Muon's learning rate relative to Adam's.
    weight_decay
        Decoupled (AdamW, Loshchilov and Hutter 2019): a step with Adam's learning rate lr first
        multiplies every weight of two or more dimensions by 1 - lr * weight_decay, whichever
        optimiser it belongs to. Biases and the gains of norms are not decayed.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, weight_decay: float = 0.0) -> None:
        self.recipe = recipe
        self.weight_decay = weight_decay
        wide = list(_wide_layers(model)) if recipe.wide_in_factors else []
        for layer in model.modules():
            if isinstance(layer, FactoredLinear):
                layer.keeps_factors = layer in wide
        self.matrices: list[_Matrix | _WideMatrix] = [
            *(_Matrix(weight) for weight in _muon_weights(model)),
            *(_WideMatrix(layer) for layer in wide),
        ]
        taken = {id(matrix.weight) for matrix in self.matrices}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
        # As a group: a model may have nothing that Muon does not take.
        self.adam = torch.optim.Adam([{"params": rest}], betas=recipe.betas, fused=True)
        self.trained = [*rest, *(matrix.weight for matrix in self.matrices)]
        self.decayed = [parameter for parameter in self.trained if parameter.ndim > 1]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Take one step with Adam's learning rate ``lr``, then forget the gradients."""
        if self.weight_decay:
            for parameter in self.decayed:
                parameter.mul_(1 - lr * self.weight_decay)
        self.adam.param_groups[0]["lr"] = lr
        self.adam.step()
        for matrix in self.matrices:
            matrix.step(lr * self.recipe.muon_lr_ratio, momentum=self.recipe.muon_momentum)
        for parameter in self.trained:
            parameter.grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """Return what is kept between steps, by name: momenta, and Adam's moments and steps.

        A parameter that has had no gradient yet has none in Adam.
        """
        momenta = {f"muon.{i}": matrix.momentum for i, matrix in enumerate(self.matrices)}
        moments = {
            f"adam.{i}.{name}": value
            for i, parameter in enumerate(self._adam_parameters)
            for name, value in self.adam.state.get(parameter, {}).items()
        }
        return momenta | moments

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state_tensors` returned for an equal model.

        Raises
        ------
        KeyError
            If a name is unknown, or a momentum is missing.
        RuntimeError
            If a tensor has another shape.
        """
        left = dict(tensors)
        for i, matrix in enumerate(self.matrices):
            matrix.momentum.copy_(_same_shape(left.pop(f"muon.{i}"), matrix.momentum))
        for i, parameter in enumerate(self._adam_parameters):
            if f"adam.{i}.step" not in left:
                continue
            step = torch.empty((), dtype=torch.float32, device=parameter.device)
            state = {"step": step.copy_(_same_shape(left.pop(f"adam.{i}.step"), step))}
            for name in ADAM_MOMENTS:
                # Laid out as the parameter is: sums are taken in the order of memory.
                moment = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state[name] = moment.copy_(_same_shape(left.pop(f"adam.{i}.{name}"), moment))
            self.adam.state[parameter] = state
        if left:
            raise KeyError(next(iter(left)))

    @property
    def _adam_parameters(self) -> list[Tensor]:
        parameters: list[Tensor] = self.adam.param_groups[0]["params"]
        return parameters


def _same_shape(tensor: Tensor, wanted: Tensor) -> Tensor:
    # `copy_` would broadcast a smaller one.
    if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
        raise RuntimeError(f"{tensor.dtype} {tuple(tensor.shape)}, not {tuple(wanted.shape)}")
    return tensor


class _Weight(NamedTuple):
    """A parameter that is a matrix, possibly of kernels."""

    parameter: Tensor
    inputs_first: bool
    """Whether its first dimension is that of the inputs, as in a transposed convolution."""


class _Matrix:
    """A weight that Muon optimises, with its momentum."""

    def __init__(self, weight: _Weight) -> None:
        self.weight, self.inputs_first = weight.parameter, weight.inputs_first
        self.momentum = torch.zeros_like(self.weight)

    def step(self, lr: float, *, momentum: float) -> None:
        gradient = self.weight.grad
        if gradient is None:
            return
        self.momentum.lerp_(gradient, 1 - momentum)
        direction = gradient.lerp_(self.momentum, momentum)  # Nesterov's look ahead
        outputs_first = direction.transpose(0, 1) if self.inputs_first else direction
        matrix_RS = outputs_first.flatten(1)
        rows, columns = matrix_RS.shape
        update = orthogonalise(matrix_RS).view(outputs_first.shape)
        scale = lr * max(1.0, rows / columns) ** 0.5
        self.weight.sub_(
            update.transpose(0, 1) if self.inputs_first else update,
            alpha=_finite(scale),
        )


class _WideMatrix:
    """The weight of a layer that is too wide for Muon as a whole, with its momentum.

    The gradient of each batch is orthogonalised in its factors, and then averaged: the other way
    round the average has all directions, and there are no factors of few.
    """

    def __init__(self, layer: FactoredLinear) -> None:
        self.weight, self._factors = layer.weight, layer.factors
        self.momentum = torch.zeros_like(self.weight)

    def step(self, lr: float, *, momentum: float) -> None:
        """Step along the momentum; the fewer directions a batch has, the further along each."""
        if self.weight.grad is not None:
            raise RuntimeError(
                "the weight of a FactoredLinear has a gradient of its own: use it by calling the "
                "layer alone, or take nn.Linear"
            )
        if not self._factors:
            return
        left_BR, right_BS = (torch.cat(each) for each in zip(*self._factors, strict=True))
        self._factors.clear()
        left_BR, right_BS = left_BR.float(), right_BS.float()
        parts = len(left_BR.split(MOST_SAMPLES))
        levelled_BS = torch.cat(
            [
                orthogonal_factor(left, right)
                for left, right in zip(
                    left_BR.tensor_split(parts), right_BS.tensor_split(parts), strict=True
                )
            ]
        )
        self.momentum.addmm_(left_BR.T, levelled_BS, beta=momentum, alpha=(1 - momentum) / parts)
        rows, columns = self.weight.shape
        directions = min(len(left_BR) / parts, rows, columns)
        scale = lr * max(1.0, rows / columns) ** 0.5 * (min(rows, columns) / directions) ** 0.5
        self.weight.sub_(self.momentum, alpha=_finite(scale))


def orthogonalise(matrix_RS: Tensor) -> Tensor:
    """Return the matrix with all its singular values set to about 1 (0.7 to 1.2).

    The Newton-Schulz iteration of Muon (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). All its iterates are polynomials of the Gram matrix
    times the matrix, so it runs on the Gram matrix alone, in float32: the long side of the matrix
    takes part in two products instead of ten.
    """
    tall = matrix_RS.shape[0] > matrix_RS.shape[1]
    gram = matrix_RS.T @ matrix_RS if tall else matrix_RS @ matrix_RS.T
    squared_norm = gram.diagonal().sum()
    gram = gram / (squared_norm + 1e-14)
    product = factor = _polynomial(gram)
    for _ in range(NEWTON_SCHULZ_STEPS - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        product = factor @ product
    product = product / (squared_norm.sqrt() + 1e-7)
    levelled_RS: Tensor = matrix_RS @ product if tall else product @ matrix_RS
    return levelled_RS


def orthogonal_factor(left_BR: Tensor, right_BS: Tensor) -> Tensor:
    """Replace the second factor of a matrix so that the matrix is orthogonalised, as above.

    The matrix is the product R×S of the first factor transposed and the second. It has no more
    directions than B, and each iterate is the product with a matrix B×B in between: the iteration
    runs on that one.
    """
    left_BB, right_BB = left_BR @ left_BR.T, right_BS @ right_BS.T
    squared_norm = (left_BB * right_BB).sum()
    left_BB = left_BB / (squared_norm + 1e-30)
    between_BB = torch.eye(len(left_BB), device=left_BB.device)
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = between_BB @ right_BB @ between_BB.T @ left_BB
        once = gram @ between_BB
        between_BB = a * between_BB + b * once + c * (gram @ once)
    factor_BS: Tensor = between_BB @ right_BS / (squared_norm.sqrt() + 1e-15)
    return factor_BS


def _polynomial(gram: Tensor) -> Tensor:
    """Return what a step of the iteration multiplies a matrix by."""
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


def _finite(scale: float) -> float:
    """Return a step's size as float32 can hold it, where the learning rate is absurd."""
    return min(scale, torch.finfo(torch.float32).max)


def _wide_layers(model: nn.Module) -> Iterator[FactoredLinear]:
    layers = [layer for layer in model.modules() if isinstance(layer, FactoredLinear)]
    uses = Counter(id(layer.weight) for layer in layers)
    for layer in layers:
        weight = layer.weight
        if weight.requires_grad and min(weight.shape) > MAX_SHORT_SIDE and uses[id(weight)] == 1:
            yield layer


def _muon_weights(model: nn.Module) -> Iterator[_Weight]:
    seen: set[int] = set()
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            if weight.requires_grad and id(weight) not in seen and _suits_muon(weight):
                seen.add(id(weight))
                yield _Weight(weight, inputs_first=isinstance(module, nn.ConvTranspose2d))


def _suits_muon(weight: Tensor) -> bool:
    if weight.ndim < 2 or min(weight.shape[:2]) < MIN_CHANNELS:
        return False
    return min(weight.shape[0], weight[0].numel()) <= MAX_SHORT_SIDE
