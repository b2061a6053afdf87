"""Trials that run side by side: every slot once, whatever ends first or breaks."""

from __future__ import annotations

import collections
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, Literal

import pytest
from driver_support import CONTINUOUS, finished, states, suggestions
from fakes import (
    BreakingTracker,
    FakeTracker,
    FakeTraining,
    FakeWorker,
    epoch_result,
    run_sweep,
    sweep_config,
    trial_result,
)
from optuna.trial import TrialState

from ae_sweep import sweep
from ae_sweep.config import Choices, SearchSpace
from ae_sweep.errors import StoreError
from ae_sweep.records import Outcome, Role
from ae_sweep.sweep import TrialEnded, TrialStarted, space, study

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import EpochResult, TrialResult

pytestmark = pytest.mark.usefixtures("careless")

PLAIN = str.maketrans("(), ", "xxxx")


@pytest.fixture
def storage(new_memory: Callable[[], Any]) -> Any:
    """A storage without a file: what it is kept in changes the time of a test alone."""
    return new_memory()


CREWED: dict[str, dict[str, Any]] = {
    "tpe and median": {"trials": 5, "repeats": 1},
    "tpe and hyperband": {"pruner": "hyperband", "space": CONTINUOUS, "trials": 12, "dims": (2,)},
    "grid, all of it": {"sampler": "grid", "repeats": 2},
    "one dim": {"dims": (2,), "trials": 6, "repeats": 3},
}


@pytest.mark.parametrize("slots", [2, 3, 8])
@pytest.mark.parametrize("changes", CREWED.values(), ids=CREWED)
def test_trials_that_run_together_fill_every_slot_once_in_whatever_order_they_end(
    new_memory: Callable[[], Any], changes: dict[str, Any], slots: int
) -> None:
    config = sweep_config(**changes)
    for seed in range(3):
        storage, training, tracker = new_memory(), FakeTraining(), FakeTracker()
        worker = FakeWorker(training, slots=slots, seed=seed)
        told = run_sweep(None, config, training=training, tracker=tracker, worker=worker)
        assert worker.most == min(slots, config.wanted_trials * len(config.dims))
        assert worker.jobs == {}
        assert max(collections.Counter(training.started).values()) == 1
        filled = suggestions(storage).values()
        assert [len(slots) for slots in filled] == [config.wanted_trials] * len(config.dims)
        assert all(len({params for params, _ in slots.values()}) == len(slots) for slots in filled)
        repeats = [log for log in tracker.logs if log.role is Role.REPEAT]
        assert len(repeats) == config.repeats * len(config.dims)
        assert {log.outcome for log in repeats} <= {Outcome.FINISHED}
        check_repeats_come_last(told, tracker)


def check_repeats_come_last(told: list[Any], tracker: FakeTracker) -> None:
    """Repeats train what is best once all searches of their dim have ended."""
    searched: collections.Counter[int] = collections.Counter()
    for event in told:
        trial = event.trial
        dim, search = trial.config.latent_dim, trial.role is Role.SEARCH
        if isinstance(event, TrialStarted):
            searched[dim] += search
            if not search:
                assert searched[dim] == 0, "a repeat began before a search of its dim ended"
                done = [
                    log for log in tracker.logs
                    if log.config.latent_dim == dim and log.role is Role.SEARCH
                    and log.outcome is Outcome.FINISHED
                ]  # fmt: skip
                best = min(done, key=lambda log: log.val_mse or 0).config
                assert best.hyperparameters == trial.config.hyperparameters
        elif isinstance(event, TrialEnded):
            searched[dim] -= search


def run_two(tracker: FakeTracker, training: FakeTraining, events: int | None) -> FakeWorker:
    config, worker = sweep_config(trials=6, repeats=1), FakeWorker(training)
    run_sweep(None, config, training=training, tracker=tracker, events=events, worker=worker)
    return worker


