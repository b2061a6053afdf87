"""A sweep tells what happens in order, and comes to the same end however often it is cut off."""

from __future__ import annotations

import collections
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from driver_support import CONTINUOUS, all_trials, finished, states, suggestions
from fakes import (
    BreakingTracker,
    FakeTracker,
    FakeTraining,
    FakeWorker,
    difficulty,
    epoch_result,
    fresh_optuna_file,
    optuna_trials,
    run_sweep,
    sweep_config,
    trial_result,
)
from optuna.trial import TrialState

from ae_sweep import sweep
from ae_sweep.config import Choices, SearchSpace
from ae_sweep.errors import StoreError, TrainingDivergedError, TrainingFailedError
from ae_sweep.records import Outcome, Role
from ae_sweep.sweep import TrialEnded, TrialStarted, TrialValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from ae_sweep.config import SweepConfig, TrialConfig
    from ae_sweep.records import EpochResult, TrialResult

pytestmark = pytest.mark.usefixtures("careless")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fresh_optuna_file(tmp_path)


@pytest.fixture
def storage(new_memory: Callable[[], Any]) -> Any:
    """A storage without a file: what it is kept in changes the time of a test alone."""
    return new_memory()


def test_events_tell_each_trial_from_start_to_end(storage: Any) -> None:
    config = sweep_config(trials=1, repeats=1)
    training, tracker = FakeTraining(), FakeTracker()
    events = run_sweep(None, config, training=training, tracker=tracker)
    told = [(type(event), event.trial.name) for event in events]
    expected = []
    for name in ("d=2 trial 0", "d=8 trial 0", "d=2 repeat 1", "d=8 repeat 1"):
        expected += [(TrialStarted, name), *[(TrialValidated, name)] * 4, (TrialEnded, name)]
    assert told == expected
    validated = [event for event in events if isinstance(event, TrialValidated)]
    assert [event.result.quarter for event in validated] == [1, 2, 3, 4] * 4
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert {event.outcome for event in ended} == {Outcome.FINISHED}
    assert [event.result.val_mse for event in ended] == [
        difficulty(event.trial.config) for event in ended
    ]
    assert [log.name for log in tracker.logs] == [event.trial.name for event in ended]
    assert [log.role for log in tracker.logs] == [Role.SEARCH] * 2 + [Role.REPEAT] * 2
    assert all(len(log.epochs) == 4 for log in tracker.logs)


def test_a_sweep_that_is_tracked_nowhere_runs_to_its_end(storage: Any) -> None:
    config = sweep_config(trials=2, repeats=1, pruner="none")
    opened = sweep.open_studies(None, config, identity=config.identity())
    with contextlib.closing(sweep.InlineWorker(FakeTraining())) as worker:
        driver = sweep.Driver(config, studies=opened, worker=worker, tracker=sweep.NullTracker())
        ended = [event for event in driver.run() if isinstance(event, TrialEnded)]
    assert [event.outcome for event in ended] == [Outcome.FINISHED] * 6
    assert [event.trial.role for event in ended] == [Role.SEARCH] * 4 + [Role.REPEAT] * 2


def test_slots_are_given_in_rounds_over_the_dims(storage: Any) -> None:
    training = FakeTraining()
    config = sweep_config(dims=(2, 8, 32), trials=2, pruner="none")
    run_sweep(None, config, training=training, tracker=FakeTracker())
    assert [trial.latent_dim for trial in training.started] == [2, 8, 32, 2, 8, 32]


def test_the_stored_result_of_a_study_is_that_of_its_trainings(path: Path) -> None:
    training, tracker = FakeTraining(), FakeTracker()
    run_sweep(path, sweep_config(trials=6), training=training, tracker=tracker)
    for dim in (2, 8):
        for trial in optuna_trials(path, f"first/d={dim}"):
            if "duplicate_of" in trial.user_attrs:
                continue
            log = next(
                log
                for log in tracker.logs
                if log.config.latent_dim == dim
                and log.config.hyperparameters.written() == trial.params
            )
            assert trial.state.name == {"finished": "COMPLETE", "pruned": "PRUNED"}[log.outcome]
            if log.outcome is Outcome.FINISHED:
                assert trial.value == difficulty(log.config) == log.val_mse
            assert list(trial.intermediate_values) == [epoch.quarter for epoch in log.epochs]
            assert list(trial.intermediate_values.values()) == [e.val_mse for e in log.epochs]
    assert Outcome.PRUNED in tracker.outcomes()
    assert len(training.closed) == tracker.outcomes().count(Outcome.PRUNED)


