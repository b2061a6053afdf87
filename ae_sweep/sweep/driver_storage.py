"""Optuna's storage for the one process that writes it, which need not read again what it knows.

Whenever a sampler, a pruner or a study asks for the trials, Optuna reads every unfinished one from
the database, as another process might have changed it: with 200 seats on one study 200 trials, ten
times per trial. The driver alone writes the studies of its sweep (``ae_sweep.ownership``).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import StudyDirection
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial, TrialState


class DriverStorage(BaseStorage):
    """Reads a trial from the database after each of its own writes to it, and at no other time.

    What another process writes meanwhile is not seen. A trial that it ended is noticed by the next
    write to it, which the database refuses. For one thread.

    Parameters
    ----------
    storage
        Writes and reads the database.
    """

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage
        self._trials: dict[int, dict[int, FrozenTrial]] = {}
        """By study and trial id, in the order of their numbers."""
        self._studies: dict[int, int] = {}
        """Study ids by trial id."""
        self._written: dict[int, dict[int, None]] = {}
        """By study, the trials that are to be read again, in the order of their ids."""

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study in the order of their numbers."""
        trials = self._read(study_id).values()
        found = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial; one that is not finished as a copy, which the caller may change."""
        study_id = self._studies.get(trial_id)
        if study_id is None:
            return self._storage.get_trial(trial_id)
        trial = self._read(study_id)[trial_id]
        return trial if trial.state.is_finished() else copy.deepcopy(trial)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial."""
        self._read(study_id)
        trial_id = self._storage.create_new_trial(study_id, template_trial)
        self._studies[trial_id] = study_id
        self._note(trial_id)
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Write a parameter of a trial."""
        self._note(trial_id)
        self._storage.set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Write how a trial goes, and its value."""
        self._note(trial_id)
        return self._storage.set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Write a value on the way."""
        self._note(trial_id)
        self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of ours."""
        self._note(trial_id)
        self._storage.set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of Optuna's."""
        self._note(trial_id)
        self._storage.set_trial_system_attr(trial_id, key, value)

    def _note(self, trial_id: int) -> None:
        """Have a trial be read again, even if the write that follows fails."""
        study_id = self._studies.get(trial_id)
        if study_id is not None:
            self._written.setdefault(study_id, {})[trial_id] = None

    def _read(self, study_id: int) -> dict[int, FrozenTrial]:
        """Return the trials of a study by id, all that were written read again."""
        known = self._trials.get(study_id)
        if known is None:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            known = {trial._trial_id: trial for trial in trials}  # noqa: SLF001 - it has no other
            self._studies.update(dict.fromkeys(known, study_id))
            self._trials[study_id] = known
        for trial_id in self._written.pop(study_id, ()):
            known[trial_id] = self._storage.get_trial(trial_id)
        return known

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Make a study."""
        return self._storage.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study with its trials."""
        self._storage.delete_study(study_id)
        for trial_id in self._trials.pop(study_id, ()):
            del self._studies[trial_id]
        self._written.pop(study_id, None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write an attribute of ours."""
        self._storage.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write an attribute of Optuna's."""
        self._storage.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of a study."""
        return self._storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return self._storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return whether a study minimises."""
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return our attributes of a study."""
        return self._storage.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return Optuna's attributes of a study."""
        return self._storage.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies of the database."""
        return self._storage.get_all_studies()

    def remove_session(self) -> None:
        """Let go of the connection."""
        self._storage.remove_session()