def test_a_dim_of_which_nothing_runs_comes_first_and_order_holds_otherwise(storage: Any) -> None:
    slow = {2}  # d=2 takes as long as everything else together

    class SlowFirst(FakeWorker):
        def next_event(self) -> Any:
            quick = [job for job in self.jobs if self.configs[job].latent_dim not in slow]
            for job in quick[:1]:
                self.jobs = {job: self.jobs.pop(job), **self.jobs}
            return super().next_event()

    training = FakeTraining()
    config = sweep_config(dims=(2, 8, 32), trials=3, repeats=1, pruner="none")
    told = run_sweep(
        None, config, training=training, tracker=FakeTracker(), worker=SlowFirst(training)
    )
    names = [event.trial.name for event in told if isinstance(event, TrialStarted)]
    assert names == [
        "d=2 trial 0", "d=8 trial 0", "d=32 trial 0", "d=8 trial 1", "d=32 trial 1",
        "d=8 trial 2", "d=32 trial 2", "d=8 repeat 1", "d=32 repeat 1",
        "d=2 trial 1", "d=2 trial 2", "d=2 repeat 1",
    ]  # fmt: skip


def test_with_as_many_workers_as_dims_a_study_suggests_what_it_would_with_one(
    new_memory: Callable[[], Any],
) -> None:
    config = sweep_config(trials=12, repeats=1, space=CONTINUOUS)
    ends = []
    for slots in (1, 2):
        storage, training, tracker = new_memory(), FakeTraining(), FakeTracker()
        worker = FakeWorker(training, slots=slots)
        run_sweep(None, config, training=training, tracker=tracker, worker=worker)
        ends.append(
            {name: list(slots.items())[:10] for name, slots in suggestions(storage).items()}
        )
    assert ends[0] == ends[1]


