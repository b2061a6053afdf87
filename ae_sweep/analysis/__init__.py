"""Analysis: arrays and records in, records out; no file, no print, no plot."""

from ae_sweep.analysis.curve import FinishedTrial, Frontier, FrontierPoint, frontier
from ae_sweep.analysis.distortion import Refusal, psnr_db
from ae_sweep.analysis.document import to_document, to_table
from ae_sweep.analysis.knee import Knee, find_knee
from ae_sweep.analysis.power_law import PowerLaw, fit_power_law

__all__ = [
    "FinishedTrial",
    "Frontier",
    "FrontierPoint",
    "Knee",
    "PowerLaw",
    "Refusal",
    "find_knee",
    "fit_power_law",
    "frontier",
    "psnr_db",
    "to_document",
    "to_table",
]
