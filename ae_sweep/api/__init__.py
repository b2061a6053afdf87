"""The Python interface: run a sweep, or open a stored one with its tables, images and models.

import ae_sweep

sweep = ae_sweep.run_sweep("digits", dims=[2, 8, 32], trials=3)
sweep.trials_table()               # one row per trial
sweep.frontier_figure()            # the rate-distortion curve
model = sweep.model(32)            # the best one with 32 latents
z = model.encode(sweep.dataset.test_NCHW[:10])
x = model.decode(z)
"""

from ae_sweep.api.archive import adopt_store, export_sweep, import_sweep
from ae_sweep.api.diagnosis import diagnose
from ae_sweep.api.images import load_dataset
from ae_sweep.api.publishing import sync
from ae_sweep.api.run import iter_sweep, plan_sweep, run_sweep
from ae_sweep.api.settings import SweepSettings
from ae_sweep.api.stored import delete_sweep, list_sweeps, load_sweep
from ae_sweep.api.sweep import Sweep

__all__ = [
    "Sweep",
    "SweepSettings",
    "adopt_store",
    "delete_sweep",
    "diagnose",
    "export_sweep",
    "import_sweep",
    "iter_sweep",
    "list_sweeps",
    "load_dataset",
    "load_sweep",
    "plan_sweep",
    "run_sweep",
    "sync",
]
