"""Optuna's storage for the one process that writes it, which need not read again what it knows.

Whenever a sampler, a pruner or a study asks for the trials, Optuna reads every unfinished one from
the database, as another process might have changed it: with 200 seats on one study 200 trials, ten
times per trial. The driver alone writes the studies of its sweep (``ae_sweep.ownership``).
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import StudyDirection
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial


class DriverStorage(BaseStorage):
    """Writes every change to the database at once, and keeps what is there in memory.

    A trial is read when its study is opened, when it was created, and after a write that failed.
    What another process writes is not seen. A trial that it ended is noticed by the next write to
    it, which the database refuses. For one thread.

    Parameters
    ----------
    storage
        Writes and reads the database.
    """

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage
        self._trials: dict[int, dict[int, FrozenTrial]] = {}
        """By study and trial id, in the order of their numbers. A change makes a new value."""
        self._studies: dict[int, int] = {}
        """Study ids by trial id."""
        self._unread: dict[int, dict[int, None]] = {}
        """By study, the trials that are to be read from the database, in the order of their ids."""

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
        self._forget(trial_id)
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Write a parameter of a trial."""
        with self._writing(trial_id):
            self._storage.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            if (trial := self._changing(trial_id)) is not None:
                value = distribution.to_external_repr(param_value_internal)
                trial.params = {**trial.params, param_name: value}
                trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Write how a trial goes, and its value."""
        with self._writing(trial_id):
            is_written = self._storage.set_trial_state_values(trial_id, state, values)
            if not is_written:
                self._forget(trial_id)
            elif (trial := self._changing(trial_id)) is not None:
                trial.state = state
                if values is not None:
                    trial.values = list(values)
                if state == TrialState.RUNNING:
                    trial.datetime_start = dt.datetime.now()  # local, as Optuna has it
                if state.is_finished():
                    trial.datetime_complete = dt.datetime.now()
        return is_written

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Write a value on the way."""
        with self._writing(trial_id):
            self._storage.set_trial_intermediate_value(trial_id, step, intermediate_value)
            if (trial := self._changing(trial_id)) is not None:
                trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of ours."""
        with self._writing(trial_id):
            self._storage.set_trial_user_attr(trial_id, key, value)
            if (trial := self._changing(trial_id)) is not None:
                trial.user_attrs = {**trial.user_attrs, key: _as_stored(value)}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of Optuna's."""
        with self._writing(trial_id):
            self._storage.set_trial_system_attr(trial_id, key, value)
            if (trial := self._changing(trial_id)) is not None:
                trial.system_attrs = {**trial.system_attrs, key: _as_stored(value)}

    @contextlib.contextmanager
    def _writing(self, trial_id: int) -> Iterator[None]:
        """Have a trial be read again if a write fails: nobody knows what became of it."""
        try:
            yield
        except BaseException:
            self._forget(trial_id)
            raise

    def _changing(self, trial_id: int) -> FrozenTrial | None:
        """Replace a trial by a copy that is to be changed; None if it is to be read anyway."""
        study_id = self._studies.get(trial_id)
        if study_id is None or trial_id in self._unread.get(study_id, ()):
            return None
        trial = copy.copy(self._trials[study_id][trial_id])
        self._trials[study_id][trial_id] = trial
        return trial

    def _forget(self, trial_id: int) -> None:
        study_id = self._studies.get(trial_id)
        if study_id is not None:
            self._unread.setdefault(study_id, {})[trial_id] = None

    def _read(self, study_id: int) -> dict[int, FrozenTrial]:
        """Return the trials of a study by id."""
        known = self._trials.get(study_id)
        if known is None:
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            known = {trial._trial_id: trial for trial in trials}  # noqa: SLF001 - it has no other
            self._studies.update(dict.fromkeys(known, study_id))
            self._trials[study_id] = known
        for trial_id in self._unread.pop(study_id, ()):
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
        self._unread.pop(study_id, None)

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


def _as_stored(value: Any) -> Any:
    """Return a value as JSON in the database gives it back."""
    return json.loads(json.dumps(value))
