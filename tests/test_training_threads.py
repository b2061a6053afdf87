"""Fewer threads where the machine is busy, and all of them where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from fakes import epoch_result, trial_config, trial_result

from ae_sweep import training
from ae_sweep.sweep import InlineWorker
from ae_sweep.training.thread_choice import PAUSE_SECONDS, ROUNDS, choose_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import EpochResult, TrialResult


class Machine:
    """Steps that take a time for each number of threads, by a clock of their own."""

    def __init__(self, seconds: Callable[[int, float], float]) -> None:
        self._seconds = seconds
        self.now = 0.0
        self.used: list[int] = []

    def steps(self) -> None:
        threads = torch.get_num_threads()
        self.used.append(threads)
        self.now += self._seconds(threads, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def choose(self, most: int) -> training.ThreadChoice:
        return choose_threads(most, self.steps, clock=lambda: self.now, pause=self.wait)


def shared(threads: int, *, cores: int, busy: float) -> float:
    """Seconds of steps that are slowed twentyfold where a thread has to share its core."""
    return (20.0 if threads > cores - busy else 1.0) / threads


def test_an_idle_machine_takes_all_threads_after_one_round() -> None:
    machine = Machine(lambda threads, _now: shared(threads, cores=8, busy=0))
    choice = machine.choose(8)
    assert choice.threads == 8
    assert choice.speedup == 1
    assert machine.used == [8, 8, 7, 4], "a warm-up, then one round"


@pytest.mark.parametrize(("busy", "threads"), [(1, 7), (3, 4)])
def test_a_busy_machine_takes_as_many_threads_as_have_a_core_of_their_own(
    busy: int, threads: int
) -> None:
    machine = Machine(lambda count, _now: shared(count, cores=8, busy=busy))
    choice = machine.choose(8)
    assert choice.threads == threads
    assert choice.speedup == pytest.approx(20 / 8 * threads)
    assert machine.used.count(8) == 1 + ROUNDS


def test_the_load_of_a_moment_does_not_decide() -> None:
    until = PAUSE_SECONDS + 12  # two of five rounds of 10 + 1 seconds
    machine = Machine(lambda count, now: shared(count, cores=2, busy=1.0 if now < until else 0))
    choice = machine.choose(2)
    assert machine.used.count(2) == 1 + ROUNDS, "the first round was slow"
    assert choice.threads == 2


def test_fewer_threads_have_to_be_faster_by_more_than_noise() -> None:
    assert Machine(lambda threads, _now: {2: 1.2, 1: 1.0}[threads]).choose(2).threads == 2
    assert Machine(lambda threads, _now: {2: 1.3, 1: 1.0}[threads]).choose(2).threads == 1


def test_one_thread_leaves_nothing_to_choose() -> None:
    machine = Machine(lambda _threads, _now: 1.0)
    assert machine.choose(1).threads == 1
    assert machine.used == [1, 1]


def test_threads_are_as_before_after_a_choice_and_after_a_failure() -> None:
    before = torch.get_num_threads()
    Machine(lambda threads, _now: threads).choose(4)
    assert torch.get_num_threads() == before

    def fail() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        choose_threads(4, fail)
    assert torch.get_num_threads() == before


def test_a_worker_of_this_process_computes_with_its_threads_until_it_is_closed() -> None:
    before = torch.get_num_threads()
    closed: list[int] = []

    def train(config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
        yield epoch_result(4, 0.1)
        return trial_result(config)

    worker = InlineWorker(train, release=lambda: closed.append(1))
    worker.submit(0, trial_config())
    worker.stop(0)
    worker.close()
    worker.close()
    assert closed == [1], "once"
    with training.computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
