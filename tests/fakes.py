"""Helpers of the tests: tiny images, a training without a network, a tracker in memory."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import math
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperparameter_fakes import with_hyperparameters

from ae_sweep.config import (
    Choices,
    Condition,
    SearchSpace,
    SweepConfig,
    TrialConfig,
)
from ae_sweep.config.hyperparameters import GOOD_LR
from ae_sweep.interruption import Interrupted
from ae_sweep.records import (
    DatasetCard,
    EpochResult,
    Outcome,
    Reconstructions,
    Role,
    TrialResult,
)
from ae_sweep.sweep.worker import InlineWorker, JobFailed, JobValidated

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ae_sweep.sweep.worker import WorkerEvent

GOLDEN = Path(__file__).parent / "golden"
NO_PICTURES = Reconstructions(shape=(1, 1, 1, 1), originals=b"\0", reconstructions=b"\0")


def golden(name: str, value: Any) -> Any:
    """Read a golden file; only AE_SWEEP_WRITE_GOLDEN=1 writes it first."""
    path = GOLDEN / name
    if os.environ.get("AE_SWEEP_WRITE_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    assert path.exists(), f"no golden {name}; write one with: make golden"
    return json.loads(path.read_text(encoding="utf-8"))


def sweep_config(**changes: Any) -> SweepConfig:
    """A sweep of two dims over six configurations."""
    settings: dict[str, Any] = {
        "name": "first",
        "dims": (2, 8),
        "space": SearchSpace(lr=Choices((1e-3, 4e-3, 1e-2)), epochs=Choices((2, 4))),
        "trials": 3,
    }
    return SweepConfig(**{**settings, **changes})


def trial_config(**changes: Any) -> TrialConfig:
    """A trial of d=2; hyperparameters are given by their names, as other settings are."""
    return TrialConfig(**with_hyperparameters({"latent_dim": 2, **changes}))


def tiny_images(
    *,
    train: int = 40,
    val: int = 12,
    test: int = 12,
    side: int = 8,
    most_bytes: int | None = None,
) -> Any:
    """The middle of some drawn shapes, placed on the CPU; at 28 the whole images."""
    import torch

    from ae_sweep import data, training

    dataset = _shapes()
    edge, step = (6, 16 // side) if side < 28 else (0, 1)
    window = slice(edge, 28 - edge, step)

    def cut(x_NCHW: Any, count: int) -> Any:
        return x_NCHW[:count, :, window, window].copy()

    card = DatasetCard(
        name="tiny",
        digest="0123456789abcdef",
        source="generated",
        train_images=train,
        val_images=val,
        test_images=test,
        image_shape=(1, side, side),
    )
    small = data.ImageDataset(
        card=card,
        train_NCHW=cut(dataset.train_NCHW, train),
        train_labels_N=dataset.train_labels_N[:train],
        val_NCHW=cut(dataset.val_NCHW, val),
        val_labels_N=dataset.val_labels_N[:val],
        test_NCHW=cut(dataset.test_NCHW, test),
        test_labels_N=dataset.test_labels_N[:test],
    )
    return training.place(small, torch.device("cpu"), most_bytes=most_bytes)


@functools.cache
def _shapes() -> Any:
    from ae_sweep import data

    return data.load("shapes", cache_dir=Path("/nowhere"))


def difficulty(config: TrialConfig) -> float:
    """The validation error that a fake training ends with; lowest at a good lr and many epochs."""
    off = abs(math.log10(config.hyperparameters.lr / GOOD_LR))
    return (
        (1 + off)
        * (1 + 1 / config.hyperparameters.epochs)
        / config.latent_dim
        * (1 + config.seed / 1000)
    )


def epoch_result(quarter: int, val_mse: float) -> EpochResult:
    return EpochResult(
        epoch=float(quarter),
        step=quarter * 10,
        quarter=quarter,
        train_mse=val_mse,
        val_mse=val_mse,
        val_psnr=None,
        images_per_second=1.0,
        epoch_seconds=1.0,
    )


def trial_result(config: TrialConfig, **changes: Any) -> TrialResult:
    fields: dict[str, Any] = {
        "val_mse": difficulty(config),
        "test_mse": difficulty(config),
        "test_psnr": 10.0,
        "compression_ratio": 784 / config.latent_dim,
        "parameters": 1,
        "train_seconds": 1.0,
        "step": 40,
        "pictures": NO_PICTURES,
        "weights": b"",
    }
    return TrialResult(**{**fields, **changes})


@dataclass
class FakeTraining:
    """Trains nothing in four quarters; interrupted at one of all its moments, if told so."""

    interrupt_at: int | None = None
    error: Callable[[TrialConfig], Exception | None] = lambda _config: None
    started: list[TrialConfig] = field(default_factory=list)
    ended: list[TrialConfig] = field(default_factory=list)
    closed: list[TrialConfig] = field(default_factory=list)
    moments: int = 0

    def __call__(self, config: TrialConfig) -> Generator[EpochResult, None, TrialResult]:
        self.started.append(config)
        try:
            for quarter in range(1, 5):
                self._pass_moment()
                if quarter == 3 and (error := self.error(config)) is not None:
                    raise error
                yield epoch_result(quarter, difficulty(config) * (2 - quarter / 4))
            self._pass_moment()
        except (GeneratorExit, Interrupted):
            self.closed.append(config)
            raise
        self.ended.append(config)
        return trial_result(config)

    def _pass_moment(self) -> None:
        if self.moments == self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt
        self.moments += 1


@dataclass
class FakeWorker:
    """A worker of several slots that trains in this process, its jobs in an order of its own."""

    training: FakeTraining
    slots: int = 2
    seed: int | None = None
    """Draws whose turn it is; in turns if left out."""
    dies: Callable[[TrialConfig], bool] = lambda _config: False
    """Tells whose process dies in mid-training."""
    most: int = 0
    saves: int = 0
    """How often the jobs were to save themselves."""
    jobs: dict[int, InlineWorker] = field(default_factory=dict)
    configs: dict[int, TrialConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = None if self.seed is None else random.Random(self.seed)

    def submit(self, job: int, config: TrialConfig) -> None:
        assert len(self.jobs) < self.slots
        self.jobs[job] = InlineWorker(self.training)
        self.jobs[job].submit(job, config)
        self.configs[job] = config
        self.most = max(self.most, len(self.jobs))

    def next_event(self) -> WorkerEvent:
        job = self._rng.choice(list(self.jobs)) if self._rng else next(iter(self.jobs))
        worker = self.jobs.pop(job)
        event = worker.next_event()
        if (
            isinstance(event, JobValidated)
            and event.result.quarter == 2
            and self.dies(self.configs[job])
        ):
            worker.stop(job)
            return JobFailed(job, "its worker process was ended by signal 9 (SIGKILL)", killed=True)
        if isinstance(event, JobValidated):
            self.jobs[job] = worker  # at the end of the queue
        return event

    def save(self) -> None:
        self.saves += 1
        for worker in self.jobs.values():
            worker.save()

    def stop(self, job: int) -> None:
        if worker := self.jobs.pop(job, None):
            worker.stop(job)

    def close(self) -> None:
        for job in list(self.jobs):
            self.stop(job)


@dataclass
class FakeLog:
    """Remembers one trial."""

    config: TrialConfig
    name: str
    role: Role
    epochs: list[EpochResult] = field(default_factory=list)
    outcome: Outcome = Outcome.RUNNING
    val_mse: float | None = None
    reason: str | None = None

    def log_epoch(self, result: EpochResult) -> None:
        self.epochs.append(result)

    def finish(self, result: TrialResult) -> None:
        self.val_mse = result.val_mse
        self._end(Outcome.FINISHED)

    def prune(self) -> None:
        self._end(Outcome.PRUNED)

    def fail(self, reason: str) -> None:
        self.reason = reason
        self._end(Outcome.FAILED)

    def interrupt(self) -> None:
        self._end(Outcome.INTERRUPTED)

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is Outcome.RUNNING:
            self.outcome = outcome


@dataclass
class FakeTracker:
    """Remembers trials; one object serves a sweep and its resumptions, like a store."""

    logs: list[FakeLog] = field(default_factory=list)

    def start_trial(self, config: TrialConfig, *, name: str, role: Role) -> FakeLog:
        self.logs.append(FakeLog(config, name, role))
        return self.logs[-1]

    def finished(self, config: TrialConfig) -> float | None:
        done = [log for log in self.logs if log.outcome is Outcome.FINISHED]
        return next((log.val_mse for log in done if log.config == config), None)

    def outcomes(self) -> list[Outcome]:
        return [log.outcome for log in self.logs]


class BreakingTracker(FakeTracker):
    """A store that is gone from the named call on: every later call fails as well."""

    def __init__(self, breaks_at: str, error: Exception) -> None:
        super().__init__()
        self.breaks_at = breaks_at
        self.error = error
        self.broken = False

    def check(self, call: str) -> None:
        self.broken = self.broken or call == self.breaks_at
        if self.broken:
            raise self.error

    def start_trial(self, config: TrialConfig, *, name: str, role: Role) -> FakeLog:
        self.check("start_trial")
        log = BreakingLog(config, name, role)
        log.tracker = self
        self.logs.append(log)
        return log

    def finished(self, config: TrialConfig) -> float | None:
        self.check("finished")
        return super().finished(config)


class BreakingLog(FakeLog):
    """A log of a breaking tracker."""

    tracker: BreakingTracker

    def log_epoch(self, result: EpochResult) -> None:
        self.tracker.check("log_epoch")
        super().log_epoch(result)

    def finish(self, result: TrialResult) -> None:
        self.tracker.check("finish")
        super().finish(result)

    def _end(self, outcome: Outcome) -> None:
        self.tracker.check(outcome.value)
        super()._end(outcome)


def run_sweep(
    path: Path,
    config: SweepConfig,
    *,
    training: FakeTraining,
    tracker: FakeTracker,
    events: int | None = None,
    killed: bool = False,
    worker: FakeWorker | None = None,
    forget: Callable[[TrialConfig], None] | None = None,
    in_turn: bool = False,
) -> list[Any]:
    """Run a sweep to its end, or give it up after some events, as a caller or a killed process."""
    from ae_sweep import sweep

    studies = sweep.open_studies(path, config, identity=config.identity())
    worker = worker or sweep.InlineWorker(training)
    driver = sweep.Driver(
        config, studies=studies, worker=worker, tracker=tracker, forget=forget, in_turn=in_turn
    )
    with contextlib.closing(driver.run()) as running:
        told = list(itertools.islice(running, events))
        if killed:
            driver._jobs.clear()  # a killed process tidies nothing up
    return told


def optuna_trials(path: Path, name: str) -> list[Any]:
    """Read a study's trials with nothing but Optuna."""
    import optuna

    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path}")
    return study.get_trials()


@contextlib.contextmanager
def careless_sqlite() -> Iterator[None]:
    """Have SQLite not wait for the disk: a test's database need not survive a power cut."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


def fresh_optuna_file(directory: Path) -> Path:
    """Copy an empty database: Optuna takes half a second to make one."""
    path = directory / "optuna.db"
    shutil.copy(_empty_optuna_file(), path)
    return path


@functools.cache
def _empty_optuna_file() -> Path:
    from ae_sweep.sweep.storage import open_storage

    directory = Path(tempfile.mkdtemp(prefix="ae-sweep-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    open_storage(directory / "optuna.db")
    return directory / "optuna.db"


def of_conv(counts: dict[int, int]) -> dict[Condition, int]:
    """Tell counts by latent dim as those of the conditions of a sweep of the reference model."""
    return {Condition(dim, "conv"): count for dim, count in counts.items()}
