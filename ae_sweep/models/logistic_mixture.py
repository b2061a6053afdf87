"""Mixtures of logistic distributions, as probabilities of intervals of width 1.

Shapes: B batch, D latents, K components.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

COMPONENTS = 3
LEAST_STD = 0.1
"""Of the latents that a mixture starts from, in steps: narrower ones cost nothing either way."""
START_LOCATIONS = (-1.0, 0.0, 1.0)
"""Of the components of a fresh mixture, in standard deviations of the latent."""
START_SCALE = 0.35
"""In standard deviations of the latent; the mixture's variance is then 1.07 of the latent's."""
LEAST_SCALE = 1e-3
"""In steps: a latent that is always rounded to the same number asks for an ever smaller one."""
GAIN = 10.0
"""Of the parameters: the optimiser's steps are sized for weights, and a few hundred of them must
fit a distribution."""


class LogisticMixtures(nn.Module):
    """An independent mixture of logistic distributions for each latent.

    Parameters
    ----------
    latent_dim
        D.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        # Vectors, which no optimiser takes for matrices of weights, to orthogonalise or to decay.
        self.logits = nn.Parameter(torch.zeros(latent_dim * COMPONENTS))
        self.locations = nn.Parameter(torch.zeros(latent_dim * COMPONENTS))
        self.log_scales = nn.Parameter(torch.zeros(latent_dim * COMPONENTS))
        self.start(torch.ones(latent_dim))

    @torch.no_grad()
    def start(self, std_D: Tensor) -> None:
        """Begin anew for latents of mean 0 and these standard deviations."""
        std_D1 = std_D.clamp(min=LEAST_STD)[:, None]
        location_DK = std_D1 * torch.tensor(START_LOCATIONS, device=std_D.device)
        log_scale_DK = (START_SCALE * std_D1).log().expand_as(location_DK)
        self.logits.zero_()
        self.locations.copy_(location_DK.flatten() / GAIN)
        self.log_scales.copy_(log_scale_DK.flatten() / GAIN)

    @property
    def component_log_weights(self) -> Tensor:
        """Logarithms of the components' shares, D×K."""
        return _by_latent(self.logits).log_softmax(dim=1)

    @property
    def component_locations(self) -> Tensor:
        """Means of the components, D×K."""
        return _by_latent(self.locations)

    @property
    def component_scales(self) -> Tensor:
        """Scales of the components, D×K: standard deviations times √3/π."""
        return LEAST_SCALE + _by_latent(self.log_scales).exp()

    def bits(self, y_BD: Tensor) -> Tensor:
        """Return −log2 of the probability of the interval of width 1 around each number, B×D.

        A logistic distribution gives the interval from a to b the probability
        σ(b) − σ(a) = σ(b)·σ(−a)·(1 − exp(a − b)), whose logarithm has no difference of nearly
        equal numbers, so that neither value nor gradient is lost far out.
        """
        centred_BDK = y_BD.float()[..., None] - self.component_locations
        scale_DK = self.component_scales
        log_probability_BDK = (
            logsigmoid((centred_BDK + 0.5) / scale_DK)
            + logsigmoid((0.5 - centred_BDK) / scale_DK)
            + torch.log(-torch.expm1(-1 / scale_DK))
        )
        return (self.component_log_weights + log_probability_BDK).logsumexp(dim=2) / -math.log(2)

    def sample(self, count: int, noise: torch.Generator) -> Tensor:
        """Draw numbers of the mixtures, count×D, not rounded."""
        weight_DK = self.component_log_weights.exp()
        component_DN = torch.multinomial(weight_DK, count, replacement=True, generator=noise)
        uniform_DN = torch.rand(component_DN.shape, generator=noise, device=weight_DK.device)
        location_DN, scale_DN = (
            each_DK.gather(1, component_DN)
            for each_DK in (self.component_locations, self.component_scales)
        )
        return (location_DN + scale_DN * torch.logit(uniform_DN, eps=1e-6)).T


def _by_latent(parameter: Tensor) -> Tensor:
    return GAIN * parameter.view(-1, COMPONENTS)
