"""The sweep: what is to be trained, the studies that choose, the workers that train, the driver."""

from ae_sweep.sweep.driver import (
    Driver,
    SweepEvent,
    Trial,
    TrialEnded,
    TrialStarted,
    TrialValidated,
)
from ae_sweep.sweep.plan import Plan, finished_repeats, make_plan
from ae_sweep.sweep.studies import check_conflict, filled_slots, open_studies
from ae_sweep.sweep.study import DimStudy
from ae_sweep.sweep.tracker import Tracker, TrialLog
from ae_sweep.sweep.worker import InlineWorker, Worker

__all__ = [
    "DimStudy",
    "Driver",
    "InlineWorker",
    "Plan",
    "SweepEvent",
    "Tracker",
    "Trial",
    "TrialEnded",
    "TrialLog",
    "TrialStarted",
    "TrialValidated",
    "Worker",
    "check_conflict",
    "filled_slots",
    "finished_repeats",
    "make_plan",
    "open_studies",
]