def test_only_finished_trials_decide_what_the_median_pruner_stops(storage: Any) -> None:
    errors = {0.001: 1.0, 0.004: 2.0, 0.01: 3.0}  # each worse than the one before

    def train(config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
        for quarter in (1, 2, 3, 4):
            yield epoch_result(quarter, errors[config.hyperparameters.lr])
        return trial_result(config, val_mse=errors[config.hyperparameters.lr])

    training: Any = train
    tracker = FakeTracker()
    space = SearchSpace(lr=Choices((1e-3, 4e-3, 1e-2)), epochs=Choices((2,)))
    config = sweep_config(dims=(2,), space=space, sampler="grid")
    worker = FakeWorker(training, slots=3)
    run_sweep(None, config, training=training, tracker=tracker, worker=worker)
    assert tracker.outcomes() == [Outcome.FINISHED] * 3, "all ran together: none had finished"


@pytest.mark.parametrize("pruner", ["median", "none"])
def test_in_turn_any_number_of_workers_searches_as_one_does_and_the_widest_begin(
    storage: Any, pruner: Literal["median", "none"]
) -> None:
    searched, first = [], []
    for slots in (1, 2, 5):
        training, tracker = FakeTraining(), FakeTracker()
        config = sweep_config(
            name=f"of-{slots}", dims=(2, 8, 32), trials=5, repeats=1, pruner=pruner
        )
        worker = FakeWorker(training, slots=slots, seed=slots)
        run_sweep(None, config, training=training, tracker=tracker, worker=worker, in_turn=True)
        searched.append({(log.config, log.outcome) for log in tracker.logs})
        first.append(tracker.logs[0].config.latent_dim)
    assert searched[0] == searched[1] == searched[2]
    assert first == [2, 32, 32]


def test_tpe_keeps_away_from_running_trials_only_where_there_are_some(
    storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make_sampler(*arguments: Any, parallel: bool, **named: Any) -> Any:
        made.append(parallel)
        return space.make_sampler(*arguments, parallel=parallel, **named)

    monkeypatch.setattr(study, "make_sampler", make_sampler)
    for dims, slots, expected in [((2, 8), 1, {False}), ((2, 8), 2, {False}), ((32,), 2, {True})]:
        made.clear()
        training = FakeTraining()
        config = sweep_config(name=f"{dims} {slots}".translate(PLAIN), dims=dims, trials=3)
        worker = FakeWorker(training, slots=slots)
        run_sweep(None, config, training=training, tracker=FakeTracker(), events=12, worker=worker)
        assert set(made[1:]) == expected
        assert made[0] is False


@pytest.mark.parametrize("slots", [2, 3])
def test_a_worker_process_that_dies_fails_its_trial_alone_and_the_slot_stays_open(
    storage: Any, slots: int
) -> None:
    training, tracker = FakeTraining(), FakeTracker()
    worker = FakeWorker(
        training, slots=slots, dies=lambda config: config.hyperparameters.lr == 4e-3
    )
    config = sweep_config(trials=6, pruner="none", retries=0)
    told = run_sweep(None, config, training=training, tracker=tracker, worker=worker)
    failed = [event for event in told if getattr(event, "outcome", None) is Outcome.FAILED]
    assert len(failed) == 4
    assert {event.reason for event in failed} == {
        "its worker process was ended by signal 9 (SIGKILL)"
    }
    assert len(finished(tracker)) == 8
    assert states(storage) == {TrialState.COMPLETE, TrialState.FAIL}
    worker = FakeWorker(training, slots=slots)
    config = sweep_config(trials=6, pruner="none", retries=1)
    run_sweep(None, config, training=training, tracker=tracker, worker=worker)
    assert len(finished(tracker)) == 12
    assert max(finished(tracker).values()) == 1


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_sweep_whose_worker_dies_again_and_again_is_what_an_undisturbed_one_is(
    new_memory: Callable[[], Any], sampler: str
) -> None:
    """Each configuration is killed twice, and a third time it is not."""
    changes: dict[str, Any] = {} if sampler == "grid" else {"space": CONTINUOUS, "trials": 12}
    config = sweep_config(sampler=sampler, pruner="none", repeats=1, **changes)
    calm_memory, calm = new_memory(), FakeTracker()
    run_sweep(None, config, training=FakeTraining(), tracker=calm)
    memory, tracker, training = new_memory(), FakeTracker(), FakeTraining()
    died: collections.Counter[TrialConfig] = collections.Counter()

    def dies(trial: TrialConfig) -> bool:
        died[trial] += 1
        return died[trial] <= 2

    forgotten: list[TrialConfig] = []
    worker = FakeWorker(training, slots=1, dies=dies)
    told = run_sweep(
        None, config, training=training, tracker=tracker, worker=worker, forget=forgotten.append
    )
    assert suggestions(memory) == suggestions(calm_memory)
    assert finished(tracker) == finished(calm)
    ended = [event for event in told if isinstance(event, TrialEnded)]
    assert [event.again for event in ended] == [True, True, False] * len(calm.logs)
    assert forgotten == [event.trial.config for event in ended if not event.again], (
        "a checkpoint stays for the next try"
    )
    assert [log.config for log in tracker.logs] == [
        log.config for log in calm.logs for _ in range(3)
    ], "the next to be trained"


def test_all_of_several_running_trials_are_given_up_together(storage: Any) -> None:
    training, tracker = FakeTraining(), FakeTracker()
    worker = run_two(tracker, training, 4)
    assert worker.saves == 1
    assert tracker.outcomes() == [Outcome.INTERRUPTED] * 2
    assert worker.jobs == {}
    assert len(training.closed) == 2
    assert states(storage) == {TrialState.FAIL}


def test_a_sweep_interrupted_with_two_running_is_completed_by_any_number_of_workers(
    new_memory: Callable[[], Any],
) -> None:
    new_memory()
    calm = FakeTraining()
    run_two(FakeTracker(), calm, None)
    for moment in range(0, calm.moments, 3):
        storage, training, tracker = new_memory(), FakeTraining(interrupt_at=moment), FakeTracker()
        with pytest.raises(KeyboardInterrupt):
            run_two(tracker, training, None)
        assert TrialState.RUNNING not in states(storage)
        assert Outcome.RUNNING not in tracker.outcomes()
        assert 1 <= tracker.outcomes().count(Outcome.INTERRUPTED) <= 2
        config = sweep_config(trials=6, repeats=1)
        worker = FakeWorker(training, slots=1 + moment % 3)
        run_sweep(None, config, training=training, tracker=tracker, worker=worker)
        assert max(collections.Counter(training.ended).values()) == 1
        assert [len(slots) for slots in suggestions(storage).values()] == [6, 6]
        best = [log.config for log in tracker.logs if log.role is Role.REPEAT]
        assert {(config.latent_dim, str(config.hyperparameters)) for config in best} == {
            (2, "lr 0.01, 4 epochs"),
            (8, "lr 0.01, 4 epochs"),
        }


@pytest.mark.parametrize("call", ["finished", "log_epoch", "finish", "pruned", "interrupted"])
def test_a_tracker_that_breaks_leaves_none_of_several_trials_running(
    storage: Any, call: str
) -> None:
    tracker, training = BreakingTracker(call, StoreError("the store is gone")), FakeTraining()
    config, worker = sweep_config(trials=6), FakeWorker(training)
    with contextlib.suppress(StoreError):
        run_sweep(None, config, training=training, tracker=tracker, worker=worker, events=30)
    assert tracker.broken is True
    assert TrialState.RUNNING not in states(storage)
    assert worker.jobs == {}


def test_bookkeeping_is_done_inside_the_shield_and_training_outside(storage: Any) -> None:
    depth = 0

    @contextlib.contextmanager
    def shield() -> Iterator[None]:
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    class Watched(FakeTracker):
        def start_trial(self, *arguments: Any, **named: Any) -> Any:
            assert depth == 1
            return super().start_trial(*arguments, **named)

        def finished(self, config: TrialConfig) -> float | None:
            assert depth == 1
            return super().finished(config)

    def unshielded(_config: TrialConfig) -> None:
        assert depth == 0

    config = sweep_config(trials=2)
    opened = sweep.open_studies(None, config, identity=config.identity())
    worker = sweep.InlineWorker(FakeTraining(error=unshielded))
    driver = sweep.Driver(config, studies=opened, worker=worker, tracker=Watched(), shield=shield)
    told = [(event, depth) for event in driver.run()]
    assert {shields for _, shields in told} == {0}
    assert sum(isinstance(event, TrialEnded) for event, _ in told) == 4


def test_an_interruption_held_back_by_the_shield_leaves_a_resumable_sweep(
    new_memory: Callable[[], Any],
) -> None:
    config = sweep_config(trials=3)
    calm_storage, calm = new_memory(), FakeTracker()
    run_sweep(None, config, training=FakeTraining(), tracker=calm)
    expected = suggestions(calm_storage)
    for moment in range(40):
        shields = itertools.count()

        @contextlib.contextmanager
        def shield(shields: Any = shields, moment: int = moment) -> Iterator[None]:
            yield
            if next(shields) == moment:
                raise KeyboardInterrupt

        storage, tracker, training = new_memory(), FakeTracker(), FakeTraining()
        opened = sweep.open_studies(None, config, identity=config.identity())
        worker = sweep.InlineWorker(training)
        driver = sweep.Driver(config, studies=opened, worker=worker, tracker=tracker, shield=shield)
        with contextlib.suppress(KeyboardInterrupt):
            list(driver.run())
        assert TrialState.RUNNING not in states(storage)
        assert Outcome.RUNNING not in tracker.outcomes()
        run_sweep(None, config, training=training, tracker=tracker)
        assert suggestions(storage) == expected
        assert finished(tracker) == finished(calm)
