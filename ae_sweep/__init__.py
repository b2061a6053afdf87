"""ae-sweep measures the rate-distortion trade-off of autoencoders with tracked sweeps.

``run_sweep`` runs one, ``load_sweep`` opens a stored one; ``ae-sweep`` is the command line.
"""

import importlib
from typing import TYPE_CHECKING

from ae_sweep.api import (
    Sweep,
    SweepSettings,
    adopt_store,
    delete_sweep,
    diagnose,
    export_sweep,
    import_sweep,
    iter_sweep,
    list_sweeps,
    load_dataset,
    load_sweep,
    plan_sweep,
    run_sweep,
    sync,
)
from ae_sweep.config import Choices, Range
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from ae_sweep import inspection
    from ae_sweep.api.events import SweepPlanned, TrialEnded, TrialStarted, TrialValidated

__all__ = [
    "Choices",
    "Range",
    "Sweep",
    "SweepPlanned",
    "SweepSettings",
    "TrialEnded",
    "TrialStarted",
    "TrialValidated",
    "__version__",
    "adopt_store",
    "delete_sweep",
    "diagnose",
    "export_sweep",
    "import_sweep",
    "inspection",
    "iter_sweep",
    "list_sweeps",
    "load_dataset",
    "load_sweep",
    "plan_sweep",
    "run_sweep",
    "sync",
]


def __getattr__(name: str) -> object:
    # The events need Optuna and the inspections torch, which take seconds to import.
    if name == "inspection":
        return importlib.import_module("ae_sweep.inspection")
    if name in __all__:
        return getattr(importlib.import_module("ae_sweep.api.events"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
