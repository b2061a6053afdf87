"""Trainings for worker processes that need no torch; a model's name selects what they do."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from fakes import difficulty, epoch_result, trial_result

from ae_sweep import interruption
from ae_sweep.errors import (
    DataError,
    DeviceLostError,
    TrainingDivergedError,
    TrainingFailedError,
)
from ae_sweep.interruption import Interrupted
from ae_sweep.sweep import ProcessWorker

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ae_sweep.config import TrialConfig
    from ae_sweep.records import EpochResult, TrialResult
    from ae_sweep.sweep import Train

ERRORS = {
    "diverges": TrainingDivergedError("loss nan at step 7"),
    "has no memory": TrainingFailedError("out of memory (CUDA out of memory)"),
    "says nothing": TrainingFailedError(""),
    "has a bug": TypeError("a bug"),
    "has a wrong shape": RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    "loses its device": DeviceLostError(
        "the device failed: CUDA error: unspecified launch failure"
    ),
}


def open_fake(place: Path, how: str = "well") -> Train:
    """Set up well, or not; trainings leave a file for each quarter they begin."""
    if how == "raises":
        raise DataError("the images are gone")
    if how == "has a bug":
        raise TypeError("a bug")
    if how == "dies":
        os._exit(3)
    if how == "dies twice" and len(list(place.glob("died-*"))) < 2:
        (place / f"died-{os.getpid()}").touch()
        os._exit(3)
    return partial(train, place)


def train(place: Path, config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
    """Train nothing; leave a file if it could have saved itself at an interruption."""
    try:
        return (yield from _train(place, config))
    except Interrupted:
        (place / f"{config.seed}-saved").touch()
        raise


def _train(place: Path, config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
    for quarter in range(1, 5):
        mark = place / f"{config.seed}-{quarter}"
        mark.with_suffix(".new").write_text(str(os.getpid()))
        mark.with_suffix(".new").rename(mark)
        if quarter == 3:
            if config.model == "hangs":
                time.sleep(600)
            while config.model == "takes steps":
                time.sleep(0.01)
                interruption.check()
            if config.model == "exits":
                os._exit(7)
            if config.model in ERRORS:
                raise ERRORS[config.model]
        yield epoch_result(quarter, difficulty(config) * (2 - quarter / 4))
    return trial_result(config)


def wait_for(mark: Path) -> int:
    """Wait for a training to begin a quarter; tell its process."""
    deadline = time.monotonic() + 600
    while not mark.exists():
        assert time.monotonic() < deadline, f"{mark.name} was not begun"
        time.sleep(0.01)
    return int(mark.read_text())


def is_there(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int], seconds: float) -> list[int]:
    """Wait for processes to end; tell those that have not."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_there(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def hang(place: Path) -> None:
    """Have two processes hang in mid-training, for this process to be killed meanwhile."""
    from fakes import trial_config

    assert multiprocessing.parent_process() is None
    with ProcessWorker([partial(open_fake, place)] * 2) as worker:
        for seed in (1, 2):
            worker.submit(seed, trial_config(seed=seed, model="hangs"))
        while True:
            worker.next_event()
