"""Sweeps of several worker processes: the same results, and no process left however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import new_python
from process_fakes import wait_until_gone
from sweep_support import (
    CONV,
    SMALL,
    check_agree,
    check_databases,
    empty_store,
    read_until,
    resume,
    stored,
)

from ae_sweep import training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commands import Server
    from conftest import Done

pytestmark = pytest.mark.slow

TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def undisturbed_conv(
    process: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    place = tmp_path_factory.mktemp("conv")
    done = process("run", *CONV, cwd=place)
    assert done.code == 0, done.err
    return place / "store"


def test_two_workers_come_to_what_one_does_to_the_last_digit(
    process: Callable[..., Done], undisturbed_conv: Path, tmp_path: Path
) -> None:
    done = process("run", *CONV, *TWO, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "workers  2 processes" in done.err
    starts = [done.err.index(f"\nd={dim} trial 0: lr") for dim in (2, 4)]
    assert max(starts) < done.err.index(": epoch"), "both run before the first validates"
    assert stored(tmp_path / "store") == stored(undisturbed_conv)
    assert "Traceback" not in done.err
    shown = process("frontier", "small", "--store", "store", cwd=undisturbed_conv.parent)
    assert done.out == shown.out


SHORT_SWEEPS_SHARE = """
from ae_sweep.runner import workers
from ae_sweep.cli.app import main
workers.WORTH_PROCESSES = 1
main()
"""
SHARING = (sys.executable, "-c", SHORT_SWEEPS_SHARE)
several_cores = pytest.mark.skipif(training.usable_cores() < 2, reason="there is nothing to share")


@several_cores
def test_by_default_studies_share_the_cores_and_come_to_the_same(
    process: Callable[..., Done], undisturbed_conv: Path, tmp_path: Path
) -> None:
    done = process("run", *CONV, cwd=tmp_path, command=SHARING, changes={"OMP_NUM_THREADS": ""})
    assert done.code == 0, done.err
    assert re.search(r"workers  2 processes of \d+ threads?, a trial in each\n", done.err)
    starts = [done.err.index(f"\nd={dim} trial 0: lr") for dim in (2, 4)]
    assert max(starts) < done.err.index(": epoch"), "both run before the first validates"
    if "processes of 1 thread," in done.err:
        assert stored(tmp_path / "store") == stored(undisturbed_conv)


@pytest.fixture
def _two_cores() -> Iterator[None]:
    """Have this process, and those that it starts, use two cores alone: one for each trial."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


@several_cores
@pytest.mark.usefixtures("_two_cores")
def test_a_sweep_that_shares_the_cores_is_killed_and_resumes_sharing_them(
    process: Callable[..., Done], undisturbed_conv: Path, tmp_path: Path
) -> None:
    place = ("--store", str(tmp_path / "store"))
    with new_python("run", *CONV, *place, command=SHARING, OMP_NUM_THREADS="") as sweep:
        said = read_until(sweep, "d=4 trial 0: epoch")
        workers = _workers(sweep.pid)
    assert len(workers) == 2, said
    assert wait_until_gone(workers, 60) == []
    resumed = process(
        "run", "--name", "small", "--resume", *place,
        cwd=tmp_path, command=SHARING, changes={"OMP_NUM_THREADS": ""},
    )  # fmt: skip
    assert resumed.code == 0, resumed.err
    assert "workers  2 processes of 1 thread," in resumed.err
    assert stored(tmp_path / "store").filled == stored(undisturbed_conv).filled


