"""Worker processes train what an inline worker trains, and go when they are to go."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import trial_config
from process_fakes import open_fake, train, wait_for, wait_until_gone

from ae_sweep import interruption
from ae_sweep.errors import DeviceLostError, TrainingFailedError, WorkerError
from ae_sweep.sweep import Child, InlineWorker, ProcessWorker, run_together, seats
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.config import TrialConfig
    from ae_sweep.sweep import Worker


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def two(place: Path) -> Iterator[ProcessWorker]:
    """Two processes for all slow tests: each takes a second to start."""
    before = set(multiprocessing.active_children())
    with ProcessWorker([partial(open_fake, place)] * 2) as worker:
        yield worker
    assert set(multiprocessing.active_children()) <= before


@pytest.fixture(scope="module")
def one(place: Path) -> Iterator[ProcessWorker]:
    """One process, which is all that the fast tests need."""
    with ProcessWorker([partial(open_fake, place)]) as worker:
        yield worker


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr() == ("", ""), "a worker process says nothing"


SEEDS = itertools.count(1)


def new_config(**changes: Any) -> TrialConfig:
    """A training whose marks are no other's."""
    return trial_config(seed=next(SEEDS), **changes)


def events(worker: Worker, jobs: int) -> list[Any]:
    """Wait for all jobs to end."""
    told = []
    while sum(isinstance(event, JobFinished | JobFailed) for event in told) < jobs:
        told.append(worker.next_event())
    return told


@pytest.mark.slow
def test_processes_tell_what_an_inline_worker_tells(two: Any, place: Path) -> None:
    configs = {job: new_config(latent_dim=job + 1) for job in (0, 1)}
    for job, config in configs.items():
        two.submit(job, config)
    told = events(two, 2)
    assert wait_for(place / f"{configs[0].seed}-4") != wait_for(place / f"{configs[1].seed}-4")
    for job, config in configs.items():
        inline = InlineWorker(partial(train, place))
        inline.submit(job, config)
        assert [event for event in told if event.job == job] == events(inline, 1)


def test_a_job_waits_at_each_validation_until_the_next_event_is_asked_for(
    one: Any, place: Path
) -> None:
    config = new_config()
    one.submit(0, config)
    for quarter in (1, 2, 3):
        assert one.next_event().result.quarter == quarter
        time.sleep(0.1)  # in which a job that did not wait would go on
        assert not (place / f"{config.seed}-{quarter + 1}").exists()
    assert len(events(one, 1)) == 2


@pytest.mark.slow
def test_a_job_stopped_at_a_validation_leaves_its_process_for_the_next(
    two: Any, place: Path
) -> None:
    first, second, third = (new_config() for _ in range(3))
    two.submit(0, first)
    two.submit(1, second)
    event = two.next_event()
    stopped = (first, second)[event.job]
    two.stop(event.job)
    two.stop(event.job)  # and again does nothing
    two.submit(2, third)
    told = events(two, 2)
    assert {event.job for event in told} == {1 - event.job, 2}
    assert wait_for(place / f"{third.seed}-1") == wait_for(place / f"{stopped.seed}-1")
    assert not (place / f"{stopped.seed}-2").exists()


