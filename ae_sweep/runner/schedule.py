"""Default epochs and batch size for a user's own images, chosen by optimiser steps.

Three thousand images take about as many steps to learn as a hundred thousand, so that the default
number of epochs follows from the number of images. A few hundred are learned by heart in that time
and get half as many steps; ten thousand in small batches get twice as many (docs/LOG.md).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ae_sweep.config import AUTO, PARAMETERS, Choices, SearchSpace, bounds
from ae_sweep.messages import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ae_sweep.config import SweepConfig

CHOSEN = ("epochs", "batch_size")
"""Parameters that have such a default."""
UNTIL_KNOWN = {"epochs": "1 2"}
"""Texts that stand for the defaults of separate trainings until the images are counted: as many
values as there will be."""
STEPS = 430
"""Of the shorter schedule, an epoch of MNIST in batches of 128; the longer has twice as many."""
NESTED_STEPS = 4 * STEPS
FEW_IMAGES = 1_000
"""Fewer training images than this get half of those steps."""
MANY_IMAGES = 5_000
"""From this many on, small batches get twice those steps."""
SMALL_SET = 20_000
"""Fewer training images than this are trained on in small batches."""
SMALL_BATCH = 32


def unsettled(config: SweepConfig, given: Mapping[str, Any]) -> frozenset[str]:
    """Return the settings of a new sweep that wait for the images: their number, their size.

    Parameters
    ----------
    given
        By option name; None and empty lists were not given.
    """
    grid = {"dims"} if config.auto is not None and given.get("dims") in (AUTO, [AUTO]) else set()
    if not config.own_images:
        return frozenset(grid)
    return frozenset(grid | {name for name in CHOSEN if given.get(name) in (None, [])})


def within_images(config: SweepConfig, *, chosen: Collection[str], numbers: int) -> SweepConfig:
    """Leave out of a grid that was not given the dims that compress nothing.

    Parameters
    ----------
    numbers
        In one image.
    """
    if "dims" not in chosen:
        return config
    dims = tuple(dim for dim in config.dims if dim < numbers)
    return dataclasses.replace(config, dims=dims or config.dims)


def with_schedule(
    config: SweepConfig, *, chosen: Collection[str], train_images: int
) -> SweepConfig:
    """Choose epochs and batch size.

    Parameters
    ----------
    chosen
        The parameters to choose; all others stay.
    """
    domains = dict(config.space.domains)
    if "batch_size" in chosen:
        default = PARAMETERS["batch_size"].default
        size = default if train_images >= SMALL_SET else min(SMALL_BATCH, train_images)
        domains["batch_size"] = Choices((size,))
    if "epochs" in chosen:
        epoch = steps_per_epoch(SearchSpace(**domains), train_images=train_images)
        nested = config.method == "nested"
        steps = (NESTED_STEPS if nested else STEPS) * _share(
            train_images, small_batches=_smallest_batch(SearchSpace(**domains)) <= SMALL_BATCH
        )
        least = max(1, round(steps / epoch))
        domains["epochs"] = Choices((least,) if nested else (least, 2 * least))
    return dataclasses.replace(config, space=SearchSpace(**domains))


def steps_per_epoch(space: SearchSpace, *, train_images: int) -> int:
    """Return the steps of an epoch with the smallest batch size."""
    return train_images // min(_smallest_batch(space), train_images)


def schedule_text(config: SweepConfig, *, chosen: Collection[str], train_images: int) -> str:
    """Say which epochs and batch size were chosen, and by what: ``epochs 4 or 8: 3,171 …``."""
    space = config.space
    values = [
        f"{PARAMETERS[name].words} {' or '.join(str(space[name]).split())}"
        for name in CHOSEN
        if name in chosen
    ]
    steps = counted(steps_per_epoch(space, train_images=train_images), "step")
    return (
        f"{', '.join(values)}: {train_images:,} training images make {steps} of "
        f"{min(_smallest_batch(space), train_images)} an epoch"
    )


def _share(train_images: int, *, small_batches: bool) -> float:
    """Return the steps of a number of images as a multiple of the usual ones."""
    if train_images < FEW_IMAGES:
        return 0.5
    return 2.0 if train_images >= MANY_IMAGES and small_batches else 1.0


def _smallest_batch(space: SearchSpace) -> int:
    return int(min(bounds(space["batch_size"])))
