"""Settings as frozen values that cannot be wrong once they exist."""

from ae_sweep.config.hyperparameters import (
    PARAMETERS,
    Hyperparameters,
    Parameter,
    written_parameters,
)
from ae_sweep.config.images import Colour, Fit, ImageOptions, parse_image_size
from ae_sweep.config.model import (
    MODEL_SETTINGS,
    Condition,
    ModelSetting,
    ModelSpec,
    SettingOption,
    model_family,
    model_settings,
)
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
    dataset_title,
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
    "MODEL_SETTINGS",
    "NAME_PATTERN",
    "PARAMETERS",
    "Choices",
    "Colour",
    "Condition",
    "Domain",
    "Fit",
    "Hyperparameters",
    "ImageOptions",
    "MethodName",
    "ModelSetting",
    "ModelSpec",
    "Parameter",
    "PrunerName",
    "Range",
    "SamplerName",
    "SearchSpace",
    "SettingOption",
    "SweepConfig",
    "TrialConfig",
    "as_flat_dict",
    "bounds",
    "changed_settings",
    "check_count",
    "check_port",
    "dataset_title",
    "digest",
    "model_family",
    "model_settings",
    "parse_image_size",
    "written_parameters",
]
