"""Engine of a cluster: a seat on some node for each trial that is trained at a time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep.cluster.connection import connect
from ae_sweep.cluster.remote import RemoteSeat, ask, ask_together
from ae_sweep.cluster.room import SeatSize, gpus_of_trial, seats_of
from ae_sweep.cluster.worker import ClusterWorker
from ae_sweep.config.parsing import MAX_SEATS
from ae_sweep.messages import counted
from ae_sweep.runner.memory import needed_bytes
from ae_sweep.runner.seat_work import (
    Calibrate,
    Describe,
    SeatFacts,
    hash_pixels,
    open_bare,
    open_seat,
)
from ae_sweep.runner.worker_process import Probe, WorkerSpec
from ae_sweep.runner.workers import patience_seconds, speeds_by_dim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ae_sweep import data, training
    from ae_sweep.cluster.connection import Connection
    from ae_sweep.cluster.settings import ClusterConfig
    from ae_sweep.config import SweepConfig, TrialConfig
    from ae_sweep.models import ImageShape
    from ae_sweep.records import DatasetCard
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Worker


@dataclass(kw_only=True)
class ClusterPlace:
    """A cluster as the place of trainings, which begins with one seat. Close it in the end.

    What a sweep's setup asks of it, that seat answers.
    """

    connection: Connection
    config: ClusterConfig
    device_name: str
    """As the user names it."""
    workers: int | None
    """Trials at a time; None takes as many as the cluster holds."""
    size: SeatSize
    seats: list[RemoteSeat]
    """Those that have started, the first of which is asked."""
    facts: SeatFacts

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of the first seat; those of the others are theirs."""
        return (self.facts.device,)

    @property
    def hardware(self) -> str:
        """What speed and rounding of that device depend on, but threads."""
        return self.facts.hardware

    @property
    def parameters(self) -> Mapping[str, str | int]:
        """Node, device and threads of the first seat."""
        return self.facts.parameters

    def choose_precision(
        self, *, model: str, image_shape: ImageShape, batch_size: int
    ) -> training.Precision:
        """Choose the precision by a calibration in the first seat."""
        job = Calibrate(model=model, image_shape=image_shape, batch_size=batch_size)
        precision: training.Precision = ask(self.connection, self.seats[0], job)
        return precision

    def most_workers(
        self, config: SweepConfig, card: DatasetCard, *, image_memory: int | None
    ) -> int:
        """Return how many seats there may be at most: the cluster deals its memory out itself.

        Raises
        ------
        ConfigError
            If the first seat's device has not enough memory for a dim or a batch.
        """
        del image_memory  # each seat decides by the memory of its node
        needed_bytes(config, card, has=self.facts.memory_bytes)
        return MAX_SEATS

    def close(self) -> None:
        """End all seats, and part from the cluster."""
        for seat in self.seats:
            seat.kill()
        self.connection.close()

    def holds(self) -> int:
        """Return how many seats the cluster holds now."""
        return seats_of(self.size, self.connection.nodes())

    def engine(
        self, setup: SweepSetup, trials: int, announce: Callable[[str], None]
    ) -> ClusterEngine:
        """Send the images, start the seats and measure their speed.

        Raises
        ------
        ClusterError
            If no seat finds room.
        WorkerError
            If one cannot be set up.
        """
        engine = ClusterEngine(place=self, setup=setup, trials=trials, announce=announce)
        engine.measure()
        return engine


def open_place(
    config: ClusterConfig,
    *,
    device_name: str,
    workers: int | None,
    announce: Callable[[str], None],
) -> ClusterPlace:
    """Join a cluster and start the first seat.

    Raises
    ------
    ClusterError
        If the cluster cannot be joined, or has no room for a seat.
    WorkerError
        If the seat cannot be set up.
    """
    announce(f"joining the cluster {config.address}")
    connection = connect(config)
    try:
        nodes = connection.nodes()
        gpus = gpus_of_trial(config.gpus_per_trial, device=device_name, nodes=nodes)
        size = SeatSize(cpus=config.cpus_per_trial, gpus=gpus)
        seat = RemoteSeat(connection, size)
        seat.set_up(partial(open_bare, device_name, gpus, size.cpus))
        facts: SeatFacts = ask(connection, seat, Describe())
    except BaseException:
        connection.close()
        raise
    return ClusterPlace(
        connection=connection,
        config=config,
        device_name=device_name,
        workers=workers,
        size=size,
        seats=[seat],
        facts=facts,
    )


