"""Images reach the trainer alike from the device's memory, the host's and a file."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_images, trial_config

from ae_sweep import data, training
from ae_sweep.data.file_map import open_map
from ae_sweep.errors import DataError
from ae_sweep.records import DatasetCard
from ae_sweep.training import images as placing
from ae_sweep.training.image_rows import (
    ArrayRows,
    FileRows,
    ImageRows,
    ResidentRows,
    StreamedRows,
    source_of,
)

CPU = torch.device("cpu")
SHAPE = (23, 3, 5, 4)


@pytest.fixture(name="x_NCHW")
def some_images() -> Any:
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path, x_NCHW: Any) -> Path:
    path = tmp_path / "train.npy"
    np.save(path, x_NCHW)
    return path


def rows_of_each_kind(x_NCHW: Any, file: Path) -> dict[str, ImageRows]:
    return {
        "device": ResidentRows(torch.from_numpy(x_NCHW)),
        "host": StreamedRows(ArrayRows(x_NCHW), CPU),
        "file": StreamedRows(source_of(open_map(file)), CPU),
    }


@pytest.mark.parametrize("kind", ["device", "host", "file"])
@pytest.mark.parametrize("size", [1, 4, 23, 40])
def test_batches_are_the_images_in_the_order_asked_for(
    x_NCHW: Any, file: Path, kind: str, size: int
) -> None:
    rows = rows_of_each_kind(x_NCHW, file)[kind]
    assert (len(rows), rows.shape, rows.numbers) == (23, SHAPE, x_NCHW.size)
    whole = list(rows.batches(size))
    assert [len(batch) for batch in whole] == [
        min(size, 23 - begin) for begin in range(0, 23, size)
    ]
    np.testing.assert_array_equal(torch.cat(whole), x_NCHW)
    order_N = torch.tensor([5, 6, 7, 22, 0, 0, 9])
    several = list(rows.batches(size, order_N=order_N))
    np.testing.assert_array_equal(torch.cat(several), x_NCHW[order_N.numpy()])
    assert sum(map(len, rows.batches(size, order_N=order_N[:0]))) == 0
    first = rows.first(3)
    np.testing.assert_array_equal(torch.cat(list(first.batches(size))), x_NCHW[:3])
    assert len(rows.first(99)) == 23


def test_a_part_of_a_mapped_file_is_read_at_its_place(x_NCHW: Any, file: Path) -> None:
    mapped = open_map(file)
    for part in (mapped, mapped[4:], mapped[2:9], mapped[2:9][3:], np.asarray(mapped)[1:]):
        source = source_of(part)
        assert isinstance(source, FileRows)
        np.testing.assert_array_equal(source.whole(), part)
    # Read otherwise than the bytes lie in the file.
    plain = np.load(file, mmap_mode="r")
    for part in (mapped[::2], mapped[:, ::-1], mapped[:, :, 1:3], np.array(mapped), x_NCHW, plain):
        source = source_of(part)
        assert isinstance(source, ArrayRows)
        into = np.empty((2, *part.shape[1:]), np.uint8)
        source.read(np.array([3, 1]), into_BCHW=into)
        np.testing.assert_array_equal(into, part[[3, 1]])


def test_a_large_file_is_copied_piece_by_piece(
    x_NCHW: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_sweep.training.image_rows.CHUNK_BYTES", 100)
    source = source_of(open_map(file))
    assert isinstance(source, FileRows)
    np.testing.assert_array_equal(source.whole(), x_NCHW)


def test_a_file_that_became_shorter_is_an_error_and_no_image_of_zeros(file: Path) -> None:
    rows = StreamedRows(source_of(open_map(file)), CPU)
    os.truncate(file, file.stat().st_size - 70)
    batches = rows.batches(22)
    assert len(next(rows.batches(20))) == 20
    with pytest.raises(DataError, match=r"train\.npy became shorter while it was read; run"):
        list(batches)


def test_a_file_that_was_replaced_after_it_was_mapped_is_not_read(x_NCHW: Any, file: Path) -> None:
    mapped = open_map(file)
    file.unlink()
    np.save(file, 255 - x_NCHW)
    rows = StreamedRows(source_of(mapped[2:]), CPU)
    np.testing.assert_array_equal(torch.cat(list(rows.batches(5))), x_NCHW[2:])
    np.testing.assert_array_equal(torch.cat(list(rows.first(3).batches(2))), x_NCHW[2:5])
    mapped_again = source_of(open_map(file))
    assert isinstance(mapped_again, FileRows)
    np.testing.assert_array_equal(mapped_again.whole(), 255 - x_NCHW)


def test_a_map_closes_its_file_and_rows_of_it_outlive_it(x_NCHW: Any, file: Path) -> None:
    mapped = open_map(file)
    assert mapped.file is not None
    opened, source = mapped.file, source_of(mapped)
    del mapped
    gc.collect()
    assert opened.closed
    assert isinstance(source, FileRows)
    np.testing.assert_array_equal(source.whole(), x_NCHW)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x03\x00" + bytes(20)])
def test_what_is_no_array_file_is_not_mapped(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - numpy's words
        open_map(file)


def test_the_next_batch_is_read_while_one_is_used_and_no_further(x_NCHW: Any) -> None:
    read = []

    class Slow(ArrayRows):
        def read(self, index_B: Any, *, into_BCHW: Any) -> None:
            super().read(index_B, into_BCHW=into_BCHW)
            read.append((int(index_B[0]), threading.current_thread() is threading.main_thread()))

    batches = StreamedRows(Slow(x_NCHW), CPU).batches(5)
    next(batches)
    limit = time.monotonic() + 20
    while len(read) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.05)
    assert read == [(0, False), (5, False)]
    before = threading.active_count()
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before - 1


def dataset_in_files(place: Path, *, side: int = 8, train: int = 40) -> data.ImageDataset:
    """The fake images, in files that are mapped as those of own images are."""
    whole = tiny_images(side=side, train=train)
    mapped = {}
    for part in ("train", "val", "test"):
        path = place / f"{part}.npy"
        np.save(path, getattr(whole, part).x_NCHW.numpy())
        mapped[f"{part}_NCHW"] = open_map(path)
    return data.ImageDataset(
        card=whole.card, train_labels_N=None, val_labels_N=None, test_labels_N=None, **mapped
    )


def result_of(images: training.DeviceImages, **changes: Any) -> Any:
    config = trial_config(**{"batch_size": 8, "epochs": 3, "latent_dim": 3, **changes})
    epochs = []
    generator = training.train(config, images)
    while True:
        try:
            told = next(generator)
        except StopIteration as end:
            return epochs, dataclasses.replace(end.value, train_seconds=0.0)
        epochs.append(dataclasses.replace(told, images_per_second=0.0, epoch_seconds=0.0))


@pytest.mark.parametrize(
    "model",
    ["conv", *(pytest.param(model, marks=pytest.mark.slow) for model in
               ("vae beta=0.1", "vqvae codebook=16"))],
)  # fmt: skip
def test_a_training_is_the_same_to_the_last_digit_wherever_the_images_are(
    tmp_path: Path, model: str
) -> None:
    dataset = dataset_in_files(tmp_path)
    resident = training.place(dataset, CPU)
    streamed = training.place(dataset, CPU, most_bytes=1)
    assert isinstance(resident.train, ResidentRows)
    assert isinstance(streamed.train, StreamedRows)
    assert result_of(streamed, model=model) == result_of(resident, model=model)


def test_a_nested_training_is_the_same_wherever_the_images_are(tmp_path: Path) -> None:
    dataset = dataset_in_files(tmp_path)
    results = []
    for most_bytes in (None, 1):
        images = training.place(dataset, CPU, most_bytes=most_bytes)
        generator = training.NestedTrainings(images, dims=(2, 4))(
            trial_config(batch_size=8, epochs=2)
        )
        while True:
            try:
                next(generator)
            except StopIteration as end:
                results.append((end.value.test_mse, end.value.weights))
                break
    assert results[0] == results[1]


def test_streamed_images_are_timed_like_others(tmp_path: Path) -> None:
    images = training.place(dataset_in_files(tmp_path), CPU, most_bytes=1)
    speed = training.measure_speed(trial_config(batch_size=16), images, precision=training.FP32)
    assert speed.epoch_seconds > 0
    assert speed.test_seconds > 0


def test_what_is_shown_is_the_same_wherever_the_images_are(tmp_path: Path) -> None:
    dataset = dataset_in_files(tmp_path)
    shown = [training.place(dataset, CPU, most_bytes=most).pictures_NCHW for most in (None, 1)]
    assert torch.equal(*shown)
    assert len(shown[0]) == 12


def card(images: int, *, side: int = 32) -> DatasetCard:
    return DatasetCard(
        name="own", digest="0" * 16, source="", train_images=images - 20, val_images=10,
        test_images=10, image_shape=(3, side, side),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "most_bytes", "where"),
    [
        ("cpu", None, "device"),
        ("cpu", 3_072_000, "device"),
        ("cpu", 3_071_999, "disk"),
        ("cuda", None, "host"),
        ("cuda", 3_072_000, "host"),
        ("cuda", 3_071_999, "disk"),
    ],
)
def test_images_stay_where_they_take_at_most_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, device: str, most_bytes: int | None, where: str
) -> None:
    monkeypatch.setattr(placing, "memory_bytes", lambda _: 2 * 3_072_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * 3_071_999, 10**12))
    whole = card(1_000)
    assert placing.image_bytes(whole) == 3_072_000
    assert placing.choose_place(whole, torch.device(device), most_bytes=most_bytes) == where


def test_more_images_than_half_of_the_memory_are_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_in_files(tmp_path)
    monkeypatch.setattr(placing, "memory_bytes", lambda _: 2 * 64 * dataset.card.pixels - 1)
    assert isinstance(training.place(dataset, CPU).train, StreamedRows)


MEASURED = """
import json, re, sys
from pathlib import Path
import numpy as np, torch
from ae_sweep import data, training
from ae_sweep.config import Hyperparameters, TrialConfig
from ae_sweep.data.file_map import open_map
from ae_sweep.records import DatasetCard
from ae_sweep.training.trainer import Trainer

