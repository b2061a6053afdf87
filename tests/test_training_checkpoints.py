"""A training that was killed goes on from its checkpoint, and ends as an undisturbed one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from checkpoint_support import NEVER, checkpoints, interrupted_at, killed_at, numbers
from fakes import tiny_images, trial_config
from training_support import consume

from ae_sweep import interruption, training
from ae_sweep.interruption import Interrupted
from ae_sweep.training import evaluate
from ae_sweep.training.images import as_floats
from ae_sweep.training.precision import Precision

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")

MODELS = ("conv", "mlp", "vae", "vqvae codebook=16", "fsq codebook=16", "ntc")
BF16 = Precision("bf16", "asked for")
"""Imitated, slowly, where the processor has none."""
CASES = [
    pytest.param(model, precision, id=f"{model}, {precision.name}", marks=marks)
    for model in MODELS
    for precision in (training.FP32, BF16)
    for marks in [() if precision == training.FP32 or model == "mlp" else pytest.mark.slow]
]
STEPS = 10
"""Of a training of two epochs of 40 images in batches of eight; validations after 3, 5, 8, 10."""


@pytest.fixture(scope="module")
def images() -> Any:
    return tiny_images()


def config(**changes: Any) -> Any:
    return trial_config(**{"batch_size": 8, "epochs": 2, "weight_decay": 0.01, **changes})


@pytest.mark.parametrize(("model", "precision"), CASES)
def test_a_training_killed_again_and_again_ends_with_the_numbers_of_an_undisturbed_one(
    model: str, precision: Precision, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = config(model=model)
    undisturbed = numbers(consume(training.train(trial, images, precision=precision)))
    train = partial(
        training.train, trial, images, precision=precision, checkpoints=checkpoints(tmp_path)
    )
    for steps in (1, 3, 2, 3):  # up to 1, 4, 6 and 9: within every stretch and in both epochs
        with killed_at(monkeypatch, steps):
            consume(train())
    epochs, result = consume(train())
    assert numbers((epochs, result)) == undisturbed
    assert [epoch.restored for epoch in epochs] == [True, True, True, False]


def test_a_training_killed_at_a_validation_goes_on_behind_it(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = config(model="ntc")
    undisturbed = numbers(consume(training.train(trial, images)))
    train = partial(training.train, trial, images, checkpoints=checkpoints(tmp_path))
    for steps in (5, 0, 3, 0):
        with killed_at(monkeypatch, steps):
            consume(train())
    again = train()
    first = next(again)
    assert first.restored
    assert first.note == "goes on from step 8 of 10, where it was interrupted"
    epochs, result = consume(again)
    assert numbers(([first, *epochs], result)) == undisturbed
    assert [epoch.note for epoch in epochs] == ["", "", ""]
    # Killed again in the measurement of the test images: nothing is left to train.
    with killed_at(monkeypatch, 0):
        assert numbers(consume(train())) == undisturbed


def test_a_checkpoint_is_at_least_saved_before_the_validations_that_follow_are_made(
    images: Any, tmp_path: Path
) -> None:
    kept = checkpoints(tmp_path)
    running = training.train(config(), images, checkpoints=kept)
    next(running)
    saved = kept.path(config()).read_bytes()
    running.close()
    assert kept.path(config()).read_bytes() == saved, "a given-up training saves nothing"
    kept.forget(config())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["conv", "ntc"])
def test_an_interrupted_training_is_saved_at_the_end_of_its_step_and_goes_on_there(
    model: str, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = config(model=model)
    undisturbed = numbers(consume(training.train(trial, images)))
    for step in range(1, STEPS + 1):
        kept = checkpoints(tmp_path / str(step), pace=NEVER)
        train = partial(training.train, trial, images, checkpoints=kept)
        with pytest.raises(Interrupted), interrupted_at(monkeypatch, step) as taken:
            consume(train())
        assert taken == [step]
        with interrupted_at(monkeypatch, 0) as taken:
            epochs, result = consume(train())
        assert taken == [STEPS - step], "no step is taken twice"
        assert numbers((epochs, result)) == undisturbed
        assert epochs[0].note == f"goes on from step {step} of 10, where it was interrupted"


def test_an_interruption_in_a_validation_or_in_the_test_leaves_only_that_to_be_done_again(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are four validations, and then the test images."""
    undisturbed = numbers(consume(training.train(config(), images)))
    for place, steps in enumerate((3, 5, 8, 10, 10)):
        kept = checkpoints(tmp_path / str(place), pace=NEVER)
        train = partial(training.train, config(), images, checkpoints=kept)
        with monkeypatch.context() as patch:
            measured = _interrupt_measurement(patch, place)
            with pytest.raises(Interrupted):
                consume(train())
        assert measured == [place + 1], "it ended between two batches"
        with interrupted_at(monkeypatch, 0) as taken:
            assert numbers(consume(train())) == undisturbed
        assert taken == [STEPS - steps]


