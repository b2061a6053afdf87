"""Sweeps on a real Ray cluster: a head and a node of this machine, in a network of their own."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import ray_cluster
from commands import ROOT, run_new_python
from ray_cluster import wait_until
from store_reader import read_runs, trials_of

from ae_sweep import training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Done
    from ray_cluster import Cluster, Driver, Network

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.cluster]

SHAPES = ("run", "--dataset", "shapes", "--sampler", "random", "--pruner", "none", "--json")
S = (*SHAPES, "--dims", "2", "4", "--epochs", "2", "--trials", "2")
LONG = (*SHAPES, "--dims", "2", "--epochs", "100", "--trials", "2", "--train-limit", "256",
        "--model", "mlp")  # fmt: skip
"""Trials that are in their middle for a minute, unless they are disturbed."""
VALIDATED = r"trial \d: .*val MSE"


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with ray_cluster.network() as network:
        if network is None:
            pytest.skip("this process may not make a network namespace")
        yield network


@pytest.fixture(scope="module")
def shared(net: Network) -> Iterator[Cluster]:
    with ray_cluster.cluster(net) as cluster:
        cluster.start_head()
        yield cluster


@pytest.fixture
def two(shared: Cluster) -> Cluster:
    """A head and a node with a core each; a test may end the node."""
    if "node" not in shared.started:
        shared.start_node()
    return shared


def with_trials(number: int) -> tuple[str, ...]:
    """Return a sweep of long trials, of which there are so many."""
    where = LONG.index("--trials") + 1
    return (*LONG[:where], str(number), *LONG[where + 1 :])


def on(cluster: Cluster, name: str) -> tuple[str, ...]:
    """Return the options of a sweep on a cluster, with a store of its own."""
    cluster.store(name)
    return ("--cluster", cluster.address, "--name", name, "--store", name)


def again(cluster: Cluster, name: str) -> tuple[str, ...]:
    return ("run", "--name", name, "--resume", "--cluster", cluster.address, "--store", name,
            "--json")  # fmt: skip


def runs(cluster: Cluster, name: str) -> dict[str, Any]:
    return read_runs(str(cluster.place / "work" / name))


def measured_mses(cluster: Cluster, name: str) -> dict[tuple[str, ...], float]:
    """Return the test MSE of each finished trial by what was trained."""
    return {
        tuple(trial["params"][key] for key in ("latent_dim", "lr", "epochs", "seed")): trial[
            "metrics"
        ]["test_mse"]
        for trial in trials_of(runs(cluster, name), "finished")
    }


def check_whole(cluster: Cluster, name: str, done: Done, *, trials: int) -> None:
    """Check that a sweep has ended well, and that stdout is one document."""
    assert done.code == 0, done.err
    assert json.loads(done.out)["sweep"] == name
    found = runs(cluster, name)
    assert len(trials_of(found, "finished")) == trials
    assert "RUNNING" not in {run["status"] for run in found["runs"]}


def started(cluster: Cluster, driver: Driver, *, seats: int = 2) -> None:
    """Wait until trials are in their middle in that many seats."""
    driver.wait_for(VALIDATED, times=2 * seats)
    assert len(cluster.seats()) == seats


def test_a_node_that_joins_is_used(shared: Cluster) -> None:
    with shared.driver(*with_trials(6), *on(shared, "joins")) as driver:
        driver.wait_for(VALIDATED)
        assert len(shared.seats()) == 1
        shared.start_node()
        check_whole(shared, "joins", driver.done(), trials=6)
    trials = trials_of(runs(shared, "joins"), "finished")
    assert len({run["params"]["node"] for run in trials}) == 2
    assert {run["params"]["kernels"] for run in trials} == {training.kernels_version("cpu")}


def test_trials_on_two_nodes_equal_those_of_two_workers(two: Cluster) -> None:
    done = two.run(*S, *on(two, "nodes"), AE_SWEEP_KERNELS="off")
    check_whole(two, "nodes", done, trials=4)
    trials = trials_of(runs(two, "nodes"), "finished")
    assert len({trial["params"]["node"] for trial in trials}) == 2, "both have trained"
    for trial in trials:
        assert trial["params"]["device"] == "cpu"
        assert trial["params"]["threads"] == "1"
        assert "1 thread" in trial["params"]["device_name"]
        assert trial["params"]["kernels"] == "none", "nodes hear of the driver's variable"
    two.store("workers")
    local = two.run(
        *S, "--workers", "2", "--name", "workers", "--store", "workers", AE_SWEEP_KERNELS="off"
    )
    assert local.code == 0, local.err
    assert measured_mses(two, "nodes") == measured_mses(two, "workers"), "to the last digit"
    assert "node" not in trials_of(runs(two, "workers"), "finished")[0]["params"]
    plan = two.run(*S, *on(two, "plan"), "--dry-run")
    document = json.loads(plan.out)
    assert (document["workers"], document["cluster"]) == (2, two.address)
    assert not two.seats(), "a plan leaves no seat"


def test_a_killed_seat_fails_its_trial_alone_and_is_made_anew(two: Cluster) -> None:
    with two.driver(*LONG, *on(two, "killed")) as driver:
        started(two, driver)
        (victim,) = two.seats("node")
        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        failed_at = driver.wait_for(r"failed .*its seat on .* died", seconds=30)
        assert failed_at - killed_at < 2
        done = driver.done()
    outcomes = Counter(run["status"] for run in runs(two, "killed")["runs"])
    assert done.code == 0, done.err
    json.loads(done.out)
    assert "RUNNING" not in outcomes
    assert "trying again" in done.err
    assert outcomes == {"FINISHED": 3}, "two trials and the sweep; a try that failed is replaced"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_sweep_and_all_seats(two: Cluster, number: int) -> None:
    name = f"signal{number}"
    with two.driver(*LONG, *on(two, name)) as driver:
        started(two, driver)
        driver.process.send_signal(number)
        done = driver.done(30)
        assert wait_until(lambda: not two.seats(), seconds=5) < 5
    assert (done.code, done.out) == (130, ""), done.err
    assert f"complete it with: ae-sweep run --name {name} --resume" in done.err
    assert f"--cluster {two.address}" in done.err
    assert "RUNNING" not in {run["status"] for run in runs(two, name)["runs"]}


def test_a_killed_driver_leaves_no_seat_and_resume_completes(two: Cluster) -> None:
    words = (*S[: S.index("--epochs")], "--epochs", "8", "--trials", "1")
    with two.driver(*words, *on(two, "driver")) as driver:
        started(two, driver)
        driver.process.kill()
        driver.process.wait()
        assert wait_until(lambda: not two.seats(), seconds=5) < 5
    check_whole(two, "driver", two.run(*again(two, "driver")), trials=2)


@pytest.mark.parametrize(
    ("changes", "what", "seconds"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 32}, "does not accept this process", 90),
        ({"RAY_AUTH_TOKEN": "", "HOME": "/nowhere"}, "there is no token for the cluster", 30),
    ],
    ids=["wrong", "none"],
)
def test_a_token_that_is_wrong_or_missing_is_one_line(
    shared: Cluster, changes: dict[str, str], what: str, seconds: float
) -> None:
    began = time.monotonic()
    done = shared.run(*S, *on(shared, f"token{len(what)}"), **changes)
    assert time.monotonic() - began < seconds
    assert (done.code, done.out) == (3, "")
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert what in line
    assert "RAY_AUTH_TOKEN" in line
    assert done.err.splitlines()[-1] == line


def test_nobody_at_the_port_is_said_within_ten_seconds(shared: Cluster) -> None:
    launcher = shared.network.words(sys.executable, str(ROOT / "cli.py"))
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = run_new_python(launcher, *S, "--cluster", "127.0.0.1:6398", cwd=shared.place,
                          changes=shared.variables())  # fmt: skip
    # Of the processor: a machine may have other work. Besides, the knock takes 5 seconds at most.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 5
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: nobody answers at 127.0.0.1:6398: Connection refused; ")
    assert done.err.count("\n") == 1


def test_nodes_read_the_images_where_they_have_them(two: Cluster) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 12, 12), np.uint8)
    work = two.place / "work"
    work.mkdir(exist_ok=True)
    np.save(work / "here.npy", images)
    there = two.place / "there.npy"
    shutil.copy(work / "here.npy", there)
    words = ("run", "--dataset", "here.npy", "--dims", "2", "--epochs", "1", "--trials", "1",
             "--model", "mlp", "--json", "--data-on-nodes", str(there))  # fmt: skip
    check_whole(two, "there", two.run(*words, *on(two, "there")), trials=1)
    images[0, 0, 0] ^= 1
    np.save(there, images)
    refused = two.run(*words, *on(two, "changed"))
    assert (refused.code, refused.out) == (3, "")
    assert "has changed since the sweep began: its digest is" in refused.err


def test_a_dead_raylet_fails_its_trial_and_the_head_ends_the_sweep(two: Cluster) -> None:
    with two.driver(*LONG, *on(two, "raylet")) as driver:
        started(two, driver)
        os.kill(two.pid("node", b"raylet/raylet"), signal.SIGKILL)
        killed_at = time.monotonic()
        assert driver.wait_for(r"failed .*its seat on .* died", seconds=60) - killed_at < 30
        two.end("node")
        check_whole(two, "raylet", driver.done(), trials=2)


def test_a_frozen_node_is_given_up(two: Cluster) -> None:
    with two.driver(*LONG, *on(two, "frozen")) as driver:
        started(two, driver)
        frozen = two.processes("node")
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        assert driver.wait_for(r"failed .*its seat on .* died", seconds=120) - stopped_at < 90
        two.end("node")
        check_whole(two, "frozen", driver.done(), trials=2)


def test_a_dead_head_ends_the_driver_and_resume_completes_on_a_new_one(shared: Cluster) -> None:
    words = (*S[: S.index("--epochs")], "--epochs", "8", "--trials", "1")
    with shared.driver(*words, "--workers", "1", *on(shared, "head")) as driver:
        driver.wait_for(VALIDATED)
        os.kill(shared.pid("head", b"gcs_server"), signal.SIGKILL)
        done = driver.done(90)
    assert (done.code, done.out) == (3, ""), done.err
    assert "the head of the cluster, 127.0.0.1:6399, has ended" in done.err
    assert "RUNNING" not in {run["status"] for run in runs(shared, "head")["runs"]}
    for name in list(shared.started):
        shared.end(name)
    shared.start_head()
    check_whole(shared, "head", shared.run(*again(shared, "head")), trials=2)


def test_four_quarters_of_a_gpu_train_at_once_and_a_fifth_waits(net: Network) -> None:
    with ray_cluster.cluster(net, port=6499) as cluster:
        cluster.start_head(cpus=6, gpus=1)
        words = (*with_trials(5), "--workers", "5", "--gpus-per-trial", "0.25", "--device", "cpu")
        with cluster.driver(*words, *on(cluster, "quarters")) as driver:
            driver.wait_for(VALIDATED, times=8)
            time.sleep(2)
            assert len(re.findall(r"^d=2 trial \d: lr", driver.err, re.MULTILINE)) == 5
            assert len(cluster.seats()) == 4
            driver.process.send_signal(signal.SIGINT)
            assert driver.done(60).code == 130


def test_a_cluster_of_this_machine_is_started_and_ended(net: Network) -> None:
    with ray_cluster.cluster(net) as cluster:
        cluster.store("local")
        with cluster.driver(
            *S, "--cluster", "local", "--name", "local", "--store", "local", RAY_AUTH_TOKEN="",
            RAY_AUTH_MODE="",
        ) as driver:  # fmt: skip
            driver.wait_for(VALIDATED)
            family = ray_cluster.descendants(driver.process.pid)[1:]
            done = driver.done()
        check_whole(cluster, "local", done, trials=4)
        wait_until(lambda: not any(map(ray_cluster.words_of, family)), seconds=20)
        assert not (cluster.place / "home" / ".ray").exists(), "nothing is written there"