path, images, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
whole = open_map(Path(path))
parts = {"val": whole[:500], "test": whole[500:1000], "train": whole[1000:images]}
card = DatasetCard(
    name="large", digest="0" * 16, source="", image_shape=whole.shape[1:],
    **{f"{name}_images": len(part) for name, part in parts.items()},
)
dataset = data.ImageDataset(
    card=card,
    **{f"{name}_NCHW": part for name, part in parts.items()},
    **{f"{name}_labels_N": None for name in parts},
)
training.prepare_process()
torch.set_num_threads(1)
placed = training.place(dataset, torch.device("cpu"), most_bytes=limit)
epochs = 6 * 128 / len(parts["train"])
config = TrialConfig(latent_dim=8, hyperparameters=Hyperparameters(lr=4e-3, epochs=1))
trainer = Trainer(config, placed, epochs=epochs)
told = trainer.train_until(trainer.total_steps)
result = trainer.finish(told)
# Not getrusage, which counts what the parent had when this process began.
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([type(placed.train).__name__, peak, told.val_mse, result.test_mse, trainer.step]))
"""


def measured(path: Path, *, images: int, most_bytes: int) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path, str(images), str(most_bytes)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_set_larger_than_its_limit_trains_in_little_memory_with_the_same_numbers(
    tmp_path: Path,
) -> None:
    count, path = 400_000, tmp_path / "train.npy"
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 3, 32, 32))
    random = np.random.default_rng(0)
    for begin in range(0, count, 20_000):
        file[begin : begin + 20_000] = random.integers(0, 256, (20_000, 3, 32, 32), np.uint8)
    del file
    limit = 5 * 10**8
    kind, peak, *_ = measured(path, images=count, most_bytes=limit)
    assert kind == "StreamedRows"
    assert peak < 1.5e9
    streamed = measured(path, images=20_000, most_bytes=10**6)
    resident = measured(path, images=20_000, most_bytes=0)
    assert (streamed[0], resident[0]) == ("StreamedRows", "ResidentRows")
    assert streamed[2:] == resident[2:]
