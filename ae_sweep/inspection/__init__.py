"""Inspections of a trained sweep: numbers, findings and figures from its models, as values.

An inspection only reads. `log` is what writes: it puts a value on the sweep's runs in MLflow.
"""

from ae_sweep.inspection.copy_test import IdentityTest, identity_test
from ae_sweep.inspection.decoding import (
    CodecOrigin,
    DecodedFile,
    InspectedFile,
    decode_file,
    inspect_file,
)
from ae_sweep.inspection.dim_statistics import curve_statistics
from ae_sweep.inspection.dimensions import Dimensions, dimensions, dimensions_of_sweep
from ae_sweep.inspection.encoding import (
    ChosenCodec,
    EncodedImages,
    check_choice,
    choose_codec,
    encode_images,
    encode_with,
    rates_to_choose_from,
)
from ae_sweep.inspection.interpolation import Interpolation, interpolation
from ae_sweep.inspection.latents import (
    LatentSpaces,
    MeasuredSpace,
    latent_plane,
    latent_spaces,
)
from ae_sweep.inspection.linear_references import PcaPoint
from ae_sweep.inspection.manifold import Manifold, manifold
from ae_sweep.inspection.rate_frontiers import (
    RateFrontier,
    rate_frontier,
    stored_rate_frontier,
    stored_rates,
)
from ae_sweep.inspection.rates import (
    MeasuredModel,
    MeasuredRates,
    RateProgress,
    iter_measured_rates,
    measured_rates,
)
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
    "ChosenCodec",
    "CodecOrigin",
    "DecodedFile",
    "Dimensions",
    "Drawing",
    "EncodedImages",
    "IdentityTest",
    "ImageGrid",
    "InspectedFile",
    "Inspection",
    "Interpolation",
    "LatentSpaces",
    "Manifold",
    "MeasuredModel",
    "MeasuredRates",
    "MeasuredSpace",
    "PcaPoint",
    "PriorSamples",
    "RateFrontier",
    "RateProgress",
    "Reconstructions",
    "References",
    "check_choice",
    "choose_codec",
    "chosen_references",
    "curve_statistics",
    "decode_file",
    "dimensions",
    "dimensions_of_sweep",
    "encode_images",
    "encode_with",
    "identity_test",
    "inspect_file",
    "interpolation",
    "iter_measured_rates",
    "latent_plane",
    "latent_spaces",
    "log",
    "manifold",
    "measured_rates",
    "prior_samples",
    "rate_frontier",
    "rates_to_choose_from",
    "reconstructions",
    "references",
    "stored_rate_frontier",
    "stored_rates",
]
