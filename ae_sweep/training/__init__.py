"""Training: recipe, loop, evaluation, device and precision."""

from ae_sweep.container import usable_cores
from ae_sweep.training.checkpoints import Checkpoints
from ae_sweep.training.device import (
    alike_devices,
    available_devices,
    computing_with,
    describe_device,
    hardware,
    kernels_on,
    kernels_version,
    memory_bytes,
    prepare_process,
    resolve_device,
    threads_per_worker,
    torch_version,
    use_threads,
)
from ae_sweep.training.images import DeviceImages, choose_place, image_bytes, place
from ae_sweep.training.nested import (
    FINE_TUNING_EPOCHS,
    NestedTrainings,
    fine_tuning_seconds,
    nested_network_seconds,
    nested_trial_seconds,
)
from ae_sweep.training.precision import (
    FP32,
    Precision,
    choose_precision,
    why_no_bf16,
)
from ae_sweep.training.recipe import RECIPE, RECIPES, Recipe, recipe_name
from ae_sweep.training.smallest import check_batch
from ae_sweep.training.speed import (
    Speed,
    activation_bytes,
    between,
    measure_speed,
    training_bytes,
)
from ae_sweep.training.thread_choice import ThreadChoice, fastest_threads
from ae_sweep.training.trainer import Training, train

__all__ = [
    "FINE_TUNING_EPOCHS",
    "FP32",
    "RECIPE",
    "RECIPES",
    "Checkpoints",
    "DeviceImages",
    "NestedTrainings",
    "Precision",
    "Recipe",
    "Speed",
    "ThreadChoice",
    "Training",
    "activation_bytes",
    "alike_devices",
    "available_devices",
    "between",
    "check_batch",
    "choose_place",
    "choose_precision",
    "computing_with",
    "describe_device",
    "fastest_threads",
    "fine_tuning_seconds",
    "hardware",
    "image_bytes",
    "kernels_on",
    "kernels_version",
    "measure_speed",
    "memory_bytes",
    "nested_network_seconds",
    "nested_trial_seconds",
    "place",
    "prepare_process",
    "recipe_name",
    "resolve_device",
    "threads_per_worker",
    "torch_version",
    "train",
    "training_bytes",
    "usable_cores",
    "use_threads",
    "why_no_bf16",
]
