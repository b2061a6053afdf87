"""Owns what every model is: an encoder to latent_dim numbers and a decoder back to an image.

Shapes: B batch, C channels, H height, W width, D latent_dim.
"""

from __future__ import annotations

from torch import Tensor, nn

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


class Autoencoder(nn.Module):
    """An encoder and a decoder around a bottleneck.

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

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, latent_dim: int, image_shape: ImageShape
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = latent_dim
        self.image_shape = image_shape

    def encode(self, x_BCHW: Tensor) -> Tensor:
        """Compress images in [0, 1] to latents, B×D."""
        z_BD: Tensor = self.encoder(x_BCHW)
        return z_BD

    def decode(self, z_BD: Tensor) -> Tensor:
        """Rebuild images in [0, 1], B×C×H×W, from latents."""
        x_BCHW: Tensor = self.decoder(z_BD)
        return x_BCHW

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Rebuild images from their latents."""
        return self.decode(self.encode(x_BCHW))
