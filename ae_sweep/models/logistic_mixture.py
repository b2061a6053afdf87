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
        self.logit_DK = nn.Parameter(torch.zeros(latent_dim, COMPONENTS))
        self.location_DK = nn.Parameter(torch.zeros(latent_dim, COMPONENTS))
        self.log_scale_DK = nn.Parameter(torch.zeros(latent_dim, COMPONENTS))
        self.start(torch.ones(latent_dim))

    @torch.no_grad()
    def start(self, std_D: Tensor) -> None:
        """Begin anew for latents of mean 0 and these standard deviations."""
        std_D1 = std_D.clamp(min=LEAST_STD)[:, None]
        locations_K = torch.tensor(START_LOCATIONS, device=std_D.device)
        self.logit_DK.zero_()
        self.location_DK.copy_(locations_K * std_D1 / GAIN)
        self.log_scale_DK.copy_((START_SCALE * std_D1).log().expand_as(self.log_scale_DK) / GAIN)

    def bits(self, y_BD: Tensor) -> Tensor:
        """Return −log2 of the probability of the interval of width 1 around each number, B×D.

        A logistic distribution gives the interval from a to b the probability
        σ(b) − σ(a) = σ(b)·σ(−a)·(1 − exp(a − b)), whose logarithm has no difference of nearly
        equal numbers, so that neither value nor gradient is lost far out.
        """
        centred_BDK = y_BD.float()[..., None] - GAIN * self.location_DK
        inverse_scale_DK = (-GAIN * self.log_scale_DK).exp()
        high_BDK = (centred_BDK + 0.5) * inverse_scale_DK
        low_BDK = (centred_BDK - 0.5) * inverse_scale_DK
        width_DK = torch.log(-torch.expm1(-inverse_scale_DK))
        log_probability_BDK = logsigmoid(high_BDK) + logsigmoid(-low_BDK) + width_DK
        log_weight_DK = (GAIN * self.logit_DK).log_softmax(dim=1)
        return (log_weight_DK + log_probability_BDK).logsumexp(dim=2) / -math.log(2)

    def sample(self, count: int, noise: torch.Generator) -> Tensor:
        """Draw numbers of the mixtures, count×D, not rounded."""
        device, shape = self.logit_DK.device, (count, len(self.logit_DK))
        weight_DK = (GAIN * self.logit_DK).softmax(dim=1)
        component_DN = torch.multinomial(weight_DK, count, replacement=True, generator=noise)
        location_ND = GAIN * self.location_DK.gather(1, component_DN).T
        scale_ND = (GAIN * self.log_scale_DK.gather(1, component_DN).T).exp()
        uniform_ND = torch.rand(shape, generator=noise, device=device)
        return location_ND + scale_ND * torch.logit(uniform_ND, eps=1e-6)