@pytest.mark.slow
def test_a_job_stopped_in_mid_training_takes_its_process_along_and_no_other(
    two: Any, place: Path
) -> None:
    first, second = (new_config(model="hangs") for _ in range(2))
    two.submit(0, first)
    assert [two.next_event().result.quarter for _ in range(2)] == [1, 2]
    two.submit(1, second)
    assert two.next_event().job == 1, "the first goes on, and hangs"
    hanging = wait_for(place / f"{first.seed}-3")
    two.stop(0)
    assert wait_until_gone([hanging], 0) == []
    two.submit(2, new_config())
    told = [two.next_event() for _ in range(6)]
    assert [event.job for event in told].count(1) == 1
    assert isinstance(told[-1], JobFinished), told
    two.stop(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [("hangs", "its worker process was ended by signal 9 (SIGKILL, often by the system for lack"),
     ("exits", "its worker process ended with exit code 7")],
)  # fmt: skip
def test_a_process_that_dies_breaks_its_own_job_alone_and_another_takes_its_place(
    two: Any, place: Path, how: str, reason: str
) -> None:
    dying, steady = new_config(model=how), new_config()
    two.submit(0, dying)
    assert [two.next_event().result.quarter for _ in range(2)] == [1, 2]
    two.submit(1, steady)
    assert two.next_event() is not None  # lets the first one go on
    died = wait_for(place / f"{dying.seed}-3")
    if how == "hangs":
        os.kill(died, signal.SIGKILL)
    ends = {event.job: event for event in events(two, 2) if not isinstance(event, JobValidated)}
    assert isinstance(ends[0], JobFailed)
    assert ends[0].reason.startswith(reason)
    assert isinstance(ends[1], JobFinished)
    again = new_config()
    two.submit(2, again)
    assert isinstance(events(two, 1)[-1], JobFinished)
    assert wait_for(place / f"{again.seed}-4") != died


@pytest.mark.slow
def test_a_process_killed_between_two_jobs_is_replaced(two: Any, place: Path) -> None:
    first, second = (new_config() for _ in range(2))
    two.submit(0, first)
    events(two, 1)
    idle = wait_for(place / f"{first.seed}-1")
    os.kill(idle, signal.SIGKILL)
    # Not wait_until_gone: a process of several threads is a zombie before it has an exit status.
    while idle in {process.pid for process in multiprocessing.active_children()}:
        time.sleep(0.01)
    two.submit(1, second)
    assert isinstance(events(two, 1)[-1], JobFinished)
    assert wait_for(place / f"{second.seed}-1") != idle


@pytest.mark.parametrize("how", ["diverges", "has no memory", "says nothing"])
def test_a_training_that_fails_is_told_as_an_inline_worker_tells_it(
    one: Any, place: Path, how: str
) -> None:
    config = new_config(model=how)
    inline = InlineWorker(partial(train, place))
    for worker in (one, inline):
        worker.submit(5, config)
    assert events(one, 1) == events(inline, 1)


BUGS = {"has a bug": "TypeError: a bug", "has a wrong shape": "mat1 and mat2 shapes cannot be mul"}


