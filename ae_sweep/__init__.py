"""ae-sweep measures the rate-distortion trade-off of autoencoders with tracked sweeps.

``run_sweep`` runs one, ``load_sweep`` opens a stored one; ``ae-sweep`` is the command line.
"""

from ae_sweep.api import (
    Sweep,
    SweepSettings,
    iter_sweep,
    list_sweeps,
    load_sweep,
    plan_sweep,
    run_sweep,
)
from ae_sweep.config import Choices, Range
from ae_sweep.version import __version__

__all__ = [
    "Choices",
    "Range",
    "Sweep",
    "SweepSettings",
    "__version__",
    "iter_sweep",
    "list_sweeps",
    "load_sweep",
    "plan_sweep",
    "run_sweep",
]
