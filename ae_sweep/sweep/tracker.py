"""Interface of a tracking store as the driver uses it, and a tracker that stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ae_sweep.config import TrialConfig
    from ae_sweep.records import EpochResult, Role, TrialResult


class TrialLog(Protocol):
    """Writes one trial; once it has ended, it stays as it ended."""

    def log_epoch(self, result: EpochResult) -> None:
        """Write the result of a validation."""

    def finish(self, result: TrialResult) -> None:
        """Write the result; only now is the trial a point on the curve."""

    def prune(self) -> None:
        """Mark the trial as pruned."""

    def fail(self, reason: str) -> None:
        """Mark the trial as failed."""

    def interrupt(self) -> None:
        """Mark the trial as interrupted together with the sweep."""


class Tracker(Protocol):
    """Writes the trials of one sweep."""

    def start_trial(self, config: TrialConfig, *, name: str, role: Role) -> TrialLog:
        """Begin to write a trial."""

    def finished(self, config: TrialConfig) -> float | None:
        """Return the validation objective of a training stored as finished, else None."""


class NullTrialLog:
    """Writes nothing."""

    def log_epoch(self, result: EpochResult) -> None:
        """Drop the result of a validation."""

    def finish(self, result: TrialResult) -> None:
        """Drop the result."""

    def prune(self) -> None:
        """Do nothing."""

    def fail(self, reason: str) -> None:
        """Drop the reason."""

    def interrupt(self) -> None:
        """Do nothing."""


class NullTracker:
    """Stores nothing: for a search whose results are read from the events alone."""

    def start_trial(self, config: TrialConfig, *, name: str, role: Role) -> NullTrialLog:  # noqa: ARG002
        """Return a log that writes nothing."""
        return NullTrialLog()

    def finished(self, config: TrialConfig) -> float | None:  # noqa: ARG002
        """Return None: nothing is stored."""
        return None