def test_a_pruned_trial_is_told_and_its_training_is_closed(storage: Any) -> None:
    training = FakeTraining()
    events = run_sweep(None, sweep_config(trials=6), training=training, tracker=FakeTracker())
    pruned = [event for event in events if getattr(event, "outcome", None) is Outcome.PRUNED]
    assert [event.trial.config for event in pruned] == training.closed
    assert all(event.result is None and event.reason is None for event in pruned)


def test_a_trial_that_looks_hopeless_at_its_very_end_is_finished_not_pruned(
    storage: Any,
) -> None:
    errors = iter([(1.0, 0.5, 0.35, 0.2), (0.4, 0.4, 0.34, 0.3)])

    def train(config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
        last = 0.0
        for quarter, last in enumerate(next(errors), start=1):
            yield epoch_result(quarter, last)
        return trial_result(config, val_mse=last)

    training: Any = train
    tracker = FakeTracker()
    run_sweep(None, sweep_config(trials=2, dims=(2,)), training=training, tracker=tracker)
    assert tracker.outcomes() == [Outcome.FINISHED] * 2
    assert [log.val_mse for log in tracker.logs] == [0.2, 0.3]


def test_repeats_train_the_best_of_each_dim_with_the_seeds_that_follow(storage: Any) -> None:
    training, tracker = FakeTraining(), FakeTracker()
    config = sweep_config(trials=6, repeats=3, seed=10)
    run_sweep(None, config, training=training, tracker=tracker)
    repeats = [log for log in tracker.logs if log.role is Role.REPEAT]
    assert {
        (log.config.hyperparameters.lr, log.config.hyperparameters.epochs) for log in repeats
    } == {(1e-2, 4)}
    assert [(log.config.latent_dim, log.config.seed) for log in repeats] == [
        (dim, seed) for seed in (11, 12, 13) for dim in (2, 8)
    ]
    assert {log.config.seed for log in tracker.logs if log.role is Role.SEARCH} == {10}
    assert {log.outcome for log in repeats} == {Outcome.FINISHED}, "a repeat is never pruned"
    assert all(len(trials) == 6 for trials in suggestions(storage).values()), "no part of a study"


def interrupted_everywhere(
    new_memory: Callable[[], Any], config: SweepConfig, *, how: str
) -> Iterator[tuple[str, str]]:
    """Cut a sweep off at every moment in turn and resume it; tell each end and the calm one."""

    def end(storage: Any, tracker: FakeTracker, training: FakeTraining) -> str:
        assert max(collections.Counter(training.ended).values()) == 1, "trained to its end twice"
        assert Outcome.RUNNING not in tracker.outcomes()
        assert TrialState.RUNNING not in states(storage)
        assert TrialState.WAITING not in states(storage)
        filled = {name: sorted(slots.items()) for name, slots in suggestions(storage).items()}
        done = sorted(map(str, finished(tracker).items()))
        return f"{filled}\n{done}"

    storage, training, tracker = new_memory(), FakeTraining(), FakeTracker()
    moments = len(run_sweep(None, config, training=training, tracker=tracker))
    calm = end(storage, tracker, training)
    moments = training.moments if how == "interrupted" else moments
    for moment in range(moments):
        storage, training, tracker = new_memory(), FakeTraining(), FakeTracker()
        if how == "interrupted":
            training.interrupt_at = moment
            with pytest.raises(KeyboardInterrupt):
                run_sweep(None, config, training=training, tracker=tracker)
        else:
            killed = how == "killed"
            run_sweep(
                None, config, training=training, tracker=tracker, events=moment, killed=killed
            )
            for log in tracker.logs:
                log.interrupt()  # what a resumed sweep's tracking does, too
        if how != "killed":
            assert TrialState.RUNNING not in states(storage)
        run_sweep(None, config, training=training, tracker=tracker)
        yield end(storage, tracker, training), calm


SWEEPS: dict[str, dict[str, Any]] = {
    "tpe and median": {"trials": 4, "repeats": 1},
    "tpe and hyperband": {"pruner": "hyperband", "space": CONTINUOUS, "trials": 14, "dims": (2,)},
    "grid": {"sampler": "grid"},
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupted", "closed", "killed"])
@pytest.mark.parametrize("changes", SWEEPS.values(), ids=SWEEPS)
def test_a_sweep_cut_off_at_any_moment_comes_to_the_end_of_an_undisturbed_one(
    new_memory: Callable[[], Any], changes: dict[str, Any], how: str
) -> None:
    ends = 0
    for end, calm in interrupted_everywhere(new_memory, sweep_config(**changes), how=how):
        assert end == calm
        ends += 1
    assert ends >= 20


@pytest.mark.slow
def test_a_sweep_in_a_file_cut_off_again_and_again_comes_to_the_same_end(tmp_path: Path) -> None:
    config = sweep_config(trials=3, repeats=1)
    calm_path = fresh_optuna_file(tmp_path)
    calm, training = FakeTracker(), FakeTraining()
    run_sweep(calm_path, config, training=training, tracker=calm)
    (tmp_path / "cut").mkdir()
    path = fresh_optuna_file(tmp_path / "cut")
    training, tracker = FakeTraining(), FakeTracker()
    for step in itertools.count():
        training.interrupt_at = training.moments + 3 if step < 4 else None
        with contextlib.suppress(KeyboardInterrupt):
            run_sweep(path, config, training=training, tracker=tracker)
            break
    assert tracker.outcomes().count(Outcome.INTERRUPTED) == 4
    assert finished(tracker) == finished(calm)
    assert suggestions(path) == suggestions(calm_path)
    assert max(collections.Counter(training.ended).values()) == 1


def test_a_finished_sweep_has_nothing_left_to_train(path: Path) -> None:
    config = sweep_config(trials=3, repeats=1)
    tracker = FakeTracker()
    run_sweep(path, config, training=FakeTraining(), tracker=tracker)
    again = FakeTraining()
    assert run_sweep(path, config, training=again, tracker=tracker) == []
    assert again.started == []


def test_dims_trials_and_repeats_grow_without_training_anything_again(storage: Any) -> None:
    training, tracker = FakeTraining(), FakeTracker()
    run_sweep(None, sweep_config(trials=2, repeats=1), training=training, tracker=tracker)
    before = len(training.started)
    grown = sweep_config(trials=3, repeats=2, dims=(2, 8, 32))
    run_sweep(None, grown, training=training, tracker=tracker)
    later = training.started[before:]
    assert [c.latent_dim for c in later if c.seed == 0] == [2, 8, 32, 32, 32]
    assert [(c.seed, c.latent_dim) for c in later if c.seed] == [(1, 32), (2, 2), (2, 8), (2, 32)]
    assert max(collections.Counter(training.started).values()) == 1


def diverge(config: TrialConfig) -> Exception | None:
    return (
        TrainingDivergedError("loss nan at step 7") if config.hyperparameters.lr == 1e-2 else None
    )


def test_a_failed_trial_leaves_the_sweep_going_and_its_slot_open(storage: Any) -> None:
    training, tracker = FakeTraining(error=diverge), FakeTracker()
    config = sweep_config(trials=6, pruner="none")
    events = run_sweep(None, config, training=training, tracker=tracker)
    failed = [event for event in events if getattr(event, "outcome", None) is Outcome.FAILED]
    assert len(failed) == 4
    assert {event.reason for event in failed} == {"loss nan at step 7"}
    assert {log.reason for log in tracker.logs if log.outcome is Outcome.FAILED} == {
        "loss nan at step 7"
    }
    assert len(finished(tracker)) == 8
    training.error = lambda _config: None
    run_sweep(None, config, training=training, tracker=tracker)
    assert len(finished(tracker)) == 12
    assert max(finished(tracker).values()) == 1


def test_what_has_ended_is_forgotten_and_what_was_killed_or_interrupted_may_go_on(
    storage: Any,
) -> None:
    """Of d=2 every training fails by itself, of d=8 the first is killed."""
    ended: list[Any] = []
    killed: list[Any] = []
    failure = TrainingFailedError("no memory")
    training = FakeTraining(error=lambda each: failure if each.latent_dim == 2 else None)

    def dies(each: Any) -> bool:
        if not killed and each.latent_dim == 8:
            killed.append(each)
        return each in killed

    config = sweep_config(dims=(2, 8, 32), trials=3, pruner="median", space=CONTINUOUS, retries=0)
    told = run_sweep(
        storage,
        config,
        training=training,
        tracker=FakeTracker(),
        worker=FakeWorker(training, dies=dies),
        forget=ended.append,
        events=30,
    )
    outcomes = {each.trial.config: each.outcome for each in told if isinstance(each, TrialEnded)}
    assert outcomes[killed[0]] is Outcome.FAILED
    assert {Outcome.FAILED, Outcome.FINISHED} <= set(outcomes.values())
    assert ended == [each for each in outcomes if each not in killed]
    assert len(training.started) > len(outcomes), "some were interrupted"


def test_a_configuration_that_failed_is_not_tried_in_another_slot(
    new_memory: Callable[[], Any],
) -> None:
    for seed in range(5):
        new_memory()
        training = FakeTraining(error=lambda _config: TrainingFailedError("out of memory"))
        config = sweep_config(trials=6, seed=seed)
        run_sweep(None, config, training=training, tracker=FakeTracker())
        started = collections.Counter(training.started)
        assert len(started) == 12
        assert set(started.values()) == {1 + config.retries}


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (TrainingFailedError("out of memory"), 3),
        (TrainingFailedError(""), 3),
        (TrainingDivergedError("nan"), 1),
    ],
)
def test_a_sweep_whose_trials_all_fail_ends_without_repeats(
    storage: Any, error: Exception, tries: int
) -> None:
    training, tracker = FakeTraining(error=lambda _config: error), FakeTracker()
    config = sweep_config(trials=2, repeats=2)
    events = run_sweep(None, config, training=training, tracker=tracker)
    assert tracker.outcomes() == [Outcome.FAILED] * 4 * tries
    assert {log.reason for log in tracker.logs} == {str(error) or "TrainingFailedError"}
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert [event.again for event in ended] == [*[True] * (tries - 1), False] * 4
    assert states(storage) == {TrialState.FAIL}


