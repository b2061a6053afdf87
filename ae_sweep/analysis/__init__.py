"""Analysis: arrays and records in, records out; no file, no print, no plot."""

from ae_sweep.analysis.byte_distortion import byte_errors, mean_image_psnr
from ae_sweep.analysis.classifier import Classifier, agreement, fit_classifier
from ae_sweep.analysis.copy_test import (
    Pca,
    ProbeResult,
    fit_pca,
    linear_is_better,
    probe_result,
    probes,
    verdict,
)
from ae_sweep.analysis.dimension_estimates import (
    DimensionEstimates,
    components_for,
)
from ae_sweep.analysis.distortion import NotApplicable, mse_of_psnr, psnr_db
from ae_sweep.analysis.document import table_rows, to_document, to_table
from ae_sweep.analysis.frontier import (
    FinishedTrial,
    Frontier,
    frontier,
    listed_conditions,
)
from ae_sweep.analysis.frontier_points import FrontierPoint
from ae_sweep.analysis.gallery import (
    SAMPLE_NUMBERS,
    as_bytes,
    evenly_spaced,
    first_of_each,
    images_within,
    sample_of,
    squared_errors,
    worst,
)
from ae_sweep.analysis.intrinsic_dimension import (
    IntrinsicDimension,
    NeighbourDimension,
    intrinsic_dimension,
    participation_ratio,
)
from ae_sweep.analysis.knee import Knee, find_knee
from ae_sweep.analysis.latent_paths import LatentGrid, LatentPlane, grid, line, plane
from ae_sweep.analysis.latent_space import (
    Labels,
    LatentSpace,
    Overlap,
    latent_space,
    too_few_classes,
)
from ae_sweep.analysis.linear import linear_errors, worse_than_linear
from ae_sweep.analysis.neighbour_map import neighbour_map
from ae_sweep.analysis.power_law import PowerLaw, fit_power_law
from ae_sweep.analysis.principal_components import PrincipalComponents
from ae_sweep.analysis.quality_dimension import QualityDimension, quality_dimensions
from ae_sweep.analysis.rate import code_use, efficient, mse_at_rate
from ae_sweep.analysis.rate_choice import choose_point, efficient_on_validation
from ae_sweep.analysis.rate_comparison import (
    RateComparison,
    SweepRates,
    is_bound,
    is_lossless,
    sweep_rates,
)
from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.analysis.rates_document import rates_document
from ae_sweep.analysis.rows import TRIAL_KEYS, TRIAL_MEASURES, trial_rows
from ae_sweep.analysis.side_information import (
    COUNTS as SIDE_COUNTS,
)
from ae_sweep.analysis.side_information import (
    Payoff,
    amortised_bits,
    best_payoff,
    decoder_bytes,
    payoff,
    side_bytes,
)
from ae_sweep.analysis.spectrum import Spectrum, spectrum
from ae_sweep.analysis.time_sharing import bits_for, mse_within

__all__ = [
    "SAMPLE_NUMBERS",
    "SIDE_COUNTS",
    "TRIAL_KEYS",
    "TRIAL_MEASURES",
    "Classifier",
    "CurveKind",
    "DimensionEstimates",
    "FinishedTrial",
    "Frontier",
    "FrontierPoint",
    "IntrinsicDimension",
    "Knee",
    "Labels",
    "LatentGrid",
    "LatentPlane",
    "LatentSpace",
    "NeighbourDimension",
    "NotApplicable",
    "Overlap",
    "Payoff",
    "Pca",
    "PowerLaw",
    "PrincipalComponents",
    "ProbeResult",
    "QualityDimension",
    "RateComparison",
    "RateCurve",
    "RatePoint",
    "Spectrum",
    "SweepRates",
    "agreement",
    "amortised_bits",
    "as_bytes",
    "best_payoff",
    "bits_for",
    "byte_errors",
    "choose_point",
    "code_use",
    "components_for",
    "decoder_bytes",
    "efficient",
    "efficient_on_validation",
    "evenly_spaced",
    "find_knee",
    "first_of_each",
    "fit_classifier",
    "fit_pca",
    "fit_power_law",
    "frontier",
    "grid",
    "images_within",
    "intrinsic_dimension",
    "is_bound",
    "is_lossless",
    "latent_space",
    "line",
    "linear_errors",
    "linear_is_better",
    "listed_conditions",
    "mean_image_psnr",
    "mse_at_rate",
    "mse_of_psnr",
    "mse_within",
    "neighbour_map",
    "participation_ratio",
    "payoff",
    "plane",
    "probe_result",
    "probes",
    "psnr_db",
    "quality_dimensions",
    "rates_document",
    "sample_of",
    "side_bytes",
    "spectrum",
    "squared_errors",
    "sweep_rates",
    "table_rows",
    "to_document",
    "to_table",
    "too_few_classes",
    "trial_rows",
    "verdict",
    "worse_than_linear",
    "worst",
]
