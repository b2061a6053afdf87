"""Tables of every result, made once; terminal, CSV and the report print them."""

from ae_sweep.tables.dimensions import dimensions
from ae_sweep.tables.images import image_facts, spectrum
from ae_sweep.tables.inspected import copy_test, latent_spaces, overlaps
from ae_sweep.tables.rates import laws, left_out, payoffs, quality_at_rates, rate_points
from ae_sweep.tables.stored import (
    codes,
    files,
    frontier_table,
    importances,
    pairs,
    points,
    started,
    sweeps,
    trials,
)
from ae_sweep.tables.table import Column, Decibels, Share, Table
from ae_sweep.tables.targets import good_enough

__all__ = [
    "Column",
    "Decibels",
    "Share",
    "Table",
    "codes",
    "copy_test",
    "dimensions",
    "files",
    "frontier_table",
    "good_enough",
    "image_facts",
    "importances",
    "latent_spaces",
    "laws",
    "left_out",
    "overlaps",
    "pairs",
    "payoffs",
    "points",
    "quality_at_rates",
    "rate_points",
    "spectrum",
    "started",
    "sweeps",
    "trials",
]