@pytest.mark.parametrize("bug", [TypeError("a bug"), RuntimeError("shapes cannot be multiplied")])
def test_a_bug_ends_the_sweep_and_leaves_nothing_running(storage: Any, bug: Exception) -> None:
    training = FakeTraining(error=lambda _config: bug)
    tracker = FakeTracker()
    with pytest.raises(type(bug), match=str(bug)):
        run_sweep(None, sweep_config(), training=training, tracker=tracker)
    assert tracker.outcomes() == [Outcome.INTERRUPTED]
    assert states(storage) == {TrialState.FAIL}


def test_what_is_stored_as_finished_is_told_to_the_study_and_not_trained(
    new_memory: Callable[[], Any],
) -> None:
    config = sweep_config(trials=6, repeats=1, pruner="none")
    tracker = FakeTracker()
    calm = new_memory()
    run_sweep(None, config, training=FakeTraining(), tracker=tracker)
    lost, again = new_memory(), FakeTraining()
    events = run_sweep(None, config, training=again, tracker=tracker)
    assert (events, again.started) == ([], [])
    assert suggestions(lost) == suggestions(calm)
    values = {log.val_mse for log in tracker.logs if log.role is Role.SEARCH}
    assert {t.value for trials in all_trials(lost).values() for t in trials} == values


