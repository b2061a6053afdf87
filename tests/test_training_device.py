"""Devices are found by name, precision by what proves right, and time is estimated."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_images, trial_config

from ae_sweep import models, training
from ae_sweep.errors import ConfigError, DeviceError
from ae_sweep.training import precision as precisions
from ae_sweep.training.evaluate import mean_squared_error
from ae_sweep.training.image_rows import ResidentRows
from ae_sweep.training.images import as_bytes, as_floats, picture_indices
from ae_sweep.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def choose() -> training.Precision:
    return training.choose_precision(CPU, model="conv", image_shape=(1, 8, 8), batch_size=16)


def test_the_cpu_is_always_there_and_auto_takes_the_first_device() -> None:
    assert training.available_devices()[-1] == "cpu"
    assert training.resolve_device("cpu") == CPU
    assert str(training.resolve_device("auto")) == training.available_devices()[0]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3", "mps"])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=rf"no device '{name}' .*it has: cpu \(--device auto"):
        training.resolve_device(name)


def test_a_gpu_is_chosen_before_the_cpu_and_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert training.available_devices() == ("cuda:0", "cuda:1", "cpu")
    assert training.resolve_device("auto") == torch.device("cuda:0")
    assert training.resolve_device("cuda") == torch.device("cuda:0")
    assert training.resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="it has: cuda:0, cuda:1, cpu"):
        training.resolve_device("cuda:2")


@pytest.mark.parametrize(
    "name",
    ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1000", "cpu:0", "tpu", "[bold]", "x" * 5_000],
)
def test_a_name_that_is_no_device_is_wrong_usage(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no device .*; use auto, cpu") as refusal:
        training.resolve_device(name)
    assert len(str(refusal.value)) < 200


def test_a_device_is_described_in_words_and_has_memory() -> None:
    assert platform.machine() in training.describe_device(CPU)
    assert training.memory_bytes(CPU) > 2**28


def test_keeping_freed_memory_changes_no_number() -> None:
    images = tiny_images()
    before = next(training.train(trial_config(), images)).val_mse
    training.prepare_process()
    assert next(training.train(trial_config(), images)).val_mse == before


def test_the_choice_of_precision_says_why() -> None:
    choice = choose()
    assert choice.name in {"fp32", "bf16"}
    assert choice.reason


def with_bf16(monkeypatch: pytest.MonkeyPatch, *, error: float, speedup: float = 1.7) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precisions, "_gradient_error", lambda *_: error)
    monkeypatch.setattr(precisions, "_speedup", lambda *_: speedup)


@pytest.mark.parametrize("error", [0.11, 2.0, float("nan"), float("inf")])
def test_bf16_that_computes_wrongly_is_not_used(
    monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    with_bf16(monkeypatch, error=error)
    assert choose().name == "fp32"
    assert "gradients are off by" in choose().reason


def test_bf16_that_is_hardly_faster_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with_bf16(monkeypatch, error=0.02, speedup=1.2)
    assert choose() == training.Precision("fp32", "bf16 is 1.20 times as fast here: not worth it")


def test_bf16_that_computes_rightly_and_faster_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with_bf16(monkeypatch, error=0.02)
    assert choose() == training.Precision(
        "bf16", "1.7 times as fast as fp32; gradients within 2.0% of it"
    )


def test_a_cpu_without_bf16_trains_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose() == training.Precision("fp32", "no bf16 on this CPU")


def test_a_gradient_in_bf16_is_close_to_but_not_equal_to_the_exact_one() -> None:
    network = models.build("conv", latent_dim=32, image_shape=(1, 8, 8))
    x_BCHW = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert 0 < precisions._gradient_error(network, x_BCHW) < precisions.MAX_GRADIENT_ERROR
    assert precisions._speedup(network, x_BCHW) > 0


@pytest.mark.usefixtures("two_threads")
def test_the_choice_is_made_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    with_bf16(monkeypatch, error=0.02)
    seen = []
    for part, found in (("_gradient_error", 0.02), ("_speedup", 1.7)):
        monkeypatch.setattr(
            precisions, part, lambda *_, found=found: seen.append(torch.get_num_threads()) or found
        )
    assert choose().name == "bf16"
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2
    hardware = training.hardware(CPU)
    torch.set_num_threads(1)
    assert training.hardware(CPU) == hardware, "it is kept for any number of threads"


def test_time_that_a_processor_gave_to_others_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gradient = precisions._gradient

    def held_up(network: Any, x_BCHW: torch.Tensor, precision: training.Precision) -> torch.Tensor:
        if precision.name == "bf16":
            time.sleep(0.05)
        return gradient(network, x_BCHW, training.FP32)

    monkeypatch.setattr(precisions, "_gradient", held_up)
    monkeypatch.setattr(precisions, "LEAST_SECONDS", 0.01)
    network = models.build("conv", latent_dim=32, image_shape=(1, 8, 8))
    x_BCHW = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert precisions._speedup(network, x_BCHW) > 0.3, "by the clock it is below 0.1"


def test_a_clock_of_coarse_steps_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = time.thread_time
    monkeypatch.setattr(time, "thread_time", lambda: clock() // 0.0156 * 0.0156)
    network = models.build("mlp", latent_dim=2, image_shape=(1, 8, 8))
    x_BCHW = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert 0.1 < precisions._speedup(network, x_BCHW) < 10


def test_images_are_placed_as_bytes_with_two_pictures_of_each_class() -> None:
    images = tiny_images(train=30, val=5, test=12)
    for part, count in ((images.train, 30), (images.val, 5), (images.test, 12)):
        assert part.x_NCHW.dtype == torch.uint8
        assert tuple(part.x_NCHW.shape) == part.shape == (count, 1, 8, 8)
    assert images.device == CPU
    assert images.image_shape == (1, 8, 8)
    assert len(images.pictures_NCHW) == 6


def test_pictures_are_the_first_two_of_each_class_in_the_order_of_classes() -> None:
    labels = np.array([7, 7, 1, 7, 1, 1, 3], np.uint8)
    assert picture_indices(labels, images=7).tolist() == [2, 4, 6, 0, 1]


def test_pictures_are_at_most_twenty_whatever_the_classes() -> None:
    ten, eleven, many = (np.arange(2_000) % classes for classes in (10, 11, 1_000))
    assert picture_indices(ten, images=2_000).tolist() == [
        image for digit in range(10) for image in (digit, digit + 10)
    ]
    assert picture_indices(eleven, images=2_000).tolist() == list(range(11))
    assert picture_indices(many, images=2_000).tolist() == list(range(0, 1_000, 50))
    assert picture_indices(None, images=2_000).tolist() == list(range(0, 2_000, 100))
    assert picture_indices(None, images=3).tolist() == [0, 1, 2]


def test_all_bytes_survive_the_way_to_numbers_and_back() -> None:
    x_BCHW = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = as_floats(x_BCHW)
    assert (floats.min(), floats.max()) == (0, 1)
    assert torch.equal(as_bytes(floats), x_BCHW)


class Halver(torch.nn.Module):
    """Rebuilds images at half their brightness."""

    inference_batch = 500

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW / 2


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1_003])
def test_distortion_is_the_mean_over_all_pixels_whatever_the_batches(count: int) -> None:
    x_NCHW = torch.randint(
        0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    model: Any = Halver()
    expected = (x_NCHW.double() / 255 / 2).square().mean().item()
    told = mean_squared_error(model, ResidentRows(x_NCHW), precision=training.FP32)
    assert told == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", [True, False])
def test_measuring_leaves_the_model_in_its_mode_and_its_statistics_alone(mode: bool) -> None:
    model: models.Autoencoder = models.build("conv", latent_dim=2, image_shape=(1, 8, 8))
    model.train(mode)
    before = models.to_bytes(model, name="conv")
    images = tiny_images().val
    first = mean_squared_error(model, images, precision=training.FP32)
    assert model.training is mode
    assert models.to_bytes(model, name="conv") == before
    assert mean_squared_error(model, images, precision=training.FP32) == first


def test_measured_times_are_positive() -> None:
    speed = training.measure_speed(
        trial_config(batch_size=16), tiny_images(), precision=training.FP32
    )
    assert min(speed.epoch_seconds, speed.validation_seconds, speed.test_seconds) > 0
    assert speed.spread >= 0


def test_a_trial_takes_its_epochs_its_validations_and_one_test() -> None:
    speed = training.Speed(epoch_seconds=10, validation_seconds=1, test_seconds=0.5)
    assert speed.trial_seconds(1) == 10 + 4 + 0.5
    assert speed.trial_seconds(8) == 80 + 8 + 0.5


@pytest.mark.parametrize("epochs", [*range(1, 10), 99, 100, 101, 103, 200, 250, 1_720])
def test_a_trial_is_estimated_with_as_many_validations_as_it_has_pauses(epochs: int) -> None:
    images = tiny_images(train=1_024)  # eight steps an epoch: quarters end between the ends
    trainer = Trainer(trial_config(epochs=epochs), images)
    speed = training.Speed(epoch_seconds=0, validation_seconds=1, test_seconds=0)
    assert speed.trial_seconds(epochs) == len(trainer.pauses)


def test_speeds_between_two_dims_are_interpolated() -> None:
    low = training.Speed(epoch_seconds=1, validation_seconds=2, test_seconds=3)
    high = training.Speed(epoch_seconds=3, validation_seconds=6, test_seconds=3)
    assert training.between(low, high, 0) == low
    assert training.between(low, high, 1) == high
    assert training.between(low, high, 0.25) == training.Speed(
        epoch_seconds=1.5, validation_seconds=3, test_seconds=3
    )
