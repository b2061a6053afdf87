"""Variational autoencoder: a code whose rate is part of the objective.

Shapes: B batch, C channels, H height, W width, D latent_dim.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ae_sweep.errors import ConfigError
from ae_sweep.models.autoencoder import Autoencoder, ImageShape, TrainingPass
from ae_sweep.models.conv import conv_decoder, conv_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

LOG_VARIANCE_RANGE = (-20.0, 20.0)
"""Beyond it the standard deviation is meaningless in float32, and its square would overflow."""
ACTIVE_VARIANCE = 0.01
"""Variance over images above which the mean of a latent counts as informative (Burda et al. 2016,
arXiv:1509.00519)."""


class Posterior(NamedTuple):
    """Normal distributions with independent latents, one for each image."""

    mean_BD: Tensor
    log_variance_BD: Tensor

    def sample(self, noise: torch.Generator) -> Tensor:
        """Draw one code for each image, B×D."""
        epsilon_BD = torch.randn(
            self.mean_BD.shape, generator=noise, device=self.mean_BD.device, dtype=torch.float32
        )
        return self.mean_BD + (self.log_variance_BD / 2).exp() * epsilon_BD

    def divergence_nats(self) -> Tensor:
        """Return the Kullback-Leibler divergence from the standard normal prior, B×D, in nats.

        Kingma and Welling (2014, arXiv:1312.6114), appendix B.
        """
        variance_BD = self.log_variance_BD.exp()
        return (self.mean_BD.square() + variance_BD - 1 - self.log_variance_BD) / 2


class VariationalAutoencoder(Autoencoder):
    """A β-VAE (Higgins et al. 2017): each image becomes a normal distribution over codes.

    With a Gaussian likelihood of unit variance it minimises, for an image x and its code z,
    ½·‖x − decode(z)‖² + β·KL(q(z|x) ‖ N(0, I)); here that is divided by half the pixels, so that
    its first term is the mean squared error per pixel that every model has.

    Parameters
    ----------
    beta
        Weight of the KL term for a unit-variance Gaussian likelihood. With 0, an autoencoder with
        noise of learned scale remains.

    Raises
    ------
    ConfigError
        If beta is negative or not finite, or the shape that of no image.
    """

    trained_by_mse_alone: ClassVar[bool] = False
    draws_codes: ClassVar[bool] = True
    has_prior: ClassVar[bool] = True

    def __init__(self, *, latent_dim: int, image_shape: ImageShape, beta: float) -> None:
        super().__init__(
            encoder=conv_encoder(outputs=2 * latent_dim, image_shape=image_shape),
            decoder=conv_decoder(inputs=latent_dim, image_shape=image_shape),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )
        if not 0 <= beta < math.inf:
            raise ConfigError(f"beta must be a finite number, at least 0, got {beta:g}")
        self.beta = beta

    def posterior(self, x_BCHW: Tensor) -> Posterior:
        """Return the distribution over codes of each image."""
        mean_BD, log_variance_BD = self.encoder(x_BCHW).float().chunk(2, dim=1)
        return Posterior(mean_BD, log_variance_BD.clamp(*LOG_VARIANCE_RANGE))

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to the means of their distributions, B×D."""
        return self.posterior(x_BCHW).mean_BD

    def training_pass(self, x_BCHW: Tensor, noise: torch.Generator) -> TrainingPass:
        """Rebuild images from drawn codes; the penalty is their weighted divergence."""
        posterior = self.posterior(x_BCHW)
        nats = posterior.divergence_nats().sum(dim=1).mean()
        pixels = math.prod(self.image_shape)
        y_BCHW = self.decode(posterior.sample(noise))
        return TrainingPass(y_BCHW, penalty=2 * self.beta / pixels * nats)

    def rate(self, batches: Iterable[Tensor], noise: torch.Generator) -> dict[str, float]:
        """Measure the divergence of the codes from the prior.

        Returns
        -------
        dict
            ``bits``: the mean divergence per image. It is at least the mutual information of image
            and drawn code, so that (``bits``, ``mse``) is an upper bound on the
            rate-distortion function (Alemi et al. 2018, arXiv:1711.00464).
            ``mse``: of the images rebuilt from drawn codes, not from the means.
            ``active_latents``: how many of D are informative.
        """
        nats, errors, means = [], [], []
        for x_BCHW in batches:
            posterior = self.posterior(x_BCHW)
            nats.append(posterior.divergence_nats().double().sum(dim=1))
            y_BCHW = self.decode(posterior.sample(noise))
            errors.append(mse_loss(y_BCHW, x_BCHW, reduction="none").double().mean(dim=(1, 2, 3)))
            means.append(posterior.mean_BD)
        variance_D = torch.cat(means).double().var(dim=0)
        return {
            "bits": torch.cat(nats).mean().item() / math.log(2),
            "mse": torch.cat(errors).mean().item(),
            "active_latents": float((variance_D > ACTIVE_VARIANCE).sum().item()),
        }

    def sample(self, count: int, noise: torch.Generator) -> Tensor:
        """Sample codes from the prior and decode them, count×C×H×W in [0, 1]."""
        z_ND = torch.randn(count, self.latent_dim, generator=noise, device=noise.device)
        return self.decode(z_ND)


def variational_autoencoder(
    *, latent_dim: int, image_shape: ImageShape, beta: float = 0.1
) -> VariationalAutoencoder:
    """Build a variational autoencoder from the reference's layers.

    Parameters
    ----------
    latent_dim
        Width of the bottleneck.
    image_shape
        Channels, height and width.
    beta
        Weight of the rate.

    Raises
    ------
    ConfigError
        If beta is invalid, or the shape that of no image.
    """
    return VariationalAutoencoder(latent_dim=latent_dim, image_shape=image_shape, beta=beta)
