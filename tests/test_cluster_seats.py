"""Seats of a cluster without Ray: what the worker does with them, and what is refused before it."""

from __future__ import annotations

import itertools
import socket
import sys
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fake_cluster import FakeCluster
from fakes import trial_config
from process_fakes import open_fake, train

from ae_sweep import isolation
from ae_sweep.cluster import reach, remote
from ae_sweep.cluster import seat as seat_module
from ae_sweep.cluster import worker as worker_module
from ae_sweep.cluster.remote import RemoteSeat, ask_together
from ae_sweep.cluster.room import SeatSize, gpus_of_trial, seats_of
from ae_sweep.cluster.settings import ClusterConfig, make_cluster
from ae_sweep.cluster.worker import ClusterWorker
from ae_sweep.errors import ClusterError, ConfigError, WorkerError
from ae_sweep.sweep import InlineWorker
from ae_sweep.sweep.worker import JobFailed, JobFinished, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = SeatSize(cpus=1, gpus=0.0)


@pytest.fixture
def quick_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a second pass at each look, for seats that find no room."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    for module in (remote, worker_module):
        monkeypatch.setattr(module, "time", clock)


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_module, "node_name", lambda: "nowhere")


def new_seat(cluster: FakeCluster, place: Path, how: str = "well") -> RemoteSeat:
    seat = RemoteSeat(cluster, ONE)
    seat.set_up(partial(open_fake, place, how))
    return seat


def new_worker(cluster: FakeCluster, place: Path, *, seats: int, **changes: Any) -> ClusterWorker:
    settings: dict[str, Any] = {
        "start": lambda: new_seat(cluster, place),
        "count": lambda: seats,
        "announce": lambda _line: None,
    }
    return ClusterWorker(cluster, **{**settings, **changes})


def events(worker: Any, jobs: int) -> list[Any]:
    told: list[Any] = []
    while sum(isinstance(event, JobFinished | JobFailed) for event in told) < jobs:
        told.append(worker.next_event())
    return told


def test_seats_tell_what_an_inline_worker_tells(tmp_path: Path) -> None:
    worker = new_worker(FakeCluster({"a": 1, "b": 1}), tmp_path, seats=2)
    for job, model in ((0, "conv"), (1, "diverges")):
        worker.submit(job, trial_config(seed=job, model=model))
    told = events(worker, 2)
    for job, model in ((0, "conv"), (1, "diverges")):
        inline = InlineWorker(partial(train, tmp_path))
        inline.submit(job, trial_config(seed=job, model=model))
        assert [event for event in told if event.job == job] == events(inline, 1)


def test_every_seat_gets_its_turn_though_ray_favours_the_first(tmp_path: Path) -> None:
    worker = new_worker(FakeCluster({"a": 3}), tmp_path, seats=3)
    for job in range(3):
        worker.submit(job, trial_config(seed=job))
    validated = [worker.next_event().job for _ in range(9)]
    while len(validated) < 9:
        validated.append(worker.next_event().job)
    assert {validated.count(job) for job in range(3)} == {3}


def test_a_job_stopped_at_a_validation_leaves_its_seat_for_the_next(tmp_path: Path) -> None:
    cluster = FakeCluster({"a": 1})
    worker = new_worker(cluster, tmp_path, seats=1)
    worker.submit(0, trial_config(seed=1))
    assert isinstance(worker.next_event(), JobValidated)
    worker.stop(0)
    worker.submit(1, trial_config(seed=2))
    assert isinstance(events(worker, 1)[-1], JobFinished)
    assert len(cluster.actors) == 1
    assert not (tmp_path / "1-2").exists()


