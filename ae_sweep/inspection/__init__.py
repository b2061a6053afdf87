"""Looks into a trained sweep: measured and drawn from its models, and put on its runs in MLflow."""

from ae_sweep.inspection.copy_test import IdentityTest, identity_test
from ae_sweep.inspection.interpolation import interpolation
from ae_sweep.inspection.latents import (
    MeasuredSpace,
    keep_spaces,
    latent_plane,
    latent_spaces,
    meaning,
    spaces_document,
)
from ae_sweep.inspection.manifold import manifold
from ae_sweep.inspection.reconstructions import reconstructions
from ae_sweep.inspection.samples import prior_samples

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
