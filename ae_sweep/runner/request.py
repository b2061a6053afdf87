"""A sweep as it is asked for, by command line or Python, checked before anything is measured."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_sweep import ownership
from ae_sweep.config import MEMORY_PREFIX, NAME_PATTERN, changed_options
from ae_sweep.errors import ConfigError, DataError, NotStoredError
from ae_sweep.locations import images_at
from ae_sweep.messages import option_name, visible
from ae_sweep.runner.place_checks import check_cluster, check_nested_place
from ae_sweep.runner.schedule import unsettled
from ae_sweep.runner.settings import DEFAULTS, make_config, stored_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.cluster.settings import ClusterConfig
    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.runner.engine import Announce, EngineFactory

DEFAULT_DEVICE = "auto"


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """All that a call asks for."""

    config: SweepConfig
    store: Store
    resume: bool = False
    """Whether a stored sweep of this name is completed."""
    take_over: bool = False
    """Whether it is taken over from a process on another machine, which cannot be asked."""
    data_dir: Path | None = None
    """Directory of the data set's files; None is the user cache."""
    device: str = DEFAULT_DEVICE
    workers: int | None = 1
    """Trials at a time; None takes as many as a measurement finds best, or a cluster holds."""
    share_cores: bool = False
    """Whether trials of several studies may share the cores, with ``workers`` at its default."""
    cluster: ClusterConfig | None = None
    """Trains the trials; None is this machine."""
    engine: EngineFactory | None = None
    """Trains the trials, if it is neither."""
    image_memory: float | None = None
    """GB of memory that the images may take in a process; None decides by what there is."""
    unsettled: frozenset[str] = frozenset()
    """Hyperparameters of ``config`` whose values are chosen when the images are counted."""
    changed_options: tuple[str, ...] = ()
    """How own images are converted otherwise than in the stored sweep, which may change them."""
    stored_options: Mapping[str, str] | None = None
    """Options of own images in the stored sweep, where others are given of the same path."""

    @property
    def engine_factory(self) -> EngineFactory:
        """Return what makes the engine."""
        from ae_sweep.runner.engine import local_engine

        return self.engine or local_engine(self.workers, share_cores=self.share_cores)

    @property
    def image_bytes(self) -> int | None:
        """``image_memory`` in bytes."""
        return None if self.image_memory is None else int(self.image_memory * 10**9)

    @property
    def _not_stored(self) -> dict[str, str | float]:
        """What is not at its default and not stored, so that a resumed sweep must be given it."""
        given: dict[str, str | float | None] = {}
        if self.data_dir is not None:
            given["data_dir"] = str(self.data_dir)
        if self.device != DEFAULT_DEVICE:
            given["device"] = self.device
        if self.cluster is not None:
            given |= {
                "cluster": self.cluster.address,
                "gpus_per_trial": self.cluster.gpus_per_trial,
                "cpus_per_trial": self.cluster.cpus_given,
                "data_on_nodes": self.cluster.data_on_nodes,
            }
        if self.workers != (1 if self.cluster is None else None):
            given["workers"] = "auto" if self.workers is None else self.workers
        if self.image_memory is not None:
            given["image_memory"] = self.image_memory
        return {name: value for name, value in given.items() if value is not None}

    @property
    def resume_arguments(self) -> list[str]:
        """Return the arguments of `ae-sweep` that complete the sweep, without ``--store``."""
        words = ["run", "--name", self.config.name, "--resume"]
        given = self._not_stored
        if self.workers == 1 and not self.share_cores and self.config.method == "separate":
            given |= {"workers": 1}  # the command's default shares the cores
        for name, value in given.items():
            words += [option_name(name), value if isinstance(value, str) else f"{value:g}"]
        return words

    @property
    def resume_command(self) -> str:
        """Return the command that completes the sweep after an interruption."""
        return f"{shlex.join(['ae-sweep', *self.resume_arguments])}{self.store.option}"

    @property
    def take_over_command(self) -> str:
        """Return the command that completes the sweep of a process on another machine."""
        return f"{self.resume_command} --take-over"

    @property
    def resume_call(self) -> str:
        """Return the call in Python that completes the sweep after an interruption."""
        arguments = [repr(self.config.name), "resume=True"]
        if self.store.option:
            arguments.append(f"store={str(self.store.root)!r}")
        for name, value in self._not_stored.items():
            arguments.append(f"{name}={value!r}" if isinstance(value, str) else f"{name}={value:g}")
        with_engine = " with the same engine" if self.engine is not None else ""
        return f"ae_sweep.run_sweep({', '.join(arguments)}){with_engine}"