@pytest.mark.parametrize("kind", ["inline", pytest.param("processes", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", BUGS)
def test_a_bug_is_raised_with_the_traceback_of_the_training_and_is_no_failed_trial(
    one: Any, place: Path, how: str, kind: str
) -> None:
    worker: Worker = one if kind == "processes" else InlineWorker(partial(train, place))
    worker.submit(0, new_config(model=how))
    with pytest.raises((RuntimeError, TypeError)) as caught:
        events(worker, 1)
    printed = "".join(traceback.format_exception(caught.value))  # what --debug prints
    assert BUGS[how] in printed
    assert "process_fakes.py" in printed
    assert "in train" in printed
    worker.stop(0)
    worker.submit(1, new_config())
    assert isinstance(events(worker, 1)[-1], JobFinished), "the worker is not the worse for it"


@pytest.mark.slow
def test_a_process_whose_device_failed_gets_no_further_job(two: Any, place: Path) -> None:
    lost, later = new_config(model="loses its device"), [new_config(), new_config()]
    two.submit(0, lost)
    (failed,) = [event for event in events(two, 1) if isinstance(event, JobFailed)]
    assert failed.reason == "the device failed: CUDA error: unspecified launch failure"
    for job, config in enumerate(later, start=1):
        two.submit(job, config)
    events(two, 2)
    pids = {wait_for(place / f"{config.seed}-1") for config in later}
    assert wait_for(place / f"{lost.seed}-1") not in pids


def test_an_inline_worker_whose_device_failed_ends_the_sweep(place: Path) -> None:
    worker = InlineWorker(partial(train, place))
    worker.submit(0, new_config(model="loses its device"))
    with pytest.raises(DeviceLostError, match="unspecified launch failure"):
        events(worker, 1)
    worker.close()


@pytest.mark.slow
def test_the_terminals_signals_are_left_to_the_parent(two: Any, place: Path) -> None:
    config = new_config()
    two.submit(0, config)
    two.next_event()
    pid = wait_for(place / f"{config.seed}-1")
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    assert isinstance(events(two, 1)[-1], JobFinished)
    assert wait_for(place / f"{config.seed}-4") == pid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raises", "a worker process could not be set up: the images are gone"),
        ("has a bug", "a worker process could not be set up: TypeError: a bug"),
        ("dies", "exit code 3 before it could train, 3 times in a row; if memory is short"),
    ],
)
def test_a_process_that_cannot_be_set_up_is_one_error_and_not_tried_again(
    place: Path, how: str, reason: str
) -> None:
    with ProcessWorker([partial(open_fake, place, how)]) as worker:
        worker.submit(0, trial_config())
        with pytest.raises(WorkerError, match=reason) as caught:
            worker.next_event()
    printed = "".join(traceback.format_exception(caught.value))
    assert ("in open_fake" in printed) is (how == "has a bug"), "a bug has the child's traceback"
    assert len(multiprocessing.active_children()) <= 3, "those of the other tests"


@pytest.mark.slow
def test_a_process_that_dies_before_it_is_set_up_is_replaced_by_another(tmp_path: Path) -> None:
    with ProcessWorker([partial(open_fake, tmp_path, "dies twice")]) as worker:
        for job in (0, 1):
            worker.submit(job, new_config())
            *validated, finished = events(worker, 1)
            assert isinstance(finished, JobFinished)
            assert len(validated) == 4
    assert len(list(tmp_path.glob("died-*"))) == 2


@pytest.mark.slow
def test_jobs_save_themselves_in_mid_training_and_at_a_pause(two: Any, place: Path) -> None:
    """One takes steps, the other has validated and waits."""
    stepping, paused = new_config(model="takes steps"), new_config()
    two.submit(0, stepping)
    assert [two.next_event().result.quarter for _ in range(2)] == [1, 2]
    two.submit(1, paused)
    assert two.next_event().job == 1
    wait_for(place / f"{stepping.seed}-3")
    started = time.monotonic()
    two.save()
    assert time.monotonic() - started < interruption.SAVE_SECONDS
    assert (place / f"{stepping.seed}-saved").exists()
    assert (place / f"{paused.seed}-saved").exists()
    assert not (place / f"{paused.seed}-2").exists(), "it trains no further"
    for job in (0, 1):
        two.stop(job)
    two.submit(2, new_config())
    assert isinstance(events(two, 1)[-1], JobFinished)


@pytest.mark.slow
def test_a_job_that_takes_too_long_to_save_itself_is_waited_for_no_longer(
    two: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "SAVE_SECONDS", 0.3)
    hanging, stepping = new_config(model="hangs"), new_config(model="takes steps")
    two.submit(0, hanging)
    two.submit(1, stepping)
    assert len([two.next_event() for _ in range(4)]) == 4
    two._seats[0].resume()  # as the next event would
    two._seats[1].resume()
    pid = wait_for(place / f"{hanging.seed}-3")
    wait_for(place / f"{stepping.seed}-3")
    two.save()
    assert (place / f"{stepping.seed}-saved").exists()
    two.stop(0)
    two.stop(1)
    assert wait_until_gone([pid], 0) == []


@pytest.mark.slow
def test_a_process_that_is_starting_or_idle_or_gone_is_not_waited_for(place: Path) -> None:
    for how in ("well", "dies"):
        with ProcessWorker([partial(open_fake, place, how)] * 2) as worker:
            worker.submit(0, new_config())
            started = time.monotonic()
            worker.save()
            assert time.monotonic() - started < interruption.SAVE_SECONDS
            worker.stop(0)


@pytest.mark.slow
def test_a_worker_process_that_is_asked_to_end_by_somebody_else_fails_its_job(
    two: Any, place: Path
) -> None:
    config = new_config(model="takes steps")
    two.submit(0, config)
    assert [two.next_event().result.quarter for _ in range(2)] == [1, 2]
    two._seats[0].resume()
    two._seats[1].resume()
    os.kill(wait_for(place / f"{config.seed}-3"), signal.SIGUSR1)
    (failed,) = events(two, 1)
    assert isinstance(failed, JobFailed)
    assert failed.killed, "its checkpoint stays, and it is tried again"


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_process_outlives_the_worker_however_it_is_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    before = set(multiprocessing.active_children())

    def leave_at_work() -> None:
        with ProcessWorker([partial(open_fake, tmp_path)] * 2) as worker:
            for seed in (1, 2):
                worker.submit(seed, trial_config(seed=seed, model="hangs"))
            while not all((tmp_path / f"{seed}-2").exists() for seed in (1, 2)):
                worker.next_event()
            raise error

    with pytest.raises(error):
        leave_at_work()
    assert set(multiprocessing.active_children()) <= before
    assert wait_until_gone([int((tmp_path / f"{s}-2").read_text()) for s in (1, 2)], 0) == []


@pytest.mark.slow
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    code = f"from pathlib import Path; import process_fakes as f; f.hang(Path({str(tmp_path)!r}))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
    ) as parent:
        pids = [wait_for(tmp_path / f"{seed}-3") for seed in (1, 2)]
        assert wait_until_gone(pids, 0) == pids
        parent.kill()
    assert wait_until_gone(pids, 60) == []


