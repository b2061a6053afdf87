"""Several trials at a time on one device: each in a process of its own, or all in one."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from typing import TYPE_CHECKING

import torch

from ae_sweep import data, training
from ae_sweep.locations import cache_dir
from benchmarks.gpu_variants import WARM_UP_STEPS, synchronise, timed_steps, trainer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from multiprocessing.synchronize import Barrier

    from ae_sweep.training.trainer import Trainer
    from benchmarks.images import Images

IN_PROCESSES, IN_ONE_PROCESS = "processes", "one process"
START_SECONDS = 300
"""Longest wait for all processes to be ready."""


def packed_seconds(
    kind: str,
    count: int,
    *,
    images: Images,
    device: str,
    steps: int,
    latent_dim: int,
    batch_size: int,
) -> float:
    """Train some trials at a time; return the seconds from their first step to the last one's end.

    Raises
    ------
    RuntimeError
        If a process fails.
    """
    settings = (images, device, latent_dim, batch_size)
    if kind == IN_ONE_PROCESS:
        return _interleaved(*_trainers(range(count), *settings), steps=steps)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count + 1)
    processes = [
        context.Process(target=_train, args=(barrier, seed, steps, *settings), daemon=True)
        for seed in range(count)
    ]
    for process in processes:
        process.start()
    try:
        barrier.wait(START_SECONDS)
        started = time.perf_counter()
        barrier.wait(START_SECONDS)
        return time.perf_counter() - started
    except Exception as error:
        raise RuntimeError(f"one of {count} processes failed: {error!r}") from error
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def _train(
    barrier: Barrier,
    seed: int,
    steps: int,
    images: Images,
    device: str,
    latent_dim: int,
    batch_size: int,
) -> None:
    try:
        (made,) = _trainers([seed], images, device, latent_dim, batch_size)
        timed_steps(made, WARM_UP_STEPS)
        barrier.wait(START_SECONDS)
        timed_steps(made, steps)
        barrier.wait(START_SECONDS)
    except BaseException:
        barrier.abort()  # nobody waits for this process
        raise


def _interleaved(*made: Trainer, steps: int) -> float:
    """Take steps in turns, those of each trial in order on a stream of its own."""
    device = made[0].images.device
    streams = [_stream(device) for _ in made]
    _in_turns(made, streams, WARM_UP_STEPS)
    synchronise(device)
    started = time.perf_counter()
    _in_turns(made, streams, steps)
    synchronise(device)
    return time.perf_counter() - started


def _in_turns(
    made: tuple[Trainer, ...], streams: list[torch.cuda.Stream | None], steps: int
) -> None:
    for _ in range(steps):
        for each, stream in zip(made, streams, strict=True):
            with _on(stream):
                each.take_step()


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    return contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)


def _trainers(
    seeds: range | list[int], images: Images, device: str, latent_dim: int, batch_size: int
) -> list[Trainer]:
    """Make trainers that share the images, as those of one process do."""
    training.prepare_process()
    dataset = data.load(images.dataset, cache_dir=cache_dir(), train_limit=images.train_limit)
    placed = training.place(dataset, training.resolve_device(device))
    made = [
        trainer(placed, latent_dim=latent_dim, batch_size=batch_size, seed=seed) for seed in seeds
    ]
    synchronise(placed.device)
    return made
