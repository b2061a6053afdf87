"""Studies of a sweep as documents of JSON, and back into another database of Optuna."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from ae_sweep.errors import DataError
from ae_sweep.messages import visible
from ae_sweep.sweep.storage import (
    has_studies,
    open_for_reading,
    open_storage,
    storage_errors,
    sweep_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STUDY_FIELDS = {"condition", "user_attributes", "system_attributes", "trials"}
TRIAL_FIELDS = {
    "number", "state", "values", "parameters", "distributions", "intermediate_values",
    "user_attributes", "system_attributes", "started", "ended",
}  # fmt: skip
NOT_A_STUDY = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What reading a document raises that is none of a study."""


def study_documents(
    path: Path, sweep: str, *, clean: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    """Return the studies of a sweep as documents; none if it has none here.

    Parameters
    ----------
    path
        Optuna's database.
    clean
        Applied to every text of an attribute.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    if not has_studies(path):
        return []
    with storage_errors(path):
        storage = open_for_reading(path)
        return [
            {
                "condition": name.removeprefix(f"{sweep}/"),
                "user_attributes": _cleaned(study.user_attrs, clean),
                "system_attributes": _cleaned(study.system_attrs, clean),
                "trials": [
                    _trial_document(trial, clean) for trial in study.get_trials(deepcopy=False)
                ],
            }
            for name in optuna.get_all_study_names(storage)
            if sweep_of(name) == sweep
            for study in [_Stored(storage, name)]
        ]


def add_studies(path: Path, documents: Sequence[Any], *, sweep: str) -> None:
    """Make the studies of documents in Optuna's database, which is made where there is none.

    Trials keep their numbers, by which attributes name them. If it fails, `delete_studies` removes
    what was made.

    Parameters
    ----------
    sweep
        Name of the sweep here; there is no study of it yet.

    Raises
    ------
    DataError
        If a document is none of a study; then nothing is written.
    StoreError
        If the database cannot be written.
    """
    studies = [read_study(document, sweep=sweep) for document in documents]
    storage = open_storage(path)
    with storage_errors(path):
        for study in studies:
            study_id = storage.create_new_study([StudyDirection.MINIMIZE], study.name)
            for key, value in study.user_attrs.items():
                storage.set_study_user_attr(study_id, key, value)
            for key, value in study.system_attrs.items():
                storage.set_study_system_attr(study_id, key, value)
            for trial in study.trials:
                storage.create_new_trial(study_id, template_trial=trial)


class _Stored:
    """A study by its name, as far as it is exported."""

    def __init__(self, storage: optuna.storages.RDBStorage, name: str) -> None:
        self._storage = storage
        self._id = storage.get_study_id_from_name(name)
        self.user_attrs = storage.get_study_user_attrs(self._id)
        self.system_attrs = storage.get_study_system_attrs(self._id)

    def get_trials(self, *, deepcopy: bool) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=deepcopy)


class ImportedStudy:
    """A study of a document, that is in no database."""

    def __init__(
        self,
        name: str,
        *,
        user_attrs: dict[str, Any],
        system_attrs: dict[str, Any],
        trials: list[FrozenTrial],
    ) -> None:
        self.name = name
        self.user_attrs = user_attrs
        self.system_attrs = system_attrs
        self.trials = trials


def read_study(document: Any, *, sweep: str) -> ImportedStudy:
    """Return the study of a document.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        fields = _fields(document, STUDY_FIELDS)
        name = f"{sweep}/{fields['condition']}"
        if sweep_of(name) != sweep:
            raise ValueError("its condition is not of the form d=32")
        trials = [_trial(each, number) for number, each in enumerate(fields["trials"])]
        return ImportedStudy(
            name,
            user_attrs={**_attributes(fields["user_attributes"]), "sweep": sweep},
            system_attrs=_attributes(fields["system_attributes"]),
            trials=trials,
        )
    except NOT_A_STUDY as error:
        raise DataError(
            f"studies.json has a study that this ae-sweep does not know: {visible(error)}; export "
            "the sweep again"
        ) from error


def _trial_document(trial: FrozenTrial, clean: Callable[[str], str]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": None if trial.values is None else [_number(each) for each in trial.values],
        "parameters": trial.params,
        "distributions": {
            name: distribution_to_json(each) for name, each in trial.distributions.items()
        },
        "intermediate_values": {
            str(step): _number(value) for step, value in trial.intermediate_values.items()
        },
        "user_attributes": _cleaned(trial.user_attrs, clean),
        "system_attributes": _cleaned(trial.system_attrs, clean),
        "started": _time_text(trial.datetime_start),
        "ended": _time_text(trial.datetime_complete),
    }


def _trial(document: Any, number: int) -> FrozenTrial:
    fields = _fields(document, TRIAL_FIELDS)
    if fields["number"] != number:
        raise ValueError(f"trial {number} is not in its place")
    values = fields["values"]
    trial = create_trial(
        state=TrialState[fields["state"]],
        values=None if values is None else [float(each) for each in values],
        params=_attributes(fields["parameters"]),
        distributions={
            name: json_to_distribution(text)
            for name, text in _attributes(fields["distributions"]).items()
        },
        user_attrs=_attributes(fields["user_attributes"]),
        system_attrs=_attributes(fields["system_attributes"]),
        intermediate_values={
            int(step): float(value)
            for step, value in _attributes(fields["intermediate_values"]).items()
        },
    )
    if len(trial.values or [0.0]) != 1:
        raise ValueError(f"trial {number} has several values")
    trial.datetime_start, trial.datetime_complete = _time(fields["started"]), _time(fields["ended"])
    return trial


def _fields(document: Any, expected: set[str]) -> dict[str, Any]:
    if not isinstance(document, dict) or document.keys() != expected:
        raise ValueError(f"it has not the fields {', '.join(sorted(expected))}")
    return document


def _attributes(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("there are no values by name where they belong")
    return value


def _number(value: float) -> float | str:
    """Return a number as JSON has it, which knows none that are not finite."""
    return value if math.isfinite(value) else repr(value)


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(each, clean) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each, clean) for each in value]
    return value


def _time_text(time: dt.datetime | None) -> str | None:
    """Write one of Optuna's times, which are local and do not say so."""
    return None if time is None else time.astimezone(dt.UTC).isoformat()


def _time(text: Any) -> dt.datetime | None:
    if text is None:
        return None
    return dt.datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
