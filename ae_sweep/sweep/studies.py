"""The family of studies of one sweep in Optuna's database: created, resumed, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import optuna

from ae_sweep.config import changed_settings
from ae_sweep.errors import ConflictError
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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ae_sweep.config import Condition, SweepConfig

Identity: TypeAlias = "Mapping[str, str]"
"""What may not change under one sweep name: names and values."""


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


def filled_slots(path: Path, config: SweepConfig) -> dict[Condition, int]:
    """Count the finished trials of each stored study of a sweep; write nothing.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    if not has_studies(path):
        return {}
    with storage_errors(path):
        storage = open_for_reading(path)
        stored = set(optuna.get_all_study_names(storage))
        names = {each: study_name(config.name, each) for each in config.conditions}
        studies = [
            ConditionStudy(
                optuna.load_study(study_name=name, storage=storage),
                config,
                condition=condition,
                path=path,
            )
            for condition, name in names.items()
            if name in stored
        ]
        return {study.condition: study.filled() for study in studies}


def open_studies(path: Path, config: SweepConfig, *, identity: Identity) -> list[ConditionStudy]:
    """Open the studies of all conditions of a sweep, creating those that are missing.

    Trials that a killed process left running are failed, so that their points are trained again.

    Raises
    ------
    StoreError
        If Optuna's database cannot be created or used.
    """
    storage = open_storage(path)
    with storage_errors(path):
        return [_open_study(storage, config, each, identity, path) for each in config.conditions]


def _open_study(
    storage: optuna.storages.RDBStorage,
    config: SweepConfig,
    condition: Condition,
    identity: Identity,
    path: Path,
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
    opened = ConditionStudy(study, config, condition=condition, path=path)
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
