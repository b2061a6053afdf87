"""A nested training gives each dim one result, whichever dim is first, and shares its cost."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from fakes import tiny_images, trial_config
from training_support import consume

from ae_sweep import models, training
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.training.evaluate import mean_squared_error

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.records import TrialResult

pytestmark = pytest.mark.usefixtures("one_thread")

DIMS = (2, 8, 30)
STEPS_PER_EPOCH = 5
"""Of 40 images."""


@pytest.fixture(scope="module")
def images() -> training.DeviceImages:
    return tiny_images()


def nested(images: Any, dims: tuple[int, ...] = DIMS) -> training.NestedTrainings:
    return training.NestedTrainings(images, dims=dims)


def result_of(trainings: training.NestedTrainings, dim: int, **changes: Any) -> TrialResult:
    return consume(trainings(trial_config(batch_size=8, latent_dim=dim, **changes)))[1]


def digest(result: TrialResult) -> str:
    return hashlib.sha256(result.weights).hexdigest()


def test_a_dims_result_does_not_depend_on_which_dim_was_first(images) -> None:
    upwards, downwards = nested(images), nested(images)
    first = {dim: digest(result_of(upwards, dim)) for dim in DIMS}
    last = {dim: digest(result_of(downwards, dim)) for dim in reversed(DIMS)}
    assert first == last


@pytest.mark.slow
def test_a_dims_result_is_the_same_when_it_is_trained_alone_after_a_restart(images) -> None:
    trainings = nested(images)
    result_of(trainings, 2)
    assert digest(result_of(trainings, 8)) == digest(result_of(nested(images), 8))


@pytest.mark.slow
def test_another_list_of_dims_is_another_network(images) -> None:
    assert digest(result_of(nested(images), 2)) != digest(result_of(nested(images, (2, 8)), 2))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        pytest.param({"lr": 1e-3}, marks=pytest.mark.slow),
        pytest.param({"epochs": 1}, marks=pytest.mark.slow),
    ],
)
def test_another_seed_rate_or_length_is_another_network(images, change: dict[str, Any]) -> None:
    trainings = nested(images)
    plain, other = result_of(trainings, 2), result_of(trainings, 2, **change)
    assert digest(plain) != digest(other)
    assert digest(result_of(trainings, 2)) == digest(plain)


def test_the_first_dim_tells_of_the_networks_training_and_the_others_of_its_end(images) -> None:
    trainings = nested(images)
    first, _ = consume(trainings(trial_config(batch_size=8, latent_dim=8)))
    second, _ = consume(trainings(trial_config(batch_size=8, latent_dim=2)))
    assert [row.epoch for row in first if row.epoch <= 2] == [0.6, 1.0, 1.6, 2.0]
    assert [row.epoch for row in second if row.epoch <= 2] == [2.0]
    assert [row.step for row in second] == sorted(row.step for row in second)
    assert second[0].val_mse != first[3].val_mse, "each at its own width"
    assert all(row.quarter is None for row in [*first, *second]), "nothing is to be pruned by it"


def test_a_result_counts_the_steps_of_the_network_and_of_the_fine_tuning(images) -> None:
    result = result_of(nested(images), 8)
    assert result.step == 2 * STEPS_PER_EPOCH + round(training.FINE_TUNING_EPOCHS * STEPS_PER_EPOCH)
    assert result.train_seconds > 0


@pytest.mark.slow
def test_what_a_dim_leaves_is_an_ordinary_autoencoder_of_that_width(images, tmp_path: Path) -> None:
    trainings = nested(images)
    for dim in DIMS:
        result = result_of(trainings, dim)
        path = tmp_path / f"{dim}.safetensors"
        path.write_bytes(result.weights)
        model = models.load(path)
        assert model.latent_dim == dim
        again = mean_squared_error(model, images.test, precision=training.FP32)
        assert again == pytest.approx(result.test_mse, rel=1e-6)
        ordinary = consume(training.train(trial_config(batch_size=8, latent_dim=dim), images))[1]
        assert result.parameters == ordinary.parameters


@pytest.mark.slow
def test_every_width_learns(images) -> None:
    trainings = nested(images)
    mean = images.train.x_NCHW.float().mean(dim=0) / 255
    of_the_mean = ((images.test.x_NCHW.float() / 255 - mean) ** 2).mean().item()
    for dim in DIMS:
        assert result_of(trainings, dim, epochs=30).test_mse < of_the_mean


def test_a_network_that_diverges_fails_every_dim(images) -> None:
    trainings = nested(images)
    for dim in DIMS:
        with pytest.raises(TrainingDivergedError, match="smaller lr"):
            result_of(trainings, dim, lr=1e38)


def test_the_shares_of_a_networks_cost_add_up_to_it() -> None:
    speeds = {
        dim: training.Speed(epoch_seconds=dim, validation_seconds=0.0, test_seconds=0.0)
        for dim in DIMS
    }
    told = sum(training.nested_trial_seconds(speeds, dim, 4) for dim in DIMS)
    network = 4 * sum(DIMS) / len(DIMS)
    assert told == pytest.approx(network + training.FINE_TUNING_EPOCHS * sum(DIMS))
