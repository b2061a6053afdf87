"""The family of studies of one sweep in Optuna's database: created, resumed, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import optuna

from ae_sweep.config import changed_settings
from ae_sweep.errors import ConflictError
from ae_sweep.sweep.driver_storage import DriverStorage
from ae_sweep.sweep.space import make_pruner
from ae_sweep.sweep.storage import (
    has_studies,
    open_for_reading,
    open_storage,
    storage_errors,
    study_name,
    sweep_of,
)
from ae_sweep.sweep.study import ConditionStudy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from ae_sweep.config import Condition, Hyperparameters, SweepConfig

Identity: TypeAlias = "Mapping[str, str]"
"""What may not change under one sweep name: names and values."""
Held: TypeAlias = "Mapping[Condition, Collection[Hyperparameters]]"


class Tries(NamedTuple):
    """Trainings that have failed too often."""

    trials: int
    repeats: int


def check_conflict(
    path: Path,
    config: SweepConfig,
    *,
    identity: Identity,
    resume: bool,
    reasons: Sequence[str] = (),
) -> None:
    """Refuse a sweep that disagrees with what is stored under its name; write nothing.

    Parameters
    ----------
    reasons
        What may have changed the identity, without being part of it.

    Raises
    ------
    ConflictError
        If the name is taken and the sweep is not to be resumed, or is stored with other settings.
    StoreError
        If the file is not an Optuna database.
    """
    if not has_studies(path):
        return
    with storage_errors(path):
        stored = _stored_identity(path, config.name)
    if stored is None:
        return
    if not resume:
        raise ConflictError(
            f"a sweep named {config.name!r} is stored already; add --resume to complete it, "
            "or take another --name"
        )
    if changes := changed_settings(stored, identity):
        raise ConflictError(
            f"the sweep {config.name!r} is stored with other settings: "
            f"{'; '.join([*changes, *reasons])}; "
            "resume it with the same settings, or take another --name"
        )


def filled_slots(
    path: Path, config: SweepConfig, *, held: Held | None = None
) -> dict[Condition, int]:
    """Count the slots of each stored study of a sweep that need no training; write nothing.

    Parameters
    ----------
    held
        By condition, the configurations whose results the tracking store has; None takes Optuna's
        word for it.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    return {each.condition: each.filled() for each in _stored_studies(path, config, held)}


def given_up(
    path: Path, config: SweepConfig, *, held: Held | None = None
) -> dict[Condition, Tries]:
    """Count what has failed too often to be tried again, by condition; write nothing.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    return {
        each.condition: Tries(each.given_up(), _repeats_given_up(each, config))
        for each in _stored_studies(path, config, held)
    }


def _repeats_given_up(study: ConditionStudy, config: SweepConfig) -> int:
    best = study.best()
    if best is None:
        return 0
    seeds = range(config.seed + 1, config.seed + config.repeats + 1)
    return sum(not study.may_repeat(best.params, seed=seed) for seed in seeds)


def has_studies_of(path: Path, sweep: str) -> bool:
    """Return whether any study of a sweep is stored.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    if not has_studies(path):
        return False
    with storage_errors(path):
        return bool(_names_of(open_for_reading(path), sweep))


def delete_studies(path: Path, sweep: str) -> int:
    """Delete the studies of a sweep with all their trials; return how many there were.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    if not has_studies(path):
        return 0
    storage = open_storage(path)
    with storage_errors(path):
        names = _names_of(storage, sweep)
        for name in names:
            optuna.delete_study(study_name=name, storage=storage)
    return len(names)


def _names_of(storage: optuna.storages.RDBStorage, sweep: str) -> list[str]:
    return [name for name in optuna.get_all_study_names(storage) if sweep_of(name) == sweep]


def _stored_studies(path: Path, config: SweepConfig, held: Held | None) -> list[ConditionStudy]:
    if not has_studies(path):
        return []
    with storage_errors(path):
        storage = open_for_reading(path)
        stored = set(optuna.get_all_study_names(storage))
        names = {each: study_name(config.name, each) for each in config.conditions}
        return [
            ConditionStudy(
                optuna.load_study(study_name=name, storage=storage),
                config,
                condition=condition,
                path=path,
                held=None if held is None else held.get(condition, frozenset()),
            )
            for condition, name in names.items()
            if name in stored
        ]


def open_studies(
    path: Path, config: SweepConfig, *, identity: Identity, held: Held | None = None
) -> list[ConditionStudy]:
    """Open the studies of all conditions of a sweep, creating those that are missing.

    See `StudyFamily`, which opens some of them.

    Raises
    ------
    StoreError
        If Optuna's database cannot be created or used.
    """
    return StudyFamily(path, config, identity=identity, held=held).open(config.conditions)


class StudyFamily:
    """The studies of a sweep in Optuna's database, opened when they are needed.

    Trials that a killed process left running are failed, so that their points are trained again;
    so are those whose results the tracking store has no more.

    Parameters
    ----------
    held
        By condition, the configurations whose results the tracking store has; None takes Optuna's
        word for it.

    Raises
    ------
    StoreError
        If Optuna's database cannot be created or used.
    """

    def __init__(
        self, path: Path, config: SweepConfig, *, identity: Identity, held: Held | None = None
    ) -> None:
        self._path = path
        self._config = config
        self._identity = identity
        self._held = held
        self._storage = DriverStorage(open_storage(path))

    def open(self, conditions: Iterable[Condition]) -> list[ConditionStudy]:
        """Open the studies of some conditions, creating those that are missing.

        Raises
        ------
        StoreError
            If Optuna's database cannot be used.
        """
        with storage_errors(self._path):
            return [
                _open_study(
                    self._storage,
                    self._config,
                    each,
                    identity=self._identity,
                    path=self._path,
                    held=None if self._held is None else self._held.get(each, frozenset()),
                )
                for each in conditions
            ]


def _open_study(
    storage: optuna.storages.BaseStorage,
    config: SweepConfig,
    condition: Condition,
    *,
    identity: Identity,
    path: Path,
    held: Collection[Hyperparameters] | None,
) -> ConditionStudy:
    study = optuna.create_study(
        study_name=study_name(config.name, condition),
        storage=storage,
        direction="minimize",
        pruner=make_pruner(config.pruner),
        load_if_exists=True,
    )
    study.set_user_attr("sweep", config.name)
    study.set_user_attr("latent_dim", condition.latent_dim)
    study.set_user_attr("model", condition.model)
    study.set_user_attr("identity", dict(identity))
    opened = ConditionStudy(study, config, condition=condition, path=path, held=held)
    opened.reap()
    return opened


def _stored_identity(path: Path, sweep: str) -> dict[str, object] | None:
    storage = open_for_reading(path)
    for name in optuna.get_all_study_names(storage):
        if sweep_of(name) == sweep:
            study = optuna.load_study(study_name=name, storage=storage)
            identity: dict[str, object] = study.user_attrs.get("identity", {})
            if identity:  # else a process was killed while it made the study
                return identity
    return None