def _interrupt_measurement(patch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Interrupt the measurement of that number, counted from 0; count the batches."""
    measured = [0]

    def measure(x_BCHW: Any) -> Any:
        if measured[0] == number:
            interruption.request()
        measured[0] += 1
        return as_floats(x_BCHW)

    patch.setattr(evaluate, "as_floats", measure)
    patch.setattr(evaluate, "_batches", _in_two)
    return measured


def _in_two(images: Any, _size: int) -> Any:
    """Measure all images at once, and then none: an interruption comes in between."""
    yield from images.batches(len(images))
    interruption.check()


def test_an_interruption_at_a_validation_saves_what_was_measured(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = numbers(consume(training.train(config(), images)))
    kept = checkpoints(tmp_path, pace=NEVER)
    running = training.train(config(), images, checkpoints=kept)
    first, second = next(running), next(running)
    with pytest.raises(Interrupted):
        running.throw(Interrupted())
    with interrupted_at(monkeypatch, 0) as taken:
        epochs, result = consume(training.train(config(), images, checkpoints=kept))
    assert taken == [STEPS - second.step]
    assert [epoch.restored for epoch in epochs] == [True, True, False, False]
    assert epochs[0].val_mse == first.val_mse
    assert numbers((epochs, result)) == undisturbed


def test_a_training_that_diverged_is_interrupted_without_a_checkpoint(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = config(lr=1e30)
    kept = checkpoints(tmp_path, pace=NEVER)
    with pytest.raises(Interrupted), interrupted_at(monkeypatch, 2):
        consume(training.train(trial, images, checkpoints=kept))
    assert not kept.path(trial).exists()


@pytest.mark.parametrize("step", [1, 6, 10, 11, 12, 13], ids=str)
def test_an_interrupted_nested_training_saves_its_network_and_its_dim(
    step: int, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network takes 10 steps, the fine-tuning of each of two dims 2."""
    dims, kept = (2, 8), checkpoints(tmp_path, pace=NEVER)
    trials = [config(latent_dim=dim) for dim in dims]
    undisturbed = training.NestedTrainings(images, dims=dims)
    expected = [numbers(consume(undisturbed(trial))) for trial in trials]
    found: list[Any] = []

    def train() -> None:
        nested = training.NestedTrainings(images, dims=dims, checkpoints=kept)
        found.extend(numbers(consume(nested(trial))) for trial in trials[len(found) :])

    with pytest.raises(Interrupted), interrupted_at(monkeypatch, step) as taken:
        train()
    assert taken == [step]
    with interrupted_at(monkeypatch, 0) as taken:
        train()
    assert taken == [14 - step], "no step is taken twice"
    assert [each["result"] for each in found] == [each["result"] for each in expected]


@pytest.mark.parametrize("killed", [(4,), (1, 5, 4), (10, 0, 1), (3, 8), (14,)], ids=str)
def test_a_nested_training_goes_on_in_the_network_and_in_each_dim(
    killed: tuple[int, ...], images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network takes 10 steps, the fine-tuning of each dim 2."""
    dims, kept = (2, 4, 8), checkpoints(tmp_path)
    trials = [config(latent_dim=dim) for dim in dims]
    undisturbed = training.NestedTrainings(images, dims=dims)
    expected = [numbers(consume(undisturbed(trial))) for trial in trials]
    found: list[Any] = []
    for steps in (*killed, 100):
        nested = training.NestedTrainings(images, dims=dims, checkpoints=kept)
        with killed_at(monkeypatch, steps):
            for trial in trials[len(found) :]:
                found.append(numbers(consume(nested(trial))))
                kept.forget(trial)
    assert found == expected
    assert [path.name for path in tmp_path.iterdir()] == [
        kept.path(trials[0], part="-network").name
    ]
    kept.close()
    assert not tmp_path.exists()


def test_a_dim_that_goes_on_from_another_dims_network_hears_nothing_measured_at_that_ones_width(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = training.NestedTrainings(images, dims=(2, 8))
    expected = numbers(consume(undisturbed(config(latent_dim=8))))
    kept = checkpoints(tmp_path)
    nested = training.NestedTrainings(images, dims=(2, 8), checkpoints=kept)
    with killed_at(monkeypatch, 6):
        consume(nested(config(latent_dim=2)))
    nested = training.NestedTrainings(images, dims=(2, 8), checkpoints=kept)
    epochs, result = consume(nested(config(latent_dim=8)))
    found = numbers((epochs, result))
    assert not any(epoch.restored for epoch in epochs)
    assert found["result"] == expected["result"]
    assert found["epochs"] == expected["epochs"][-len(epochs) :]


@pytest.mark.parametrize("most_bytes", [None, 0], ids=["in memory", "from the disk"])
def test_images_read_batch_by_batch_go_on_at_their_place_in_the_order(
    most_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_images(most_bytes=most_bytes)
    undisturbed = numbers(consume(training.train(config(), images)))
    train = partial(training.train, config(), images, checkpoints=checkpoints(tmp_path))
    with killed_at(monkeypatch, 7):
        consume(train())
    assert numbers(consume(train())) == undisturbed
