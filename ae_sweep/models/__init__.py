"""The networks: one file each, a registry, and how they are stored and served."""

from ae_sweep.models.autoencoder import Autoencoder, ImageShape, TrainingPass
from ae_sweep.models.layer_kernels import use_kernels
from ae_sweep.models.nested import NestedAutoencoder, check_nested
from ae_sweep.models.registry import (
    build,
    check_name,
    default_settings,
    names,
    parameter_count,
)
from ae_sweep.models.storage import load, to_bytes
from ae_sweep.models.trained import TrainedAutoencoder

__all__ = [
    "Autoencoder",
    "ImageShape",
    "NestedAutoencoder",
    "TrainedAutoencoder",
    "TrainingPass",
    "build",
    "check_name",
    "check_nested",
    "default_settings",
    "load",
    "names",
    "parameter_count",
    "to_bytes",
    "use_kernels",
]