def test_a_seat_that_dies_breaks_its_own_job_alone_and_another_takes_its_place(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster({"a": 1, "b": 1})
    worker = new_worker(cluster, tmp_path, seats=2)
    for job in (0, 1):
        worker.submit(job, trial_config(seed=job))
    while not all(actor.node for actor in cluster.actors):
        worker.next_event()
    cluster.actors[1].dead = True
    told = events(worker, 2)
    (failed,) = [event for event in told if isinstance(event, JobFailed)]
    assert (failed.job, failed.killed, failed.diverged) == (1, True, False)
    assert failed.reason == "its seat on b died: Its process was killed."
    worker.submit(2, trial_config(seed=2))
    assert isinstance(events(worker, 1)[-1], JobFinished)


def test_a_seat_that_died_between_two_jobs_fails_none(tmp_path: Path) -> None:
    cluster = FakeCluster({"a": 1})
    worker = new_worker(cluster, tmp_path, seats=1)
    worker.submit(0, trial_config(seed=0))
    events(worker, 1)
    cluster.actors[0].dead = True
    worker.submit(1, trial_config(seed=1))
    assert isinstance(events(worker, 1)[-1], JobFinished)
    assert len(cluster.actors) == 2


def test_a_job_without_room_waits_is_reported_once_and_gets_the_first_free_seat(
    tmp_path: Path, quick_clock: None
) -> None:
    lines: list[str] = []
    cluster = FakeCluster({"a": 1})
    worker = new_worker(cluster, tmp_path, seats=2, announce=lines.append)
    worker.submit(0, trial_config(seed=0))
    worker.next_event()
    cluster.actors[0].hangs = True
    worker.submit(1, trial_config(seed=1))
    for seat in worker._seats:
        seat.resume()
    for _ in range(20):
        worker._wait({job: process for job, (_, process) in worker._busy().items()})
    (line,) = lines
    assert "it asks for 1 CPU on one node, and the cluster has 0 CPU free on 1 node" in line
    assert line.endswith("its trial waits")
    cluster.actors[0].hangs = False
    told = events(worker, 2)
    assert {event.job for event in told if isinstance(event, JobFinished)} == {0, 1}
    assert {actor.node for actor in cluster.actors} <= {"a", None}
    assert len(cluster.living) == 1, "the seat of the first job took the second"


def test_no_room_for_any_seat_ends_the_sweep_with_what_is_asked_and_free(
    tmp_path: Path, quick_clock: None
) -> None:
    worker = new_worker(FakeCluster({"a": 0}), tmp_path, seats=1)
    worker.submit(0, trial_config())
    with pytest.raises(ClusterError, match=r"no room for \d+ s: it asks for 1 CPU .* has 0 CPU"):
        worker.next_event()


def test_nodes_that_join_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster({"a": 1})
    worker = new_worker(cluster, tmp_path, seats=0, count=lambda: seats_of(ONE, cluster.nodes()))
    assert worker.slots == 1
    cluster.cores["b"] = 2
    monkeypatch.setattr(worker, "_counted_at", -100.0)
    assert worker.slots == 3
    for job in range(3):
        worker.submit(job, trial_config(seed=job))
    events(worker, 3)
    assert sorted(actor.node or "" for actor in cluster.actors) == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("raises", "a seat on a could not be set up: the images are gone"),
     ("has a bug", "a seat on a could not be set up: TypeError: a bug")],
)  # fmt: skip
def test_a_seat_that_cannot_be_set_up_ends_the_sweep(tmp_path: Path, how: str, reason: str) -> None:
    cluster = FakeCluster({"a": 1})
    worker = new_worker(cluster, tmp_path, seats=1, start=lambda: new_seat(cluster, tmp_path, how))
    worker.submit(0, trial_config())
    with pytest.raises(WorkerError, match=reason):
        worker.next_event()
    worker.close()
    assert cluster.closed
    assert not cluster.living


def test_a_seat_of_another_version_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_module, "__version__", "0.0.1")
    cluster = FakeCluster({"a": 1})
    with pytest.raises(WorkerError, match=r"the node a has ae-sweep 0\.0\.1, and the sweep is"):
        ask_together(cluster, [new_seat(cluster, tmp_path)], trial_config(), announce=print)


def test_seats_that_measure_together_do_without_those_that_die(tmp_path: Path) -> None:
    cluster = FakeCluster({"a": 1, "b": 1})
    seats = [new_seat(cluster, tmp_path) for _ in range(2)]

    def open_pair() -> Callable[[Any], Any]:
        def work(job: int) -> Any:
            yield
            return job

        return work

    for seat in seats:
        seat.set_up(open_pair)
    lines: list[str] = []
    assert ask_together(cluster, seats, 3, announce=lines.append) == [3, 3]
    cluster.actors[0].dead = True
    assert ask_together(cluster, seats, 4, announce=lines.append) == [4]
    assert lines == ["a seat on a died: Its process was killed."]
    cluster.actors[1].dead = True
    with pytest.raises(ClusterError, match="on b died"):
        ask_together(cluster, seats[1:], 5, announce=lines.append)


