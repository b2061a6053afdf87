"""Kills sweeps with SIGKILL at random moments and resumes them until they are whole.

A sweep with its own store is killed and resumed until it ends by itself, then another, until there
were enough kills. Each must hold what an undisturbed one holds, to the last digit. ``make torture``
does it for long.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from commands import Done
from sweep_support import CONV, check_databases, empty_store, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from commands import Server
    from sweep_support import Stored

pytestmark = pytest.mark.slow

RESUME = ("run", "--name", "small", "--resume", "--store", "store")
NOT_STORED = 3
"""Exit code of a resumption where nothing was stored before the kill."""


@dataclass
class Tally:
    """What was done to the sweeps."""

    kills: int = 0
    sweeps: int = 0
    starts: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    """Kills by what the command had reported last."""

    def __str__(self) -> str:
        moments = ", ".join(f"{count} {moment}" for moment, count in self.moments.most_common())
        return (
            f"{self.kills} kills in {self.sweeps} sweeps and {self.starts} starts: every point "
            f"once, equal to the last digit ({moments})"
        )


def test_a_sweep_that_is_killed_at_any_moments_ends_as_one_that_was_not(
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    process("--version", cwd=tmp_path)  # the server of commands is warm from here on
    started = time.monotonic()
    done = process("run", *CONV, cwd=tmp_path, known_speed=True)
    longest_seconds = time.monotonic() - started
    assert done.code == 0, done.err
    kills, seed = (int(pytestconfig.getoption(name)) for name in ("--kills", "--kill-seed"))
    torture = Torture(
        server=server,
        undisturbed=stored(tmp_path / "store"),
        kills=kills,
        longest_seconds=longest_seconds,
        moments=random.Random(seed),
    )
    tally = torture.run(tmp_path, workers=(1, 1, 2))
    logging.getLogger(__name__).info("%s", tally)


@dataclass(frozen=True, kw_only=True)
class Torture:
    """What is done to sweeps."""

    server: Server
    undisturbed: Stored
    """What a sweep of ``CONV`` holds that nobody killed."""
    kills: int
    """How many at least."""
    longest_seconds: float
    """From a start to the kill, at most."""
    moments: random.Random
    tally: Tally = field(default_factory=Tally)

    def run(self, place: Path, *, workers: Sequence[int]) -> Tally:
        """Kill and resume sweeps until there were enough kills, and check each at its end.

        Parameters
        ----------
        workers
            Of the sweeps, in turns.
        """
        while self.tally.kills < self.kills or not self.tally.sweeps:
            count = workers[self.tally.sweeps % len(workers)]
            directory = place / f"sweep-{self.tally.sweeps}"
            directory.mkdir()
            self._until_whole(directory, workers=count)
            _check(directory / "store", self.undisturbed, pruning_may_differ=count > 1)
            self.tally.sweeps += 1
        return self.tally

    def _until_whole(self, directory: Path, *, workers: int) -> None:
        empty_store(directory)
        options = ("--workers", str(workers)) if workers > 1 else ()
        first, again = ("run", *CONV, *options), (*RESUME, *options)
        words = first
        while True:
            self.tally.starts += 1
            ended = self._killed(directory, words)
            if ended is None:
                check_databases(directory / "store", whole=False)
                words = again
            elif ended.code == NOT_STORED and words == again:
                words = first
            else:
                assert ended.code == 0, ended
                return

    def _killed(self, directory: Path, words: Sequence[str]) -> Done | None:
        """Start a command and kill it at a moment; return how it ended if nothing killed it.

        Either all its processes are killed, or the first alone.
        """
        with self.server.start(*words, cwd=directory, known_speed=True) as command:
            if self.tally.kills < self.kills:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.wait(self.moments.uniform(0.0, self.longest_seconds))
                if command.poll() is None:
                    kill = os.killpg if self.moments.random() < 0.5 else os.kill
                    kill(command.pid, signal.SIGKILL)
            out, err = command.communicate()
            if command.wait() != -signal.SIGKILL:
                return Done(command.wait(), out, err)
            self.tally.kills += 1
            self.tally.moments[_last_report(err)] += 1
            return None


def _last_report(said: str) -> str:
    """Return the kind of the last line that a command reported."""
    lines = said.splitlines()
    if not lines:
        return "before a first line"
    if "epoch" in lines[-1]:
        return "in a training"
    return "after a trial" if lines[-1].startswith("[") else "between trials"


def _check(store: Path, undisturbed: Stored, *, pruning_may_differ: bool) -> None:
    check_databases(store)
    whole = stored(store)
    assert whole.parent == "FINISHED", whole
    assert whole.statuses["RUNNING"] == 0, whole
    assert "RUNNING" not in whole.trials, whole
    if pruning_may_differ:
        assert whole.filled.keys() >= undisturbed.filled.keys(), whole
        return
    assert whole.filled == undisturbed.filled, "the same points with the same numbers"
    done = Counter(state for state in whole.trials if state in ("COMPLETE", "PRUNED"))
    wanted = Counter(state for state in undisturbed.trials if state in ("COMPLETE", "PRUNED"))
    assert done == wanted, "every slot filled once in Optuna's file"
