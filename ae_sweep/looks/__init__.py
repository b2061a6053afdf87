"""Looks into a trained sweep: measured and drawn from its models, and put on its runs in MLflow."""

from ae_sweep.looks.identity import IdentityTest, identity_test
from ae_sweep.looks.interpolation import interpolation
from ae_sweep.looks.latents import (
    MeasuredSpace,
    keep_spaces,
    latent_plane,
    latent_spaces,
    meaning,
    spaces_document,
)
from ae_sweep.looks.manifold import manifold
from ae_sweep.looks.reconstructions import reconstructions
from ae_sweep.looks.samples import prior_samples

__all__ = [
    "IdentityTest",
    "MeasuredSpace",
    "identity_test",
    "interpolation",
    "keep_spaces",
    "latent_plane",
    "latent_spaces",
    "manifold",
    "meaning",
    "prior_samples",
    "reconstructions",
    "spaces_document",
]