@pytest.mark.parametrize(
    "call", ["finished", "start_trial", "log_epoch", "finish", "pruned", "failed"]
)
def test_a_tracker_that_breaks_for_good_leaves_no_trial_running(storage: Any, call: str) -> None:
    tracker = BreakingTracker(call, StoreError("the store is gone"))
    training = FakeTraining(error=diverge if call == "failed" else lambda _config: None)
    with pytest.raises(StoreError, match="the store is gone"):
        run_sweep(None, sweep_config(trials=6), training=training, tracker=tracker)
    assert TrialState.RUNNING not in states(storage)
    assert len(training.started) == len(training.ended) + len(training.closed) + (call == "failed")


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "gp"])
def test_every_sampler_runs_with_every_pruner(
    new_memory: Callable[[], Any], sampler: str, pruner: str
) -> None:
    storage, tracker = new_memory(), FakeTracker()
    space = SearchSpace(lr=Choices((1e-3, 2e-3, 4e-3, 8e-3)), epochs=Choices((2, 4, 8)))
    config = sweep_config(sampler=sampler, pruner=pruner, space=space, trials=12, dims=(2,))
    run_sweep(None, config, training=FakeTraining(), tracker=tracker)
    ends = [outcome for _, outcome in suggestions(storage)["first/d=2"].values()]
    assert len(ends) == 12
    assert len({log.config for log in tracker.logs}) == 12
    assert ("PRUNED" in ends) is (pruner != "none")
    assert tracker.outcomes()[0] is Outcome.FINISHED