def test_a_cluster_holds_what_its_nodes_hold() -> None:
    nodes = [{"CPU": 7.0, "GPU": 2.0}, {"CPU": 3.0}]
    assert seats_of(SeatSize(cpus=2, gpus=0.0), nodes) == 4
    assert seats_of(SeatSize(cpus=1, gpus=0.25), nodes) == 7
    assert seats_of(SeatSize(cpus=1, gpus=0.3), nodes) == 6, "three on each GPU"
    assert seats_of(SeatSize(cpus=1, gpus=1.0), nodes) == 2
    assert [gpus_of_trial(None, device=name, nodes=nodes) for name in ("auto", "cpu", "cuda")] == [
        1.0, 0.0, 1.0,
    ]  # fmt: skip
    assert gpus_of_trial(None, device="auto", nodes=nodes[1:]) == 0.0
    assert gpus_of_trial(0.25, device="cpu", nodes=nodes) == 0.25


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"address": "ray://head:10001"}, "is no HOST:PORT"),
        ({"address": "head"}, "neither local nor HOST:PORT"),
        ({"address": "head:0"}, "a port from 1 to"),
        ({"address": "head:99999"}, "a port from 1 to"),
        ({"address": "local", "cpus_per_trial": 0}, "--cpus-per-trial 0 is not"),
        ({"address": "local", "gpus_per_trial": 2.0}, "--gpus-per-trial 2 is not"),
        ({"address": "local", "gpus_per_trial": float("nan")}, "--gpus-per-trial nan is not"),
        ({"address": "local", "data_on_nodes": "images"}, "must be an absolute path"),
        ({"address": None, "gpus_per_trial": 0.5}, "add --cluster HOST:PORT"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make_cluster(given.pop("address"), **given)


def test_addresses_of_both_families_are_taken_apart() -> None:
    assert ClusterConfig(address="10.0.0.5:6379").place == ("10.0.0.5", 6379)
    assert ClusterConfig(address="[::1]:6379").place == ("::1", 6379)
    assert ClusterConfig(address="local").is_local


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "ray"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError):
        __import__("ray")


@pytest.mark.parametrize("address", ["local", "127.0.0.1:6379"])
def test_without_ray_a_cluster_is_refused_with_the_line_that_installs_it(
    cli: Callable[..., Any], without_ray: None, address: str
) -> None:
    done = cli("run", "--dims", "2", "--cluster", address, "--json")
    assert (done.code, done.out) == (3, "")
    assert done.err == (
        "error: --cluster needs the package ray, which is not installed; "
        "`pip install 'ae-sweep[cluster]'` installs it\n"
    )


def test_a_sweep_needs_no_ray(cli: Callable[..., Any], without_ray: None, no_probe: None) -> None:
    done = cli("run", "--dims", "2", "--dataset", "shapes", "--trials", "1", "--dry-run")
    assert done.code == 0, done.err
    assert "ray" not in {name for name, module in sys.modules.items() if module is not None}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--device", "cuda:1"), "--device 'cuda:1' names a GPU of this machine"),
        (("--device", "cuda", "--gpus-per-trial", "0"), "--device cuda needs a share of a GPU"),
        (("--method", "nested"), "leave --cluster out"),
    ],
)
def test_what_does_not_go_with_a_cluster_is_wrong_usage(
    cli: Callable[..., Any], words: tuple[str, ...], what: str
) -> None:
    done = cli("run", "--dims", "2", "4", "--cluster", "local", *words)
    assert (done.code, done.out) == (2, "")
    assert what in done.err


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    for name in (isolation.RAY_MODE, isolation.RAY_TOKEN, isolation.RAY_TOKEN_PATH):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)


def test_without_a_token_nobody_is_asked(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClusterConfig(address="127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"there is no token .* RAY_AUTH_MODE=disabled"):
        reach.check_reachable(config)
    monkeypatch.setenv(isolation.RAY_MODE, "disabled")
    with pytest.raises(ClusterError, match=r"nobody answers at 127\.0\.0\.1:1: Connection refused"):
        reach.check_reachable(config)


def test_a_head_that_listens_is_reachable(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolation.RAY_TOKEN, "0" * 32)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        reach.check_reachable(ClusterConfig(address=address))


def test_ray_that_was_imported_without_tokens_is_said(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(ClusterError, match="set RAY_AUTH_MODE=token in the environment first"):
        reach.check_reachable(ClusterConfig(address="127.0.0.1:1"))
