"""A stored sweep that is resumed: what it keeps, what it refuses, how it grows."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
import shared
from commands import SignalAfter
from sweep_support import SMALL, empty_store, resume, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Server
    from conftest import Done

pytestmark = pytest.mark.slow


def test_a_killed_sweep_resumes_without_training_a_finished_point_and_may_grow(
    server: Server, process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    empty_store(tmp_path)
    killed = SignalAfter(r"d=4 trial 0: epoch 0\.5", signal.SIGKILL)
    command = server.start("run", *SMALL, cwd=tmp_path, known_speed=True, signal_at=killed)
    with command as running:
        assert running.wait() == -signal.SIGKILL
    left = stored(tmp_path / "store")
    assert left.statuses["RUNNING"] == 2, "the sweep and its trial: nobody could end them"
    assert left.filled, "the first trials were finished"

    plan = process(
        "run", "--name", "small", "--resume", "--dry-run", "--json", "--store", "store",
        cwd=tmp_path, known_speed=True,
    )  # fmt: skip
    assert plan.code == 0, plan.err
    assert json.loads(plan.out)["trials_to_train"] == 6 - len(left.filled)
    assert stored(tmp_path / "store") == left, "a plan changes nothing"

    resumed = resume(process, tmp_path)
    assert f"/{6 - len(left.filled)}] " in resumed.err
    whole = stored(tmp_path / "store")
    assert whole.filled == stored(undisturbed).filled
    assert whole.statuses["RUNNING"] == 0
    assert "RUNNING" not in whole.trials

    grown = resume(process, tmp_path, "--dims", "2", "4", "8")
    assert re.findall(r"^\[\d/\d\] d=(\d)", grown.err, re.MULTILINE) == ["8"] * 3, grown.err
    assert [line.split()[0] for line in grown.out.splitlines()[1:]] == ["2", "4", "8"]
    after = stored(tmp_path / "store")
    assert whole.filled.items() < after.filled.items()
    assert len(after.filled) == 9


@pytest.mark.parametrize(
    ("words", "needles"),
    [
        ([], ["'small' is stored already", "--resume"]),
        (["--resume", "--lr", "1e-4:1e-3"], ["lr", "0.0001:0.001", "0.001:0.01", "--name"]),
        (["--resume", "--epochs", "2", "4"], ["epochs", "1:2", "2 4", "--name"]),
        (["--resume", "--seed", "6"], ["seed", "5", "6", "--name"]),
        (["--resume", "--dataset", "mnist"], ["dataset", "shapes", "mnist", "--name"]),
        (["--resume", "--train-limit", "600"], ["train-limit", "512", "600", "--name"]),
        (["--resume", "--pruner", "none"], ["pruner", "median", "none", "--name"]),
    ],
    ids=lambda value: " ".join(value) or "same name" if isinstance(value, list) else "",
)
def test_another_space_under_a_stored_name_is_a_conflict_and_changes_nothing(
    process: Callable[..., Done], undisturbed: Path, words: list[str], needles: list[str]
) -> None:
    before = stored(undisturbed)
    dataset = [] if "--resume" in words else ["--dataset", "shapes"]
    done = process(
        "run", "--name", "small", "--store", "store", *dataset, *words,
        cwd=undisturbed.parent, known_speed=True,
    )  # fmt: skip
    assert (done.code, done.out) == (4, "")
    assert done.err.count("error: ") == done.err.count("\n") == 1, done.err
    for needle in needles:
        assert needle in done.err
    assert stored(undisturbed) == before


def test_a_finished_sweep_that_is_resumed_trains_nothing_and_tells_the_same_table(
    process: Callable[..., Done], undisturbed: Path, tmp_path: Path
) -> None:
    store = shared.copy_store(undisturbed, tmp_path / "store")
    before = stored(store)
    resumed = resume(process, tmp_path)
    assert "[1/" not in resumed.err
    shown = process("frontier", "small", "--store", "store", cwd=tmp_path)
    assert resumed.out == shown.out
    assert len(resumed.out.splitlines()) == 3
    after = stored(store)
    assert (after.filled, after.parent, after.trials) == (before.filled, "FINISHED", before.trials)
