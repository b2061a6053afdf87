"""What the driver expects of a tracker holds for every one: none at all, the fake, and MLflow."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import pytest
from fakes import FakeTracker, epoch_result, trial_config, trial_result

from ae_sweep import tracking
from ae_sweep.records import Outcome, Reconstructions, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import TrialResult
    from ae_sweep.sweep import Tracker, TrialLog

PICTURES = Reconstructions(
    shape=(2, 1, 8, 8), originals=bytes(range(128)), reconstructions=bytes(128)
)


def result(config: TrialConfig) -> TrialResult:
    return trial_result(config, pictures=PICTURES, weights=b"not read here")


ENDS: dict[Outcome, Callable[[TrialLog], None]] = {
    Outcome.FINISHED: lambda log: log.finish(result(trial_config())),
    Outcome.PRUNED: lambda log: log.prune(),
    Outcome.FAILED: lambda log: log.fail("loss nan at step 3"),
    Outcome.INTERRUPTED: lambda log: log.interrupt(),
}


class TrackerContract(abc.ABC):
    """Tests of any tracker; a subclass has the store."""

    @abc.abstractmethod
    def open(self) -> Tracker:
        """Open the store, again after the first time."""

    @abc.abstractmethod
    def outcomes(self) -> list[Outcome]:
        """Return how the trials of the store ended, in the order they were started."""

    def start(self, tracker: Tracker, config: TrialConfig | None = None) -> TrialLog:
        return tracker.start_trial(config or trial_config(), name="d=2 trial 0", role=Role.SEARCH)

    @pytest.mark.parametrize("end", ENDS)
    def test_a_trial_takes_every_call_and_further_ones_after_its_end(self, end: Outcome) -> None:
        tracker = self.open()
        log = self.start(tracker)
        assert tracker.finished(trial_config()) is None
        for quarter in range(1, 5):
            log.log_epoch(epoch_result(quarter, 1 / quarter))
        ENDS[end](log)
        log.interrupt()
        log.fail("too late")

    def test_several_trials_run_at_a_time(self) -> None:
        tracker = self.open()
        first, second = self.start(tracker), self.start(tracker, trial_config(latent_dim=8))
        second.log_epoch(epoch_result(1, 0.5))
        first.log_epoch(epoch_result(1, 0.5))
        ENDS[Outcome.FINISHED](second)
        first.interrupt()

    def test_a_trial_that_is_only_started_is_not_finished(self) -> None:
        tracker = self.open()
        log = self.start(tracker)
        log.log_epoch(epoch_result(1, 0.5))
        assert tracker.finished(trial_config()) is None
        assert self.outcomes() != [Outcome.FINISHED]
        log.interrupt()

    @pytest.mark.parametrize("outcome", ENDS)
    def test_a_trial_is_stored_with_its_outcome_and_only_a_finished_one_as_finished(
        self, outcome: Outcome
    ) -> None:
        log = self.start(self.open())
        for quarter in range(1, 5):
            log.log_epoch(epoch_result(quarter, 1 / quarter))
        ENDS[outcome](log)
        assert self.outcomes() == [outcome]
        expected = result(trial_config()).val_mse if outcome is Outcome.FINISHED else None
        assert self.open().finished(trial_config()) == expected

    @pytest.mark.parametrize("outcome", ENDS)
    def test_a_trial_that_has_ended_stays_as_it_ended(self, outcome: Outcome) -> None:
        log = self.start(self.open())
        ENDS[outcome](log)
        log.interrupt()
        log.fail("too late")
        assert self.outcomes() == [outcome]

    def test_another_training_is_not_the_finished_one(self) -> None:
        ENDS[Outcome.FINISHED](self.start(self.open()))
        tracker = self.open()
        for change in ({"seed": 1}, {"lr": 4.1e-3}, {"epochs": 3}, {"latent_dim": 3}):
            assert tracker.finished(trial_config(**change)) is None, change

    def test_a_point_that_failed_first_and_finished_later_is_finished(self) -> None:
        tracker = self.open()
        self.start(tracker).fail("out of memory")
        assert self.outcomes() == [Outcome.FAILED]
        ENDS[Outcome.FINISHED](self.start(tracker))
        assert self.outcomes()[-1] is Outcome.FINISHED
        assert self.open().finished(trial_config()) == result(trial_config()).val_mse


class TestFakeTracker(TrackerContract):
    @pytest.fixture(autouse=True)
    def store(self) -> None:
        self.tracker = FakeTracker()

    def open(self) -> Tracker:
        return self.tracker

    def outcomes(self) -> list[Outcome]:
        return self.tracker.outcomes()


class TestMlflowTracker(TrackerContract):
    """Over a real store of MLflow."""

    @pytest.fixture(autouse=True)
    def store(self, tmp_path: Path) -> None:
        import tracking_support as support

        from ae_sweep import tracking

        self.support = support
        self.place = support.fresh_store(tmp_path)
        self.runs = tracking.open_for_writing(self.place)
        self.writer = None

    def open(self) -> Tracker:
        from ae_sweep.runner.tracker import MlflowTracker

        config = self.support.config()
        if self.writer is None:
            self.writer = self.runs.start_sweep(config, card=self.support.CARD, environment={})
        return MlflowTracker(
            self.writer,
            card=self.support.CARD,
            recipe="1",
            parameters=self.support.PARAMETERS,
            finished=tracking.finished_points(self.runs.trials(config.name)),
        )

    def outcomes(self) -> list[Outcome]:
        return [trial.outcome for trial in self.runs.trials(self.support.config().name)]

    def test_a_point_that_is_tried_again_has_one_run_which_names_the_earlier(self) -> None:
        from mlflow import MlflowClient

        tracker = self.open()
        for _ in range(2):
            self.start(tracker).fail("out of memory")
        ENDS[Outcome.FINISHED](self.start(tracker))
        (trial,) = self.runs.trials(self.support.config().name)
        assert trial.outcome is Outcome.FINISHED
        client = MlflowClient(tracking_uri=self.place.tracking_uri)
        tags = client.get_run(trial.run_id).data.tags
        assert (tags["try"], tags["earlier_failure"]) == ("3", "out of memory")
        earlier = client.get_run(tags["earlier_try"])
        assert (earlier.info.lifecycle_stage, earlier.data.tags["try"]) == ("deleted", "2")
