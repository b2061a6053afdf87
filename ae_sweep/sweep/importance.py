"""Importance of each tuned parameter, from finished studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from ae_sweep.sweep.storage import has_studies, open_for_reading, storage_errors, sweep_of

if TYPE_CHECKING:
    from pathlib import Path

LEAST_TRIALS = 4
"""Complete trials of a study, below which shares would be noise."""


def importances(path: Path, sweep: str) -> dict[str, dict[str, float]]:
    """Measure, by study, which share of the objective's variance each parameter explains.

    By functional ANOVA (Hutter et al. 2014) over the complete trials, as Optuna does it.

    Parameters
    ----------
    path
        Optuna's database; it need not be there.
    sweep
        The sweep's name.

    Returns
    -------
    dict
        Condition, such as ``d=32``, to parameter to share; without the studies that have fewer than
        four complete trials, or all of one value.

    Raises
    ------
    StoreError
        If the file is not an Optuna database.
    """
    if not has_studies(path):
        return {}
    with storage_errors(path):
        storage = open_for_reading(path)
        names = [name for name in optuna.get_all_study_names(storage) if sweep_of(name) == sweep]
        studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
        shares = {study.study_name.removeprefix(f"{sweep}/"): _shares(study) for study in studies}
    return {condition: found for condition, found in shares.items() if found}


def _shares(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    shares: dict[str, float] = get_param_importances(
        study, evaluator=FanovaImportanceEvaluator(seed=0)
    )
    return dict(shares)