def _workers(pid: int) -> list[int]:
    """Return the worker processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize(
    ("marker", "workers_to_resume"),
    [("d=4 trial 0: lr", 3), (r"d=[24] trial 0: epoch 1 ", 1), ("d=[24] repeat 1: epoch", 1)],
)
def test_ctrl_c_ends_all_workers_and_any_number_of_them_completes_the_sweep(
    server: Server,
    process: Callable[..., Done],
    undisturbed_conv: Path,
    tmp_path: Path,
    marker: str,
    workers_to_resume: int,
) -> None:
    empty_store(tmp_path)
    with server.start("run", *CONV, *TWO, cwd=tmp_path, known_speed=True) as sweep:
        said = read_until(sweep, marker)
        workers = _workers(sweep.pid)
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does: workers get it as well
        out, err = sweep.communicate()
    assert (sweep.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert "failed" not in said + err
    assert err.splitlines()[-1].startswith("interrupted; complete it with: ")
    assert workers
    assert wait_until_gone(workers, 0) == []

    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 0
    assert left.parent == "KILLED"
    assert not {"RUNNING", "WAITING"} & set(left.trials)
    check_databases(tmp_path / "store", whole=False)
    resume(process, tmp_path, "--workers", str(workers_to_resume))
    whole = stored(tmp_path / "store")
    assert left.filled.items() <= whole.filled.items(), "what was there is left as it was"
    assert len(whole.filled) == 6
    check_agree(whole, stored(undisturbed_conv))
    assert (whole.parent, whole.statuses["RUNNING"]) == ("FINISHED", 0)


def test_ctrl_c_while_workers_are_started_to_measure_says_one_line(
    server: Server, tmp_path: Path
) -> None:
    for delay_seconds in (0.0, 0.3, 1.5):
        with server.start("run", *CONV, *TWO, cwd=tmp_path) as sweep:
            read_until(sweep, "measuring")
            time.sleep(delay_seconds)  # the moment is what varies
            workers = _workers(sweep.pid)
            os.killpg(sweep.pid, signal.SIGINT)
            out, err = sweep.communicate()
        assert (sweep.returncode, out) == (130, "")
        assert err == "interrupted\n"
        assert wait_until_gone(workers, 0) == []
    assert not list(tmp_path.iterdir())


def test_workers_end_with_a_sweep_that_is_killed_and_it_resumes(
    server: Server, process: Callable[..., Done], undisturbed_conv: Path, tmp_path: Path
) -> None:
    empty_store(tmp_path)
    with server.start("run", *CONV, *TWO, cwd=tmp_path, known_speed=True) as sweep:
        read_until(sweep, r"d=4 trial 0: epoch 0\.5")
        workers = _workers(sweep.pid)
        assert len(workers) == 2
        sweep.kill()
        sweep.wait()
    assert wait_until_gone(workers, 60) == []
    resume(process, tmp_path)
    assert stored(tmp_path / "store").filled == stored(undisturbed_conv).filled


def test_a_trial_whose_worker_is_killed_is_tried_again_and_the_sweep_is_whole(
    server: Server, undisturbed_conv: Path, tmp_path: Path
) -> None:
    empty_store(tmp_path)
    with server.start("run", *CONV, *TWO, cwd=tmp_path, known_speed=True) as sweep:
        said = read_until(sweep, r"d=4 trial 0: epoch 0\.5")
        os.kill(_workers(sweep.pid)[1], signal.SIGKILL)
        out, err = sweep.communicate()
    err = said + err
    assert sweep.returncode == 0, err
    assert len(out.splitlines()) == 3, "both dims have a point"
    (failed,) = re.findall(r"^\[\d/6\] (.*): failed .*SIGKILL.*; trying again;", err, re.MULTILINE)
    assert re.search(rf"^\[\d/6\] {failed}: (finished|pruned)", err, re.MULTILINE)
    assert "[6/6]" in err
    assert "[7/6]" not in err
    whole = stored(tmp_path / "store")
    assert whole.statuses["FAILED"] == 0
    assert len(whole.filled) == 6
    assert sorted(whole.trials).count("FAIL") == 1, "the search that was tried again"
    check_agree(whole, stored(undisturbed_conv))


def test_auto_takes_the_workers_that_measured_best_and_says_so(
    process: Callable[..., Done], tmp_path: Path
) -> None:
    done = process(
        "run", *SMALL, "--workers", "auto", "--dry-run", "--json",
        cwd=tmp_path,
        changes={"OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.code == 0, done.err
    (choice,) = [line for line in done.err.splitlines() if line.startswith("workers")]
    assert re.search(r"at d=4: 1 × \d+ [\d,]+(, \d+ × \d+ [\d,]+)*; taking \d+$", choice), choice
    plan = json.loads(done.out)
    assert plan["workers"] == int(choice.split()[-1])
    assert f" {plan['workers']} × {plan['threads_per_worker']} " in choice
    assert not list(tmp_path.iterdir())
