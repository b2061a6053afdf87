"""Inspections of a trained sweep: numbers, findings and figures from its models, as values.

An inspection only reads. `log` is what writes: it puts a value on the sweep's runs in MLflow.
"""

from ae_sweep.inspection.copy_test import IdentityTest, identity_test
from ae_sweep.inspection.interpolation import Interpolation, interpolation
from ae_sweep.inspection.latents import (
    LatentSpaces,
    MeasuredSpace,
    latent_plane,
    latent_spaces,
)
from ae_sweep.inspection.linear_references import PcaPoint
from ae_sweep.inspection.manifold import Manifold, manifold
from ae_sweep.inspection.reconstructions import Reconstructions, reconstructions
from ae_sweep.inspection.references import (
    REFERENCES,
    References,
    chosen_references,
    references,
)
from ae_sweep.inspection.result import Drawing, ImageGrid, Inspection, log
from ae_sweep.inspection.samples import PriorSamples, prior_samples

__all__ = [
    "REFERENCES",
    "Drawing",
    "IdentityTest",
    "ImageGrid",
    "Inspection",
    "Interpolation",
    "LatentSpaces",
    "Manifold",
    "MeasuredSpace",
    "PcaPoint",
    "PriorSamples",
    "Reconstructions",
    "References",
    "chosen_references",
    "identity_test",
    "interpolation",
    "latent_plane",
    "latent_spaces",
    "log",
    "manifold",
    "prior_samples",
    "reconstructions",
    "references",
]
