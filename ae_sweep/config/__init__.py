"""Settings as frozen values that cannot be wrong once they exist."""

from ae_sweep.config.hyperparameters import (
    PARAMETERS,
    Hyperparameters,
    Parameter,
    written_parameters,
)
from ae_sweep.config.model import Condition, ModelSetting, model_family, model_setting
from ae_sweep.config.space import Domain, SearchSpace
from ae_sweep.config.sweep import (
    NAME_PATTERN,
    MethodName,
    PrunerName,
    SamplerName,
    SweepConfig,
    TrialConfig,
    as_flat_dict,
    changed_settings,
    digest,
)
from ae_sweep.config.values import (
    MAX_COUNT,
    MAX_PORT,
    MAX_SEED,
    Choices,
    Range,
    bounds,
    check_count,
    check_port,
)

__all__ = [
    "MAX_COUNT",
    "MAX_PORT",
    "MAX_SEED",
    "NAME_PATTERN",
    "PARAMETERS",
    "Choices",
    "Condition",
    "Domain",
    "Hyperparameters",
    "MethodName",
    "ModelSetting",
    "Parameter",
    "PrunerName",
    "Range",
    "SamplerName",
    "SearchSpace",
    "SweepConfig",
    "TrialConfig",
    "as_flat_dict",
    "bounds",
    "changed_settings",
    "check_count",
    "check_port",
    "digest",
    "model_family",
    "model_setting",
    "written_parameters",
]
