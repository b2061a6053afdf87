"""Nonlinear transform coding: an autoencoder trained for the rate of its rounded latents.

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
from ae_sweep.models.logistic_mixture import LogisticMixtures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLAIN_SHARE = 0.4
"""Share of the schedule in which the model is trained as a plain autoencoder (docs/LOG.md)."""
MEASURED_STEPS = 32
"""Of those, the last in which the latents are measured, from which the transform is made."""
STEP_PER_LMBDA = 6 / math.log(2)
"""Square of the step over lambda. Rounding to steps of s, if fine, adds the squared error s²/12 to
each latent and takes log2 s from its bits: another s gains nothing where s²·ln 2 / 6 is lambda."""
LEAST_SHARE = 1e-4
"""Added to the diagonals of measured matrices, as a share of its mean: they may be singular."""


class Moments(NamedTuple):
    """Sums over training images."""

    images: Tensor
    z_D: Tensor
    zz_DD: Tensor
    metric_DD: Tensor
    """Of gᵀg, with g a random combination of the gradients of a rebuilt image's numbers."""


class TransformCoder(Autoencoder):
    """An autoencoder whose latents are rounded to whole numbers and coded under a learned prior.

    Nonlinear transform coding (Ballé et al. 2017, arXiv:1611.01704): it minimises, for an image x
    and its latents y, ‖x − decode(y + u)‖² + λ·bits(y + u). The uniform noise u in ±½ stands for
    rounding while training; bits are those of a mixture of logistic distributions for each latent.
    Here that is divided by the image's numbers, so that its first term is the mean squared error
    per number that every model has.

    The first part of a training has neither noise nor rate. Then the latents are moved into their
    Karhunen-Loève transform in the decoder's metric, scaled so that rounding suits λ: see
    `metric_transform`. This replaces a start from an autoencoder that was trained before.

    Parameters
    ----------
    lmbda
        λ: squared error of an image, of pixels in [0, 1], that is worth a bit.

    Raises
    ------
    ConfigError
        If lmbda is not finite and above 0, or the shape that of no image.
    """

    trained_by_mse_alone: ClassVar[bool] = False
    draws_codes: ClassVar[bool] = True
    has_prior: ClassVar[bool] = True
    rounds_latents: ClassVar[bool] = True

    def __init__(self, *, latent_dim: int, image_shape: ImageShape, lmbda: float) -> None:
        super().__init__(
            encoder=conv_encoder(outputs=latent_dim, image_shape=image_shape),
            decoder=conv_decoder(inputs=latent_dim, image_shape=image_shape),
            latent_dim=latent_dim,
            image_shape=image_shape,
        )
        if not 0 < lmbda < math.inf:
            raise ConfigError(f"lmbda must be a finite number above 0, got {lmbda:g}")
        self.lmbda = lmbda
        self.prior = LogisticMixtures(latent_dim)
        self.register_buffer("mean_D", torch.zeros(latent_dim))
        self.register_buffer("analysis_DD", torch.eye(latent_dim))
        self.register_buffer("synthesis_DD", torch.eye(latent_dim))
        self.mean_D: Tensor
        self.analysis_DD: Tensor
        self.synthesis_DD: Tensor
        self._plain = False
        self._measures = False
        self._moments: Moments | None = None

    def begin_step(self, step: int, total_steps: int) -> None:
        """Train plainly at first; from the first step after that on, for the rate."""
        switch = min(round(PLAIN_SHARE * total_steps), total_steps - 1)
        self._plain = step < switch
        self._measures = max(switch - MEASURED_STEPS, 0) <= step < switch
        if step == switch and self._moments is not None:
            self._set_transform(self._moments)
            self._moments = None

    def training_state(self) -> dict[str, Tensor]:
        """Return what was measured of the latents so far."""
        return {} if self._moments is None else self._moments._asdict()

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on measuring the latents."""
        names = Moments._fields
        self._moments = Moments(*(tensors[name].clone() for name in names)) if tensors else None

    def encode_unrounded(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to latents before they are rounded, in steps, B×D."""
        z_BD: Tensor = self.encoder(x_BCHW).float()
        with torch.autocast(z_BD.device.type, enabled=False):
            return (z_BD - self.mean_D) @ self.analysis_DD

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to latents that are whole numbers, B×D."""
        y_BD = self.encode_unrounded(x_BCHW)
        return y_BD if self._plain else y_BD.round()

    def decode(self, z_BD: Tensor) -> Tensor:
        """Rebuild images in [0, 1], B×C×H×W, from latents, which need not be whole numbers."""
        with torch.autocast(z_BD.device.type, enabled=False):
            moved_BD = z_BD.float() @ self.synthesis_DD + self.mean_D
        return super().decode(moved_BD)

    def training_pass(self, x_BCHW: Tensor, noise: torch.Generator) -> TrainingPass:
        """Rebuild images from latents with noise; the penalty is their weighted rate."""
        y_BD = self.encode_unrounded(x_BCHW)
        if self._plain:
            rebuilt_BCHW = self.decode(y_BD)
            if self._measures and self.training:
                self._measure(y_BD, rebuilt_BCHW, noise)
            return TrainingPass(rebuilt_BCHW)
        uniform_BD = torch.rand(
            y_BD.shape, generator=noise, device=y_BD.device, dtype=torch.float32
        )
        noisy_BD = y_BD + uniform_BD - 0.5
        bits = self.prior.bits(noisy_BD).sum(dim=1).mean()
        numbers = math.prod(self.image_shape)
        return TrainingPass(self.decode(noisy_BD), penalty=self.lmbda / numbers * bits)

    def rate(self, batches: Iterable[Tensor], noise: torch.Generator) -> dict[str, float]:  # noqa: ARG002
        """Estimate the rate of the rounded latents.

        Returns
        -------
        dict
            ``bits``: −log2 of the probability that the prior gives the rounded latents of an
            image, mean over images. An estimate: what a coder needs is measured after training.
            ``mse``: of the images rebuilt from rounded latents.
            ``silent_latents``: how many of D are rounded to the same number for all images.
        """
        bits, errors, lowest, highest = [], [], [], []
        for x_BCHW in batches:
            y_BD = self.encode(x_BCHW)
            bits.append(self.prior.bits(y_BD).double().sum(dim=1))
            rebuilt_BCHW = self.decode(y_BD)
            error_BCHW = mse_loss(rebuilt_BCHW, x_BCHW, reduction="none")
            errors.append(error_BCHW.double().mean(dim=(1, 2, 3)))
            lowest.append(y_BD.amin(dim=0))
            highest.append(y_BD.amax(dim=0))
        silent_D = torch.stack(highest).amax(dim=0) == torch.stack(lowest).amin(dim=0)
        return {
            "bits": torch.cat(bits).mean().item(),
            "mse": torch.cat(errors).mean().item(),
            "silent_latents": float(silent_D.sum().item()),
        }

    def sample(self, count: int, noise: torch.Generator) -> Tensor:
        """Sample latents from the prior and decode them, count×C×H×W in [0, 1]."""
        return self.decode(self.prior.sample(count, noise).round())

    def _measure(self, z_BD: Tensor, rebuilt_BCHW: Tensor, noise: torch.Generator) -> None:
        """Add a batch to the moments from which the transform is made.

        The mean of JᵀJ, with J the decoder's Jacobian, is that of gᵀg for g = vᵀJ and v of
        independent normal numbers.
        """
        v_BCHW = torch.randn(
            rebuilt_BCHW.shape, generator=noise, device=z_BD.device, dtype=torch.float32
        )
        (g_BD,) = torch.autograd.grad(
            rebuilt_BCHW, z_BD, v_BCHW.to(rebuilt_BCHW.dtype), retain_graph=True
        )
        # On the CPU, since not every device has float64; it is a few small matrices.
        z_BD, g_BD = z_BD.detach().cpu().double(), g_BD.cpu().double()
        images = torch.tensor(float(len(z_BD)))
        batch = Moments(images, z_BD.sum(dim=0), z_BD.T @ z_BD, g_BD.T @ g_BD)
        before = self._moments
        self._moments = batch if before is None else Moments(*map(torch.add, before, batch))

    @torch.no_grad()
    def _set_transform(self, moments: Moments) -> None:
        if not all(each.isfinite().all() for each in moments):
            return  # the training has diverged, which its losses show as well
        mean_D = moments.z_D / moments.images
        covariance_DD = moments.zz_DD / moments.images - torch.outer(mean_D, mean_D)
        transform = metric_transform(covariance_DD, moments.metric_DD / moments.images)
        step = math.sqrt(STEP_PER_LMBDA * self.lmbda)
        self.mean_D.copy_(mean_D)
        self.analysis_DD.copy_(transform.analysis_DD / step)
        self.synthesis_DD.copy_(transform.synthesis_DD * step)
        self.prior.start((transform.std_D / step).float())


class MetricTransform(NamedTuple):
    """A linear map of centred latents, rows times ``analysis_DD``, and its inverse."""

    analysis_DD: Tensor
    synthesis_DD: Tensor
    std_D: Tensor
    """Standard deviations of the transformed latents, descending."""


def metric_transform(covariance_DD: Tensor, metric_DD: Tensor) -> MetricTransform:
    """Return the Karhunen-Loève transform of latents in the decoder's metric.

    With G the metric and W the eigenvectors of G^½·Cov·G^½ it is G^½·W: transformed latents are
    not correlated, and an error of a given size in any of them changes the image by as much.

    Parameters
    ----------
    covariance_DD
        Of the latents.
    metric_DD
        Mean of JᵀJ, with J the decoder's Jacobian.
    """
    values_D, vectors_DD = torch.linalg.eigh(_regular(metric_DD))
    root_DD = (vectors_DD * values_D.sqrt()) @ vectors_DD.T
    inverse_root_DD = (vectors_DD / values_D.sqrt()) @ vectors_DD.T
    variance_D, rotation_DD = torch.linalg.eigh(root_DD @ _regular(covariance_DD) @ root_DD)
    rotation_DD = rotation_DD.flip(1)
    return MetricTransform(
        analysis_DD=root_DD @ rotation_DD,
        synthesis_DD=rotation_DD.T @ inverse_root_DD,
        std_D=variance_D.clamp(min=0).sqrt().flip(0),
    )


def _regular(matrix_DD: Tensor) -> Tensor:
    """Return a matrix with a little more on its diagonal, so that it has an inverse."""
    mean = matrix_DD.diagonal().mean()
    least = LEAST_SHARE * mean + torch.finfo(torch.float32).tiny
    return matrix_DD + least * torch.eye(len(matrix_DD), device=matrix_DD.device)


def transform_coder(
    *, latent_dim: int, image_shape: ImageShape, lmbda: float = 0.1
) -> TransformCoder:
    """Build a nonlinear transform coder from the reference's layers.

    Parameters
    ----------
    latent_dim
        Width of the bottleneck.
    image_shape
        Channels, height and width.
    lmbda
        Squared error of an image that is worth a bit.

    Raises
    ------
    ConfigError
        If lmbda is invalid, or the shape that of no image.
    """
    return TransformCoder(latent_dim=latent_dim, image_shape=image_shape, lmbda=lmbda)
