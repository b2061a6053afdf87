"""A machine's choice of precision is made once and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from ae_sweep import training
from ae_sweep.cli.calibration import FILE_NAME, remembered_precision

if TYPE_CHECKING:
    from pathlib import Path

BF16 = training.Precision("bf16", "proved right")


@pytest.fixture
def calibrations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count calibrations, each of which would choose otherwise than the one before."""
    made: list[int] = []

    def choose(*_: object, batch_size: int, **__: object) -> training.Precision:
        made.append(batch_size)
        return BF16 if len(made) % 2 else training.FP32

    monkeypatch.setattr(training, "choose_precision", choose)
    return made


def remembered(cache: Path, *, batch_size: int = 128) -> training.Precision:
    return remembered_precision(
        torch.device("cpu"),
        model="conv",
        image_shape=(1, 28, 28),
        batch_size=batch_size,
        cache=cache,
    )


def test_the_second_time_nothing_is_measured(calibrations, tmp_path: Path) -> None:
    assert [remembered(tmp_path / "cache") for _ in range(3)] == [BF16] * 3
    assert calibrations == [128]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE_NAME]


def test_other_shapes_and_other_threads_are_measured_for_themselves(
    calibrations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remembered(tmp_path) == BF16
    assert remembered(tmp_path, batch_size=8) == training.FP32
    assert remembered(tmp_path) == BF16
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    remembered(tmp_path)
    assert calibrations == [128, 8, 128]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\udcff"])
def test_a_damaged_memory_is_written_anew(calibrations, tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8", errors="surrogateescape")
    assert [remembered(tmp_path) for _ in range(2)] == [BF16] * 2
    assert calibrations == [128]


@pytest.mark.parametrize("entry", [1, None, {}, {"name": "fp8", "reason": "x"}])
def test_an_entry_that_makes_no_sense_is_measured_anew(
    calibrations, tmp_path: Path, entry: object
) -> None:
    remembered(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), entry)))
    remembered(tmp_path)
    assert len(calibrations) == 2


def test_a_cache_that_cannot_be_written_is_no_hindrance(calibrations, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert remembered(blocked) == BF16