def make_request(
    name: str | None,
    given: Mapping[str, Any],
    *,
    store: Store,
    now: time.struct_time,
    announce: Announce,
    resume: bool = False,
    take_over: bool = False,
    data_dir: Path | None = None,
    device: str = DEFAULT_DEVICE,
    workers: int | None = 1,
    share_cores: bool = False,
    cluster: ClusterConfig | None = None,
    engine: EngineFactory | None = None,
    image_memory: float | None = None,
) -> SweepRequest:
    """Complete what is given by what is stored and by defaults, and check it.

    Parameters
    ----------
    name
        Of the sweep; None makes one of the data set's name and the time.
    given
        Settings by name, as texts, numbers or sequences of them; None and empty are not given.
    now
        Local time, part of a name that is not given.
    announce
        Called with a line where a setting has no effect, or a process has ended without its sweep.
    take_over
        Whether the sweep may be taken from a process on another machine, which cannot be asked.
    share_cores
        Whether trials of several studies may share the cores, where ``workers`` was not given.
    cluster
        Trains the trials; None is this machine.
    image_memory
        GB of memory that the images may take in a process; None decides by what there is.

    Raises
    ------
    ConfigError
        If a setting is wrong.
    ClusterError
        If the cluster cannot be joined, as far as that is quick to see.
    ConflictError
        If the name is taken and the sweep is not resumed, or is stored with other settings, or
        another process runs it.
    NotStoredError
        If there is no sweep of that name to resume.
    StoreError
        If the store cannot be read.
    """
    if resume and name is None:
        raise ConfigError(
            f"--resume needs the sweep's --name; `{store.command('list')}` shows the names"
        )
    if take_over and not resume:
        raise ConfigError("--take-over completes a sweep that is stored; add --resume and --name")
    check_image_memory(image_memory)
    stored = _stored(name, store) if resume and name is not None else {}
    dataset = dataset_text(given.get("dataset"))
    if stored and name is not None and dataset is None:
        check_still_there(stored.get("dataset", ""), name)
    given = {**given, "dataset": dataset}
    title = name if name is not None else new_name(dataset or DEFAULTS["dataset"], now)
    config = make_config(title, given, stored, announce=announce)
    if config.method == "nested":
        check_nested_place(workers, engine, cluster)
    if cluster is not None:
        check_cluster(cluster, device, engine)
    # A wrong setting needs no torch, MLflow or Optuna to be refused.
    from ae_sweep import sweep, tracking

    changed = tuple(changed_options(stored, config.images)) if stored else ()
    request = SweepRequest(
        config=config,
        store=store,
        resume=resume,
        take_over=take_over,
        data_dir=data_dir,
        device=device,
        workers=workers,
        share_cores=share_cores,
        cluster=cluster,
        engine=engine,
        image_memory=image_memory,
        unsettled=frozenset() if resume else unsettled(config, given),
        changed_options=changed,
        stored_options=stored if changed and stored.get("dataset") == config.dataset else None,
    )
    # Before anything is fetched or measured; the data set's digest is compared later.
    with contextlib.suppress(NotStoredError):
        tracking.open_for_reading(store)
    _check_owner(request, announce)
    _refuse_remains(config.name, store)
    sweep.check_conflict(store.optuna_path, config, identity=config.identity(), resume=resume)
    return request


def _stored(name: str, store: Store) -> Mapping[str, str]:
    try:
        return stored_settings(name, store)
    except NotStoredError:
        _refuse_remains(name, store)
        raise


def _refuse_remains(name: str, store: Store) -> None:
    from ae_sweep.runner.deletion import refuse_remains

    refuse_remains(name, store)


def _check_owner(request: SweepRequest, announce: Announce) -> None:
    """Refuse a sweep that another process runs, and say whose place is taken."""
    found = ownership.check_free(
        request.store.running(request.config.name),
        take_over_command=request.take_over_command,
        take_over=request.take_over,
    )
    if found is not None and request.resume:
        has = "is given up" if found.state is ownership.State.UNKNOWN else "has ended"
        announce(f"{found}, which ran {request.config.name}, {has}; what it trained is tried again")


def dataset_text(dataset: Path | str | None) -> str | None:
    """Return a data set as a sweep's settings hold it: its name, or its absolute path.

    Raises
    ------
    ConfigError
        If it is an address.
    DataError
        If no such path can exist.
    """
    if dataset is None:
        return None
    from ae_sweep import data

    return str(images_at(dataset)) if data.is_path(str(dataset)) else str(dataset)


def check_still_there(dataset: str, sweep: str) -> None:
    """Refuse the stored path of a sweep's own images if nothing is there.

    Raises
    ------
    DataError
        If they were moved or removed.
    """
    path = Path(dataset)
    if path.name.startswith(MEMORY_PREFIX) and not path.exists():
        raise DataError(
            f"the images of {sweep} were given in Python and are not in the user cache any more; "
            f"give them again: ae_sweep.run_sweep({sweep!r}, resume=True, dataset=...)"
        )
    if path.is_absolute() and not path.exists():
        raise DataError(
            f"the images of {sweep} are not at {visible(path)} any more; name the place where they "
            "are with --dataset PATH"
        )


def check_image_memory(gigabytes: float | None) -> None:
    """Refuse an amount of memory that is not above 0.

    Raises
    ------
    ConfigError
        With the value.
    """
    if gigabytes is not None and not 0 < gigabytes < math.inf:
        raise ConfigError(
            f"image-memory must be a number of GB above 0, such as 0.5, got {gigabytes:g}"
        )


def new_name(dataset: str, now: time.struct_time) -> str:
    """Return the name of a sweep that is given none: the name of its images, and the time."""
    # An unknown data set is refused as such later, not as a part of this name.
    path = Path(dataset)
    wanted = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") if path.is_absolute() else dataset
    )
    stem = wanted if len(wanted) < 80 and NAME_PATTERN.fullmatch(wanted) else "sweep"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', now)}"
