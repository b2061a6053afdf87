"""Events of a sweep, as `iter_sweep` yields them."""

from ae_sweep.runner.execution import SweepPlanned
from ae_sweep.sweep import TrialEnded, TrialStarted, TrialValidated

__all__ = ["SweepPlanned", "TrialEnded", "TrialStarted", "TrialValidated"]
