"""Base class of every model: an encoder to a code and a decoder back to an image.

Shapes: B batch, C channels, H height, W width, D latent_dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

ImageShape = tuple[int, int, int]
"""Channels, height, width."""
INFERENCE_BATCH = 500
"""Images to run through a network at a time where no gradient is needed; fewer if larger than
32×32."""
INFERENCE_PIXELS = INFERENCE_BATCH * 32 * 32


class TrainingPass(NamedTuple):
    """The terms of the objective: the mean squared error of ``y_BCHW`` plus ``penalty``."""

    y_BCHW: Tensor
    penalty: Tensor | float = 0.0
    """A scalar, already weighted against the mean squared error per pixel."""


class Autoencoder(nn.Module):
    """An encoder and a decoder around a bottleneck; trained by the mean squared error alone.

    A model with another objective, or whose code has a rate in bits, is a subclass.

    Parameters
    ----------
    encoder
        Maps B×C×H×W images in [0, 1] to B×D latents.
    decoder
        Maps B×D latents to B×C×H×W images in [0, 1].
    latent_dim
        D.
    image_shape
        C, H and W.
    """

    trained_by_mse_alone: ClassVar[bool] = True
    draws_codes: ClassVar[bool] = False
    """Whether ``training_pass`` rebuilds images from drawn codes, and ``forward`` does not."""
    has_prior: ClassVar[bool] = False
    """Whether codes can be sampled without an image."""
    rounds_latents: ClassVar[bool] = False
    """Whether ``encode`` rounds to whole numbers, those of ``encode_unrounded``: a quantiser of
    step 1 is part of the model, whose decoder is trained for it."""

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, latent_dim: int, image_shape: ImageShape
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.image_shape = image_shape

    def sample(self, count: int, noise: torch.Generator) -> Tensor:
        """Sample codes from the prior and decode them, count×C×H×W in [0, 1].

        Raises
        ------
        NotImplementedError
            For a model without a prior; see ``has_prior``.
        """
        raise NotImplementedError

    @property
    def inference_batch(self) -> int:
        """How many images to run through it at a time where no gradient is needed."""
        _, height, width = self.image_shape
        return max(1, min(INFERENCE_BATCH, INFERENCE_PIXELS // (height * width)))

    @property
    def latent_width(self) -> int:
        """How many numbers ``encode`` returns for an image and ``decode`` takes."""
        return self.latent_dim

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to latents, B×latent_width."""
        z_BD: Tensor = self.encoder(x_BCHW)
        return z_BD

    def encode_unrounded(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to latents before any rounding, B×latent_width.

        Other than what ``encode`` returns only where ``rounds_latents``.
        """
        return self.encode(x_BCHW)

    def decode(self, z_BD: Tensor) -> Tensor:
        """Rebuild images in [0, 1], B×C×H×W, from latents."""
        x_BCHW: Tensor = self.decoder(z_BD)
        return x_BCHW

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Rebuild images from their latents."""
        return self.decode(self.encode(x_BCHW))

    def begin_step(self, step: int, total_steps: int) -> None:
        """Prepare for a training step; for a model whose objective changes along the schedule.

        Without it, as after the last step, a model is what it is at the end of a training.

        Parameters
        ----------
        step
            Number of the step that follows, from 0.
        total_steps
            Length of the schedule.
        """

    def training_state(self) -> dict[str, Tensor]:
        """Return what the model keeps between steps beside its parameters and persistent buffers.

        A checkpoint holds it, so that an interrupted training ends as an undisturbed one would.
        """
        return {}

    def load_training_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `training_state` returned, on any device.

        Raises
        ------
        KeyError
            If something is missing.
        """

    def training_pass(self, x_BCHW: Tensor, noise: torch.Generator) -> TrainingPass:  # noqa: ARG002
        """Rebuild images for the training objective.

        Parameters
        ----------
        noise
            The only source of randomness, on the model's device.
        """
        return TrainingPass(self(x_BCHW))

    def rate(self, batches: Iterable[Tensor], noise: torch.Generator) -> dict[str, float]:  # noqa: ARG002
        """Measure the rate of the code of some images.

        Parameters
        ----------
        batches
            Batches of images, B×C×H×W in [0, 1].
        noise
            The only source of randomness, on the model's device.

        Returns
        -------
        dict
            ``bits`` per image, ``mse``, the mean squared error at that rate, and further measures
            of how the code is used. Empty for latents that are real numbers: these have no rate.
        """
        return {}
