"""A machine's choice of precision is made once and kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ae_sweep import training
from ae_sweep.errors import ConfigError
from ae_sweep.runner.precision_cache import FILE_NAME, remembered_precision

if TYPE_CHECKING:
    from pathlib import Path

BF16 = training.Precision("bf16", "proved right")


class Calibration:
    """Answers otherwise each time, and counts."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> training.Precision:
        self.made += 1
        return BF16 if self.made % 2 else training.FP32


@pytest.fixture
def calibrate() -> Calibration:
    return Calibration()


def test_the_second_time_nothing_is_measured(calibrate, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert [
        remembered_precision("here", calibrate, cache=cache, announce=print) for _ in range(3)
    ] == [BF16] * 3
    assert calibrate.made == 1
    assert [path.name for path in cache.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_what_the_environment_asks_for_is_taken_and_not_kept(
    calibrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("AE_SWEEP_PRECISION", name)
    chosen = remembered_precision("here", calibrate, cache=tmp_path, announce=print)
    assert chosen == training.Precision(name, "AE_SWEEP_PRECISION asks for it")
    assert (calibrate.made, list(tmp_path.iterdir())) == (0, [])
    for otherwise in ("auto", ""):
        monkeypatch.setenv("AE_SWEEP_PRECISION", otherwise)
        assert remembered_precision("here", calibrate, cache=tmp_path, announce=print) == BF16


def test_a_precision_that_there_is_none_of_is_refused(
    calibrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AE_SWEEP_PRECISION", "fp16")
    with pytest.raises(ConfigError, match="AE_SWEEP_PRECISION is 'fp16'; it may be fp32, bf16"):
        remembered_precision("here", calibrate, cache=tmp_path, announce=print)


def test_each_setting_is_measured_for_itself(calibrate, tmp_path: Path) -> None:
    assert remembered_precision("one", calibrate, cache=tmp_path, announce=print) == BF16
    assert remembered_precision("other", calibrate, cache=tmp_path, announce=print) == training.FP32
    assert remembered_precision("one", calibrate, cache=tmp_path, announce=print) == BF16
    assert calibrate.made == 2


def test_of_two_processes_that_measure_at_once_the_first_answer_is_kept(tmp_path: Path) -> None:
    def answer(setting: str, found: training.Precision) -> training.Precision:
        return remembered_precision(setting, lambda: found, cache=tmp_path, announce=print)

    def while_others_do() -> training.Precision:
        answer("here", BF16)
        answer("there", BF16)
        return training.FP32

    assert remembered_precision("here", while_others_do, cache=tmp_path, announce=print) == BF16
    for setting in ("here", "there"):
        assert answer(setting, training.FP32) == BF16


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\udcff"])
def test_a_damaged_memory_is_written_anew(calibrate, tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8", errors="surrogateescape")
    answers = [
        remembered_precision("here", calibrate, cache=tmp_path, announce=print) for _ in range(2)
    ]
    assert answers == [BF16] * 2
    assert calibrate.made == 1


@pytest.mark.parametrize("entry", [1, None, {}, {"name": "fp8", "reason": "x"}])
def test_an_entry_that_makes_no_sense_is_measured_anew(
    calibrate, tmp_path: Path, entry: object
) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"here": entry}))
    assert remembered_precision("here", calibrate, cache=tmp_path, announce=print) == BF16
    assert calibrate.made == 1


def test_a_cache_that_cannot_be_written_is_no_hindrance(calibrate, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert remembered_precision("here", calibrate, cache=blocked, announce=print) == BF16
