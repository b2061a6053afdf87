"""The sweep: plan, studies, driver, the workers that train and the interface of a tracker."""

from ae_sweep.job_steps import Work
from ae_sweep.sweep.child import Child, run_together
from ae_sweep.sweep.dim_search import DimSearch, dims_at_once
from ae_sweep.sweep.driver import (
    Driver,
    Shield,
    SweepEvent,
    Trial,
    TrialEnded,
    TrialStarted,
    TrialValidated,
)
from ae_sweep.sweep.forecast import Forecast
from ae_sweep.sweep.health import check_studies
from ae_sweep.sweep.importance import importances
from ae_sweep.sweep.plan import (
    ExpectedTrial,
    Plan,
    count_filled,
    finished_repeats,
    held_configurations,
    make_plan,
)
from ae_sweep.sweep.processes import ProcessWorker
from ae_sweep.sweep.studies import (
    StudyFamily,
    Tries,
    check_conflict,
    delete_studies,
    filled_slots,
    given_up,
    has_studies_of,
    open_studies,
)
from ae_sweep.sweep.study import ConditionStudy
from ae_sweep.sweep.tracker import NullTracker, Tracker, TrialLog
from ae_sweep.sweep.transfer import add_studies, read_study, study_documents
from ae_sweep.sweep.worker import InlineWorker, Train, Worker

__all__ = [
    "Child",
    "ConditionStudy",
    "DimSearch",
    "Driver",
    "ExpectedTrial",
    "Forecast",
    "InlineWorker",
    "NullTracker",
    "Plan",
    "ProcessWorker",
    "Shield",
    "StudyFamily",
    "SweepEvent",
    "Tracker",
    "Train",
    "Trial",
    "TrialEnded",
    "TrialLog",
    "TrialStarted",
    "TrialValidated",
    "Tries",
    "Work",
    "Worker",
    "add_studies",
    "check_conflict",
    "check_studies",
    "count_filled",
    "delete_studies",
    "dims_at_once",
    "filled_slots",
    "finished_repeats",
    "given_up",
    "has_studies_of",
    "held_configurations",
    "importances",
    "make_plan",
    "open_studies",
    "read_study",
    "run_together",
    "study_documents",
]
