"""A checkpoint that is torn, damaged or another training's is not used, and that is said."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from checkpoint_support import ALWAYS, checkpoints, numbers
from fakes import tiny_images, trial_config
from training_support import consume

from ae_sweep import training
from ae_sweep.errors import TrainingDivergedError
from ae_sweep.training import checkpoint_file
from ae_sweep.training.checkpoint_file import (
    Snapshot,
    UnusableCheckpointError,
    read,
    to_bytes,
)
from ae_sweep.training.checkpoints import Checkpoints, Keeper, Pace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")

IDENTITY = {"trial": "0123", "machine": "cpu threads=1 torch=2.14"}
SAMPLES = 500


@pytest.fixture(scope="module")
def whole() -> bytes:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "weights/a": torch.randn(40, 30, generator=generator),
        "model/b": torch.randn(3, 3, generator=generator, dtype=torch.float64),
        "loop/losses_N": torch.empty(0),
        "loop/order": generator.get_state(),
        "optimiser/adam.0.step": torch.tensor(7.0),
    }
    return to_bytes(Snapshot(tensors=tensors, values={"step": 7}), identity=IDENTITY)


def test_what_was_written_is_read_again(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(whole)
    found = read(tmp_path / "c", identity=IDENTITY)
    assert found.values == {"step": 7}
    assert found.tensors["weights/a"].shape == (40, 30)
    assert found.tensors["model/b"].dtype == torch.float64
    assert found.tensors["optimiser/adam.0.step"].item() == 7
    assert b"pickle" not in whole


def test_a_checkpoint_cut_off_at_any_length_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c"
    spread = {len(whole) * part // SAMPLES for part in range(SAMPLES)}
    for length in sorted({*range(64), *spread, len(whole) - 1}):
        path.write_bytes(whole[:length])
        with pytest.raises(UnusableCheckpointError):
            read(path, identity=IDENTITY)


def test_a_checkpoint_with_any_byte_changed_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c"
    for part in range(SAMPLES):
        place = len(whole) * part // SAMPLES
        changed = bytes([whole[place] ^ 1])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        with pytest.raises(UnusableCheckpointError):
            read(path, identity=IDENTITY)
    path.write_bytes(whole + b"\0")
    with pytest.raises(UnusableCheckpointError):
        read(path, identity=IDENTITY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",  # a pickle
        b"\xff" * 100,
        (2**40).to_bytes(8, "little") + b"{}",
        safetensors.torch.save({"a": torch.zeros(1)}),
        safetensors.torch.save({"a": torch.zeros(1)}, metadata={"ae_sweep_checkpoint": "[1]"}),
        safetensors.torch.save({"a": torch.zeros(1)}, metadata={"ae_sweep_checkpoint": "[" * 9999}),
        safetensors.torch.save(
            {"a": torch.zeros(1)}, metadata={"ae_sweep_checkpoint": '{"format": 1, "identity": 3}'}
        ),
    ],
    ids=range(8),
)
def test_another_file_in_its_place_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(UnusableCheckpointError):
        read(tmp_path / "c", identity=IDENTITY)
    (tmp_path / "c").unlink()
    (tmp_path / "c").mkdir()
    with pytest.raises(UnusableCheckpointError):
        read(tmp_path / "c", identity=IDENTITY)


def test_the_reason_names_what_differs(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c").write_bytes(whole)
    for identity, reason in (
        ({**IDENTITY, "trial": "4567"}, "its trial is '0123', not '4567'"),
        ({**IDENTITY, "arithmetic": "bf16"}, "its arithmetic is 'None', not 'bf16'"),
        ({"trial": "0123"}, "its machine is 'cpu threads=1 torch=2.14', not 'None'"),
    ):
        with pytest.raises(UnusableCheckpointError) as caught:
            read(tmp_path / "c", identity=identity)
        assert str(caught.value) == reason
    monkeypatch.setattr(checkpoint_file, "FORMAT", 2)
    with pytest.raises(UnusableCheckpointError, match="it has format '1', and this is format 2"):
        read(tmp_path / "c", identity=IDENTITY)


def saved_training(folder: Path, config: Any, images: Any, **settings: Any) -> Checkpoints:
    """Save a training after its first validation, and give it up."""
    kept = checkpoints(folder)
    running = training.train(config, images, checkpoints=kept, **settings)
    next(running)
    running.close()
    return kept


def _save_other(path: Path) -> None:
    images = tiny_images()
    other = trial_config(model="mlp", batch_size=8, seed=9)
    kept = saved_training(path.parent / "other", other, images)
    kept.path(other).replace(path)


def _save_other_model(path: Path) -> None:
    """Write a checkpoint with the right identity and the weights of another network."""
    found = _content(path)
    tensors = {name: each for name, each in found.tensors.items() if "weights/" not in name}
    snapshot = Snapshot(tensors=tensors, values=found.values)
    path.write_bytes(to_bytes(snapshot, identity=_identity(path)))


def _identity(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        identity: dict[str, str] = json.loads(file.metadata()["ae_sweep_checkpoint"])["identity"]
    return identity


def _content(path: Path) -> Snapshot:
    return read(path, identity=_identity(path))


CHANGES: dict[str, tuple[Any, str]] = {
    "machine": (lambda _: None, "its machine is"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "it is damaged"),
    "other trial": (_save_other, "its trial is"),
    "other model": (_save_other_model, "it was written for another model"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_training_whose_checkpoint_is_of_no_use_begins_anew_and_says_why(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, images = trial_config(model="mlp", batch_size=8), tiny_images()
    kept = saved_training(tmp_path, config, images)
    spoil, reason = CHANGES[change]
    spoil(kept.path(config))
    if change == "machine":
        monkeypatch.setattr("ae_sweep.training.loop.hardware", lambda _: "cpu threads=2 torch=3.0")
    expected = numbers(consume(training.train(config, images)))
    never = dataclasses.replace(kept, pace=Pace(share=0.0))
    epochs, result = consume(training.train(config, images, checkpoints=never))
    assert numbers((epochs, result)) == expected
    assert not any(epoch.restored for epoch in epochs)
    assert epochs[0].note.startswith(f"trained from the start: the checkpoint {tmp_path}")
    assert f"is not used, because {reason}" in epochs[0].note
    assert [epoch.note for epoch in epochs[1:]] == ["", "", ""]
    assert not kept.path(config).exists(), "it is deleted, and said once"


def test_another_precision_recipe_or_data_set_has_another_checkpoint(tmp_path: Path) -> None:
    config, images = trial_config(model="mlp", batch_size=8), tiny_images()
    saved_training(tmp_path, config, images)
    for other in (
        checkpoints(tmp_path, recipe="3"),
        dataclasses.replace(checkpoints(tmp_path), dataset_digest="f" * 16),
    ):
        epochs, _ = consume(training.train(config, images, checkpoints=other))
        assert not any(epoch.restored or epoch.note for epoch in epochs)
    bf16 = training.Precision("bf16", "asked for")
    kept = checkpoints(tmp_path)
    epochs, _ = consume(training.train(config, images, precision=bf16, checkpoints=kept))
    assert "its arithmetic is 'fp32', not 'bf16'" in epochs[0].note


def test_a_diverged_training_is_not_saved(tmp_path: Path) -> None:
    config, kept = trial_config(model="conv", lr=1e30, batch_size=8), checkpoints(tmp_path)
    with pytest.raises(TrainingDivergedError) as first:
        consume(training.train(config, tiny_images()))
    with pytest.raises(TrainingDivergedError) as saved:
        consume(training.train(config, tiny_images(), checkpoints=kept))
    assert str(saved.value) == str(first.value)


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    (tmp_path / ".0123.safetensors.abcd").write_bytes(b"half")
    (tmp_path / "0123.safetensors").write_bytes(b"")
    kept.tidy()
    assert [path.name for path in tmp_path.iterdir()] == ["0123.safetensors"]
    kept.close()
    assert (tmp_path / "0123.safetensors").exists(), "a trial that was killed may go on"
    checkpoints(tmp_path / "nowhere").tidy()
    checkpoints(tmp_path / "nowhere").close()


class Clock:
    """Time that passes only when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_saving_takes_a_hundredth_of_the_time_and_happens_every_half_minute_at_most_in_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keeper = Keeper(tmp_path / "c", identity={}, pace=Pace(), clock=clock)

    def due_after(seconds: float, *, in_epoch: bool) -> bool:
        clock.now = saved + seconds
        return keeper.due(size=10**7, in_epoch=in_epoch)

    saved = clock.now  # a first one of 10 MB is expected to take 0.1 s
    assert not due_after(9, in_epoch=False)
    assert due_after(11, in_epoch=False)
    assert not due_after(29, in_epoch=True)
    assert due_after(31, in_epoch=True)

    def write_slowly(*_: object) -> None:
        clock.now += 2

    monkeypatch.setattr("ae_sweep.training.checkpoints.write_atomically", write_slowly)
    keeper.save(Snapshot(tensors={}, values={}))
    saved = clock.now
    assert not due_after(199, in_epoch=False)
    assert not due_after(199, in_epoch=True)
    assert due_after(201, in_epoch=True)
    assert ALWAYS.seconds_between == 0
