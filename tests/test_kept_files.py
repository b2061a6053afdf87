"""Files kept in the user cache, cut off or exchanged: nothing of them is used, all is made anew.

Those of a store have tests of their own: its owner, its journal, its checkpoints, its models.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from own_sources import images, prepare, write_pictures
from safetensors.numpy import save

from ae_sweep import analysis, training
from ae_sweep.data.own import cache as image_cache
from ae_sweep.inspection import agreement, kept_rates, reference_cache
from ae_sweep.runner.precision_cache import FILE_NAME, remembered_precision
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

ENDS = 150
"""Bytes at each end of a long file after which it is cut off one by one."""


def lengths(content: bytes) -> Iterator[int]:
    """Yield lengths at which to cut: all of a short file, fewer in the middle of a long one."""
    size = len(content)
    for length in range(size):
        if length < ENDS or length >= size - ENDS or length % 97 == 0:
            yield length


def check_cut_off(path: Path, read: Callable[[], Any]) -> None:
    """Check that a file is read when it is whole, and passes for none at any other length."""
    content = path.read_bytes()
    assert read() is not None
    for length in lengths(content):
        path.write_bytes(content[:length])
        assert read() is None, length
    path.write_bytes(b"[" * 100_000)  # deeper than a parser goes
    assert read() is None
    path.unlink()
    os.mkfifo(path)
    assert read() is None, "and is not waited for"
    path.unlink()
    path.write_bytes(content)
    assert read() is not None


def test_a_precision_is_measured_again_whatever_is_left_of_the_file(tmp_path: Path) -> None:
    measured = [0]

    def calibrate() -> training.Precision:
        measured[0] += 1
        return training.FP32

    def choose() -> training.Precision:
        return remembered_precision("here", calibrate, cache=tmp_path, announce=lambda _: None)

    choose()
    path = tmp_path / FILE_NAME
    content = path.read_bytes()
    for number, length in enumerate(lengths(content), start=1):
        path.write_bytes(content[:length])
        assert choose() == training.FP32
        assert measured[0] == 1 + number
        assert path.read_bytes() == content, "whole again"
    path.unlink()
    os.mkfifo(path)
    assert choose() == training.FP32
    assert path.read_bytes() == content


def test_a_reference_that_is_cut_off_is_measured_again(tmp_path: Path) -> None:
    settings = {"name": "jpeg", "quality": [1, 2]}
    path = reference_cache.path_of(tmp_path, "jpeg", settings)
    reference_cache.keep(path, settings, {"bits": 1.5})
    check_cut_off(path, lambda: reference_cache.recall(path, settings))


def test_rates_that_are_cut_off_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_rates, "cache_dir", lambda: tmp_path)
    model, images_digest = "a" * 64, "b" * 16
    kept = kept_rates.KeptRates(
        run_id="1", sweep="s", dataset_digest=images_digest, model_sha256=model,
        codec=None, curves=(), notes=("a note",),
    )  # fmt: skip
    kept_rates.write_cache(kept, None)
    [path] = tmp_path.rglob(names.CODED_DOCUMENT)
    check_cut_off(path, lambda: kept_rates.read_cached(model, images_digest))


def test_prepared_images_whose_files_are_cut_off_are_not_opened(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", images(120))
    prepared = prepare(tmp_path / "set", tmp_path / "cache")
    image_cache.remember(prepared, "found", {"errors": [0.5]})
    check_cut_off(prepared.directory / "found.json", lambda: image_cache.recall(prepared, "found"))
    check_cut_off(
        prepared.directory / "manifest.json", lambda: image_cache.open_prepared(prepared.directory)
    )


def test_a_classifier_that_is_cut_off_is_trained_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels_N = np.repeat(np.arange(3, dtype=np.uint8), 20)
    x_NCHW = rng.integers(0, 80, (60, 1, 8, 8), dtype=np.uint8) + 60 * labels_N[:, None, None, None]
    path = tmp_path / "c.safetensors"
    path.write_bytes(save(analysis.fit_classifier(x_NCHW, labels_N).arrays()))
    dataset: Any = type("Images", (), {"card": type("Card", (), {"image_shape": (1, 8, 8)})})
    check_cut_off(path, lambda: agreement._read(path, dataset))


def test_what_json_cannot_say_is_no_calibration_either(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("[" * 100_000)
    chosen = remembered_precision(
        "here", lambda: training.FP32, cache=tmp_path, announce=lambda _: None
    )
    assert chosen == training.FP32
    assert json.loads((tmp_path / FILE_NAME).read_text()).keys() == {"here"}
