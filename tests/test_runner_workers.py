"""How many workers there are, what each is given, and that their number changes no result."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import epoch_result, of_conv, sweep_config, trial_config, trial_result
from rich.console import Console

from ae_sweep import data, sweep, training
from ae_sweep.cli import progress
from ae_sweep.config import Choices, SearchSpace
from ae_sweep.config.dims import AutoDims
from ae_sweep.config.parsing import parse_workers
from ae_sweep.errors import DataError, DeviceError
from ae_sweep.kernels import Kernels
from ae_sweep.records import Outcome, Role
from ae_sweep.runner import engine, worker_process
from ae_sweep.runner import workers as pool
from ae_sweep.runner.setup import SweepSetup
from ae_sweep.runner.worker_process import WorkerSpec, open_training
from ae_sweep.sweep import Trial, TrialEnded, TrialStarted, TrialValidated
from ae_sweep.sweep.worker import JobFinished

if TYPE_CHECKING:
    from collections.abc import Generator

    from ae_sweep.config import TrialConfig
    from ae_sweep.sweep import Worker

SPEED = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)


ONE_POINT = SearchSpace(lr=Choices((4e-3,)), epochs=Choices((4,)))
SMALL_BATCHES = SearchSpace(lr=Choices((4e-3,)), epochs=Choices((4,)), batch_size=Choices((16, 64)))


def prepared(**changes: Any) -> SweepSetup:
    settings: dict[str, Any] = {
        "config": sweep_config(dataset="shapes", train_limit=256),
        "dataset": data.load("shapes", cache_dir=Path("/nowhere"), train_limit=256),
        "data_dir": None,
        "devices": ("cpu",),
        "precision": training.FP32,
        "most_workers": 64,
    }
    return SweepSetup(**{**settings, **changes})


@pytest.mark.parametrize(("text", "workers"), [("1", 1), ("64", 64), ("auto", None)])
def test_workers_are_a_number_or_auto(text: str, workers: int | None) -> None:
    assert parse_workers(text) == workers


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 1000.0}, 1),
        ({1: 1000.0, 2: 1040.0}, 1),
        ({1: 1000.0, 2: 1060.0}, 2),
        ({1: 1000.0, 2: 1900.0, 4: 1950.0, 8: 1200.0}, 2),
        ({1: 1000.0, 2: 1030.0, 4: 1070.0}, 2),
        ({2: 5.0, 4: 4.0}, 2),
    ],
)
def test_auto_takes_the_fewest_workers_that_are_about_as_fast_as_any(
    rates: dict[int, float], best: int
) -> None:
    assert pool.choose_workers(rates) == best


def test_auto_tries_powers_of_two_up_to_cores_trials_and_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "usable_cores", lambda: 12)
    assert pool._counts(prepared(), trials=99) == [1, 2, 4, 8]
    assert pool._counts(prepared(), trials=5) == [1, 2, 4]
    assert pool._counts(prepared(most_workers=3), trials=99) == [1, 2]
    assert pool._counts(prepared(most_workers=0), trials=99) == [1]
    assert pool._counts(prepared(devices=("cuda:0",)), trials=99) == [1, 2, 4]
    assert pool._counts(prepared(devices=("cuda:0", "cuda:1")), trials=99) == [2, 4, 8]
    assert pool._counts(prepared(devices=("cuda:0", "cuda:1")), trials=1) == [1]


@pytest.mark.parametrize(
    ("changes", "studies"),
    [
        ({}, 4),
        ({"config": sweep_config(dims=(2, 4, 8))}, 3),
        ({"most_workers": 2}, 2),
        ({"most_workers": 0}, 1),
        ({"devices": ("cuda:0",)}, 1),
        ({"config": sweep_config(dims=(8,))}, 1),
        ({"config": sweep_config(method="nested", space=ONE_POINT, trials=1)}, 1),
        ({"config": sweep_config(auto=AutoDims(), dims=tuple(range(1, 17)))}, 1),
    ],
)
def test_the_studies_of_a_long_sweep_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], studies: int
) -> None:
    monkeypatch.setattr(training, "usable_cores", lambda: 4)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    setup = prepared(**{"config": sweep_config(dims=(2, 4, 8, 16, 32)), **changes})
    assert pool.sharing_studies(setup) == 1  # too little to do
    monkeypatch.setattr(pool, "WORTH_PROCESSES", 100)
    assert pool.sharing_studies(setup) == studies
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert pool.sharing_studies(setup) == 1


def test_a_resumed_sweep_has_the_threads_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "sharing_studies", lambda _setup: 4)
    monkeypatch.setattr(engine, "sharing_studies", lambda _setup: 4)
    monkeypatch.setattr(training, "threads_per_worker", lambda workers, **_: 8 // workers)
    monkeypatch.setattr(pool, "speeds_by_dim", lambda *_: {2: SPEED, 8: SPEED})
    factory = engine.local_engine(1, share_cores=True)
    engines = [factory(prepared(), left, print) for left in (9, 3, 1, 0)]
    assert [made.workers for made in engines] == [4, 3, 1, 1]
    assert [made.threads for made in engines] == [2, 2, 2, 2]


def test_threads_are_shared_out_over_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(training.device, "usable_cores", lambda: 16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [training.threads_per_worker(n) for n in (1, 2, 4, 5, 16, 64)] == [8, 8, 4, 3, 1, 1]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert [training.threads_per_worker(n) for n in (1, 2, 64)] == [1, 1, 1]


def test_usable_cores_are_those_this_process_may_run_on() -> None:
    assert 1 <= training.usable_cores() <= 4096


def test_workers_are_dealt_out_over_all_gpus_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    names = ("cuda:0", "cuda:1", "cpu")
    monkeypatch.setattr(training.device, "available_devices", lambda: names)
    first = torch.device("cuda:0")
    assert training.alike_devices("auto", first) == ("cuda:0", "cuda:1")
    assert training.alike_devices("cuda", first) == ("cuda:0", "cuda:1")
    assert training.alike_devices("cuda:0", first) == ("cuda:0",)
    assert training.alike_devices("auto", torch.device("cpu")) == ("cpu",)
    two = prepared(devices=("cuda:0", "cuda:1"))
    assert [two.worker_spec(n, threads=1).device for n in range(3)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]


def test_a_trials_parameters_tell_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(training.device, "usable_cores", lambda: 6)
    threads = [training.threads_per_worker(workers) for workers in (1, 2)]
    one = pool.InlineEngine(setup=prepared(), speeds={2: SPEED}, threads=threads[0])
    two = pool.WorkerPool(setup=prepared(), workers=2, speeds={2: SPEED}, threads=threads[1])
    assert (one.parameters()["threads"], two.parameters()["threads"]) == (6, 3)
    assert "3 threads" in str(two.parameters()["device_name"])
    assert two.parameters()["device"] == "cpu"


def test_a_number_of_threads_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "threads_per_worker", lambda _workers: 2)
    monkeypatch.setattr(
        training,
        "fastest_threads",
        lambda *_, **__: training.ThreadChoice(threads=1, seconds={2: 4.0, 1: 1.0}),
    )
    said: list[str] = []
    assert pool.fastest_threads(prepared(), said.append) == 2
    assert said == []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert pool.fastest_threads(prepared(), said.append) == 1
    (line,) = said
    assert "busy: training with 1 of 2 threads is 4.0 times as fast as with all; taking 1" in line


def test_a_sweep_of_an_old_recipe_is_timed_by_that_in_this_process_and_in_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed: list[TrialConfig] = []
    setup = prepared(config=sweep_config(recipe="2", space=SMALL_BATCHES))

    def measure(config: TrialConfig, *_: object, **__: object) -> training.Speed:
        timed.append(config)
        return SPEED

    def run_together(children: list[object], probe: worker_process.Probe) -> list[training.Speed]:
        spec = setup.worker_spec(0, threads=probe.threads)
        measured = worker_process.measure(spec, setup.images, probe)
        assert [*measured] == [None], "it waits once for the others"
        return [SPEED] * len(children)

    monkeypatch.setattr(training, "measure_speed", measure)
    monkeypatch.setattr(sweep, "run_together", run_together)
    assert setup.speed(8) == SPEED
    with pool._Probes(setup, threads=1) as probes:
        assert probes.speeds(8, 2) == [SPEED, SPEED]
    assert timed == [setup.timed_config(8)] * 2
    assert (timed[0].recipe, timed[0].hyperparameters.batch_size) == ("2", 16)


def test_no_more_workers_are_started_than_there_are_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = []

    def speeds(_self: Any, dim: int, workers: int) -> list[training.Speed]:
        measured.append((dim, workers))
        slow = dataclasses.replace(SPEED, epoch_seconds=2.0)
        return [SPEED] * (workers - 1) + [slow]

    monkeypatch.setattr(pool._Probes, "speeds", speeds)
    monkeypatch.setattr(training, "measure_speed", lambda *_, **__: SPEED)
    assert engine.local_engine(8)(prepared(), 3, print).workers == 3
    assert measured == [(2, 3), (8, 3)]
    monkeypatch.setattr(training, "usable_cores", lambda: 4)
    assert engine.local_engine(8)(prepared(), 3, print).speeds[2].epoch_seconds == 2.0, (
        "of the slowest"
    )
    monkeypatch.setattr(training, "usable_cores", lambda: 1)
    assert engine.local_engine(8)(prepared(), 3, print).speeds[2].epoch_seconds == 6.0, (
        "three share a core, and each counts only the time that it computed"
    )
    measured.clear()
    assert engine.local_engine(None)(prepared(), 1, print).workers == 1
    assert engine.local_engine(1)(prepared(), 9, print).workers == 1
    assert engine.local_engine(4)(prepared(), 0, print).workers == 1
    assert measured == [], "one worker is measured in this process"


def test_workers_share_the_time_of_a_plan() -> None:
    plan = sweep.make_plan(sweep_config(trials=3, repeats=1, pruner="none"), filled={})

    def seconds(dim: int, epochs: int) -> float:
        return dim * epochs

    total = plan.most_seconds(seconds)
    assert plan.most_seconds(seconds, workers=1) == total == 4 * 4 * (2 + 8)
    assert plan.most_seconds(seconds, workers=2) == (total - 32) / 2 + 32
    assert plan.most_seconds(seconds, workers=64) >= 32, "no trial is faster by itself"
    expected = [plan.expected_seconds(seconds, workers=n) for n in (1, 2, 4)]
    assert expected == sorted(expected, reverse=True)
    done = sweep.make_plan(sweep_config(trials=3), filled=of_conv({2: 3, 8: 3}))
    assert done.most_seconds(seconds, workers=2) == 0


def test_the_searches_of_a_study_in_turn_take_their_time_with_any_number_of_workers() -> None:
    config = sweep_config(dims=(2, 1024), trials=10, repeats=2, pruner="none")

    def seconds(dim: int, epochs: int) -> float:
        return {2: 30.0, 1024: 52.0}[dim] * epochs / 4

    plan = sweep.make_plan(config, filled={})
    six = config.wanted_trials  # of six configurations
    assert plan.most_seconds(seconds, workers=2, in_turn=True) >= (six + 1) * 52
    assert plan.most_seconds(seconds, workers=64, in_turn=True) < (six + 1) * 52 + 30
    for workers in (1, 2, 64):
        most = plan.most_seconds(seconds, workers=workers, in_turn=True)
        expected = plan.expected_seconds(seconds, workers=workers, in_turn=True)
        assert plan.most_seconds(seconds, workers=workers) <= most
        assert plan.expected_seconds(seconds, workers=workers) <= expected <= most
    left = sweep.make_plan(config, filled=of_conv({2: six}), repeated=of_conv({2: 2, 1024: 2}))
    assert left.most_seconds(seconds, workers=4, in_turn=True) == six * 52


def spec(**changes: Any) -> WorkerSpec:
    return dataclasses.replace(prepared().worker_spec(0, threads=1), **changes)


def test_a_process_refuses_images_that_are_not_those_of_the_sweep() -> None:
    with pytest.raises(DataError, match=r"shapes has changed .* not 0123"):
        open_training(spec(digest="0123"))


def test_a_process_that_cannot_use_the_kernels_of_the_sweep_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for used, version, message in (
        (True, "fedcba9876543210", "it has other kernels than the sweep; --resume goes on"),
        (False, "none", r"cannot use the kernels that the sweep uses: no g\+\+; with .*=off the"),
    ):
        found = Kernels(used=used, what="no g++", version=version)
        monkeypatch.setattr(training, "kernels_on", lambda _, found=found: found)
        with pytest.raises(DeviceError, match=message):
            open_training(spec(kernels="0123456789abcdef"))


def test_a_process_of_a_sweep_without_kernels_compiles_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AE_SWEEP_KERNELS", "on")
    seen = []
    monkeypatch.setattr(
        training, "prepare_process", lambda: seen.append(os.environ["AE_SWEEP_KERNELS"])
    )
    monkeypatch.setattr(training, "kernels_on", lambda _: None)
    open_training(spec(kernels="none"))
    assert seen == ["off"]


def results(worker: Worker) -> dict[int, list[Any]]:
    """Train two dims; tell by job what came of it, but for the time it took."""
    told: dict[int, list[Any]] = {2: [], 4: []}
    waiting, running = list(told), 0
    while waiting or running:
        while waiting and running < worker.slots:
            dim = waiting.pop(0)
            worker.submit(dim, trial_config(latent_dim=dim, epochs=2, seed=dim))
            running += 1
        event = worker.next_event()
        running -= isinstance(event, JobFinished)
        timeless = {"images_per_second": 0.0, "epoch_seconds": 0.0, "train_seconds": 0.0}
        fields = {field.name for field in dataclasses.fields(event.result)}
        told[event.job].append(
            dataclasses.replace(
                event.result, **{key: value for key, value in timeless.items() if key in fields}
            )
        )
    return told


@pytest.mark.slow
def test_one_worker_or_two_give_the_same_results_to_the_last_digit(one_thread: None) -> None:
    inline = results(sweep.InlineWorker(open_training(spec())))
    with sweep.ProcessWorker([partial(open_training, spec())] * 2) as worker:
        assert results(worker) == inline
    assert [len(events) for events in inline.values()] == [5, 5]
    assert all(len(events[-1].weights) > 100_000 for events in inline.values())


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_shows_all_running_trials(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, highlight=False)
    monkeypatch.setattr(progress, "stderr", lambda: console)
    trials = [
        Trial(name=f"d={dim} trial 0", config=trial_config(latent_dim=dim, epochs=4), role=role)
        for dim, role in ((2, Role.SEARCH), (8, Role.REPEAT))
    ]
    events = [
        TrialStarted(trials[0]),
        TrialStarted(trials[1]),
        TrialValidated(trials[1], epoch_result(1, 0.5)),
        TrialValidated(trials[0], epoch_result(3, 0.25)),
    ]
    forecast = sweep.Forecast({}, trial_seconds=lambda _trial: 1.0)
    plan = sweep.make_plan(sweep_config(), filled={})
    estimate: Any = SimpleNamespace(trials=2, plan=plan, forecast=lambda: forecast)
    frames = []

    def happen() -> Generator[Any, None, str]:
        yield from events
        frames.append(_frame(screen) if terminal else screen.getvalue())
        yield from _to_the_end(trials)
        return "result"

    assert progress.show_progress(happen(), estimate=estimate) == "result"
    if terminal:
        last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[0])
        assert re.search(r"d=2 trial 0 .* epoch 3 of 4", last)
        assert re.search(r"d=8 trial 0 .* epoch 1 of 4", last)
    else:
        lines = frames[0].splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "d=2 trial 0", "d=8 trial 0", "d=8 trial 0", "d=2 trial 0",
        ]  # fmt: skip
    assert re.search(r"d=8 trial 0: finished", screen.getvalue())


def _to_the_end(trials: list[Trial]) -> list[TrialEnded]:
    return [
        TrialEnded(trial, Outcome.FINISHED, result=trial_result(trial.config))
        for trial in reversed(trials)
    ]


def _frame(screen: io.StringIO) -> str:
    """What a live display has written since it was last redrawn by itself."""
    import time

    time.sleep(0.3)  # it is drawn ten times a second
    return screen.getvalue()