@pytest.mark.slow
def test_children_that_work_together_wait_for_each_other(tmp_path: Path) -> None:
    children = [Child(partial(open_pair, tmp_path, name)) for name in ("first", "second")]
    try:
        for job in (1, 2):
            assert run_together(children, job) == [{"first", "second"}] * 2
        assert run_together(children[:1], 3) == [{"first"}]
        with pytest.raises(WorkerError, match="a worker process failed: no job 0"):
            run_together(children, 0)
    finally:
        for child in children:
            child.kill()
            child.kill()  # and again does nothing


def open_pair(place: Path, name: str) -> Any:
    def work(job: int) -> Any:
        if job == 0:
            raise TrainingFailedError("no job 0")
        (place / f"{job}-{name}").touch()
        time.sleep(0.2 if name == "second" else 0)
        yield
        return {mark.name.partition("-")[2] for mark in place.glob(f"{job}-*")}

    return work


@pytest.mark.slow
def test_a_process_that_hangs_is_ended_and_only_its_job_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "SLICE_SECONDS", 0.05)
    seconds = {1: 600.0, 2: 1.5, 3: 600.0}
    with ProcessWorker(
        [partial(open_fake, tmp_path)], patience_seconds=lambda config: seconds[config.seed]
    ) as worker:
        for seed in (1, 2, 3):  # the first one waits for the process to start
            worker.submit(seed, trial_config(seed=seed, model="hangs" if seed == 2 else "conv"))
            last = events(worker, 1)[-1]
            assert last.job == seed
            if seed != 2:
                assert isinstance(last, JobFinished)
                continue
            assert isinstance(last, JobFailed)
            assert last.killed
            assert "signal 9 (SIGKILL) by ae-sweep: it hung, with no result for 2 s" in last.reason
            assert wait_until_gone([wait_for(tmp_path / "2-1")], 0) == []


def test_a_machine_that_was_stopped_for_a_night_has_not_hung(
    one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 10**5)
    monkeypatch.setattr(seats, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(one, "_patience_seconds", lambda _config: 600.0)
    one.submit(0, new_config())
    assert isinstance(events(one, 1)[-1], JobFinished)
