"""What the machine does to a training fails a trial; what the program does is a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from fakes import tiny_images, trial_config

from ae_sweep import models, training
from ae_sweep.errors import AeSweepError, DeviceLostError, TrainingFailedError
from ae_sweep.models import registry
from ae_sweep.training.failures import environment_errors, translate
from ae_sweep.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable


def accelerator_error(text: str, code: int | None) -> RuntimeError:
    error: RuntimeError = torch.AcceleratorError(text)
    if code is not None:
        error.error_code = code  # type: ignore[attr-defined]
    return error


TRANSLATED: list[tuple[Any, type[AeSweepError], str]] = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"),
     TrainingFailedError, "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB."),
    (torch.OutOfMemoryError("Allocation on device"), TrainingFailedError, "out of memory (Alloc"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
                  "allocate memory: you tried to allocate 40 bytes. Error code 12 (Cannot al"),
     TrainingFailedError, "out of memory (DefaultCPUAllocator: can't allocate memory: you tried"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough "
                  "memory: you tried to allocate 40 bytes."), TrainingFailedError, "out of memory"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), TrainingFailedError, "MPS"),
    (RuntimeError("std::bad_alloc"), TrainingFailedError, "out of memory (std::bad_alloc)"),
    (MemoryError(), TrainingFailedError, "out of memory (MemoryError)"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
     TrainingFailedError, "out of memory (CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDNN_INTERNAL"),
     TrainingFailedError, "a library of torch failed: cuDNN error"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
     TrainingFailedError, "a library of torch failed"),
    (RuntimeError("GET was unable to find an engine to execute this computation"),
     TrainingFailedError, "a library of torch failed"),
    (RuntimeError("could not create a primitive"), TrainingFailedError, "could not create"),
    (accelerator_error("CUDA error: out of memory\nCUDA kernel errors might be", 2),
     TrainingFailedError, "out of memory (CUDA error: out of memory)"),
    (accelerator_error("CUDA error: unspecified launch failure\nCUDA kernel errors might be", 719),
     DeviceLostError, "the device failed: CUDA error: unspecified launch failure"),
    (accelerator_error("CUDA error: an illegal memory access was encountered", None),
     DeviceLostError, "an illegal memory access"),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), DeviceLostError, "ECC error"),
]  # fmt: skip

BUGS: list[RuntimeError] = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (128x6272 and 100x8)"),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4) at dimension 1"),
    RuntimeError("Expected all tensors to be on the same device, but found at least two devices"),
    RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn"),
    RuntimeError("could not create a primitive descriptor for the convolution"),
    RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
    RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"),
    RuntimeError(""),
    accelerator_error("CUDA error: device-side assert triggered", 710),
    accelerator_error("CUDA error: device-side assert triggered", None),
    accelerator_error("CUDA error: invalid argument", 1),
    accelerator_error("CUDA error: invalid configuration argument", None),
]


@pytest.mark.parametrize(("error", "kind", "reason"), TRANSLATED)
def test_a_failure_of_the_machine_is_an_error_of_ours_in_one_line(
    error: RuntimeError, kind: type[AeSweepError], reason: str
) -> None:
    with pytest.raises(kind) as caught, environment_errors():
        raise error
    assert type(caught.value) is kind
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 320
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", BUGS, ids=str)
def test_a_bug_stays_what_it_is(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as caught, environment_errors():
        raise error
    assert caught.value is error


def test_torchs_own_lack_of_memory_is_recognised_as_this_torch_words_it() -> None:
    expected = r"^out of memory \(DefaultCPUAllocator: "
    with pytest.raises(TrainingFailedError, match=expected), environment_errors():
        torch.empty(10**15)


def test_torchs_own_wrong_shapes_types_and_indices_are_bugs() -> None:
    wrongs: list[Callable[[], object]] = [
        lambda: torch.zeros(2, 3) @ torch.zeros(4, 5),
        lambda: torch.nn.Linear(2, 3)(torch.zeros(1, 2, dtype=torch.long)),
        lambda: torch.zeros(3)[torch.tensor([7])],
        lambda: torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 2, 8, 8)),
        lambda: torch.zeros(2, requires_grad=True).add_(1),
    ]
    for wrong in wrongs:
        with pytest.raises((RuntimeError, IndexError)) as caught:
            wrong()
        if isinstance(caught.value, RuntimeError):
            assert translate(caught.value) is None, caught.value


def consume(generator: training.Training) -> None:
    for _ in generator:
        pass


def broken_step(monkeypatch: pytest.MonkeyPatch, error: Exception, *, step: int) -> None:
    """Have one step fail, once."""
    take_step, failed = Trainer.take_step, []

    def take(trainer: Any) -> torch.Tensor:
        if trainer.step == step and not failed:
            failed.append(step)
            raise error
        return take_step(trainer)

    monkeypatch.setattr("ae_sweep.training.trainer.TrainingLoop.take_step", take)


def trainings(method: str) -> Any:
    if method == "nested":
        return training.NestedTrainings(tiny_images(), dims=(2, 8))
    return lambda config: training.train(config, tiny_images())


@pytest.mark.parametrize("method", ["separate", "nested"])
def test_a_training_without_memory_fails_and_one_with_a_bug_raises_it(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    broken_step(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), step=3)
    with pytest.raises(TrainingFailedError, match="out of memory"):
        consume(trainings(method)(trial_config(batch_size=8)))
    bug = RuntimeError("shapes cannot be multiplied")
    broken_step(monkeypatch, bug, step=3)
    with pytest.raises(RuntimeError) as caught:
        consume(trainings(method)(trial_config(batch_size=8)))
    assert caught.value is bug


def test_a_nested_network_that_ran_out_of_memory_is_begun_anew_by_the_next_dim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def last(generator: training.Training) -> bytes:
        while True:
            try:
                next(generator)
            except StopIteration as end:
                weights: bytes = end.value.weights
                return weights

    undisturbed = last(trainings("nested")(trial_config(latent_dim=8, batch_size=8)))
    broken_step(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), step=3)
    nested = trainings("nested")
    with pytest.raises(TrainingFailedError):
        consume(nested(trial_config(latent_dim=2, batch_size=8)))
    assert last(nested(trial_config(latent_dim=8, batch_size=8))) == undisturbed


@pytest.mark.parametrize("measure", ["speed", "precision"])
def test_a_measurement_without_memory_is_an_error_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, measure: str
) -> None:
    class Huge(models.Autoencoder):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return x_BCHW + torch.empty(10**15)

    def huge(*, latent_dim: int, image_shape: models.ImageShape) -> models.Autoencoder:
        plain = models.build("conv", latent_dim=latent_dim, image_shape=image_shape)
        return Huge(
            encoder=plain.encoder,
            decoder=plain.decoder,
            latent_dim=latent_dim,
            image_shape=image_shape,
        )

    monkeypatch.setattr(registry, "MODELS", {"huge": huge, "conv": registry.MODELS["conv"]})
    monkeypatch.setattr("ae_sweep.training.precision.why_no_bf16", lambda _device: None)
    measures: dict[str, Callable[[], object]] = {
        "speed": lambda: training.measure_speed(
            trial_config(model="huge", batch_size=8), tiny_images(), precision=training.FP32
        ),
        "precision": lambda: training.choose_precision(
            torch.device("cpu"), model="huge", image_shape=(1, 8, 8), batch_size=8
        ),
    }
    with pytest.raises(TrainingFailedError, match="out of memory") as caught:
        measures[measure]()
    assert caught.value.exit_code == 3