@dataclass(kw_only=True)
class ClusterEngine:
    """Trains several trials at a time in seats of a cluster.

    No path of this machine goes to a node, and no seat writes to the store: a trial whose seat
    dies begins anew.
    """

    place: ClusterPlace
    setup: SweepSetup
    trials: int
    announce: Callable[[str], None]
    workers: int = 0
    """Trials at a time, as the cluster was when they were measured."""
    speeds: Mapping[int, training.Speed] = field(default_factory=dict)
    """Speed of one seat by latent_dim, measured while all of them were at work."""
    _start: Callable[[RemoteSeat], None] = field(init=False, repr=False)

    @property
    def threads(self) -> int:
        """Threads of one trial: its share of a node's cores."""
        return self.place.size.cpus

    @property
    def described(self) -> str:
        """The seats in words, for the plan."""
        return (
            f"{counted(self.workers, 'seat')} of {self.place.size} on the cluster "
            f"{self.place.config.address}, a trial in each"
        )

    def parameters(self) -> dict[str, str | int]:
        """Return none: each trial logs what its own seat says of itself."""
        return {}

    def measure(self) -> None:
        """Start the seats, and measure a few training steps in all of them at the same time."""
        place = self.place
        self._start = self._set_up()
        self._start(place.seats[0])
        self.workers = max(1, min(self._count(), self.trials))
        seats = max(1, min(self.workers, place.holds()))  # more would only wait for room
        place.seats += [self._new_seat() for _ in range(1, seats)]
        self.announce(f"measuring the speed of a few training steps in {counted(seats, 'seat')}")
        self.speeds = speeds_by_dim(self.setup, self._slowest)

    def open(self) -> Worker:
        """Return a worker that uses the seats, and parts from the cluster when it is closed."""
        place = self.place
        return ClusterWorker(
            place.connection,
            start=self._new_seat,
            started=[seat for seat in place.seats if not seat.gone],
            count=self._count,
            patience_seconds=self.patience_seconds,
            announce=self.announce,
        )

    def close(self) -> None:
        """End all seats, and part from the cluster."""
        self.place.close()

    def patience_seconds(self, config: TrialConfig) -> float:
        """Return how long a trial may take to its next validation, or from the last to its end."""
        return patience_seconds(self.speeds[config.latent_dim], config)

    def _count(self) -> int:
        return self.place.workers or self.place.holds()

    def _slowest(self, dim: int) -> training.Speed:
        place = self.place
        place.seats = [seat for seat in place.seats if not seat.gone] or [self._new_seat()]
        probe = Probe(self.setup.timed_config(dim), self.threads)
        measured: list[training.Speed] = ask_together(
            place.connection, place.seats, probe, announce=self.announce
        )
        return max(measured, key=lambda speed: speed.epoch_seconds)

    def _new_seat(self) -> RemoteSeat:
        seat = RemoteSeat(self.place.connection, self.place.size)
        self._start(seat)
        return seat

    def _set_up(self) -> Callable[[RemoteSeat], None]:
        """Return what sets a seat up for training; the images are in the object store by then."""
        setup, place = self.setup, self.place
        config, at = setup.config, place.config.data_on_nodes
        own = config.own_images
        spec = WorkerSpec(
            dataset=(at or setup.card.name) if own else config.dataset,
            digest=setup.card.digest,
            options=config.images,
            train_limit=config.train_limit,
            cache_dir=None,
            data_dir=Path(at) if at is not None and not own else None,
            device=place.device_name,
            precision=setup.precision,
            threads=self.threads,
            image_memory=setup.image_memory,
        )
        if at is not None:
            factory: Any = partial(open_seat, spec, place.size.gpus, "")
            return lambda seat: seat.set_up(factory)
        self.announce("sending the images to the cluster")
        dataset = _in_memory(setup.dataset)
        factory = partial(open_seat, spec, place.size.gpus, hash_pixels(dataset))
        images = place.connection.put(dataset)
        return lambda seat: seat.set_up(factory, images)


def _in_memory(dataset: data.ImageDataset) -> data.ImageDataset:
    """Return a data set to be sent: no maps of files, and no path of this machine."""
    return dataclasses.replace(
        dataset,
        card=dataclasses.replace(dataset.card, source="sent by the driver"),
        train_NCHW=np.asarray(dataset.train_NCHW),
        val_NCHW=np.asarray(dataset.val_NCHW),
        test_NCHW=np.asarray(dataset.test_NCHW),
    )
