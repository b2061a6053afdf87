"""How much memory images may take is a setting of the call, and no part of a sweep's identity."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from request_support import request

import ae_sweep
from ae_sweep import data, training
from ae_sweep.errors import ConfigError
from ae_sweep.runner import setup
from ae_sweep.training import images as placing
from ae_sweep.training.image_rows import StreamedRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done


def test_the_limit_is_carried_by_the_command_that_completes_a_sweep(tmp_path: Path) -> None:
    limited = request(tmp_path, image_memory=0.25)
    assert limited.image_bytes == 250_000_000
    assert "--resume --image-memory 0.25" in limited.resume_command
    plain = request(tmp_path, image_memory=None)
    assert plain.image_bytes is None
    assert "--image-memory" not in plain.resume_command
    assert plain.config == limited.config, "where images are is no part of a sweep's identity"


@pytest.mark.usefixtures("no_probe")
def test_a_sweep_streams_images_that_are_larger_than_its_limit(tmp_path: Path) -> None:
    settings: Any = {
        "dataset": "shapes", "train_limit": 64, "dims": [2], "store": tmp_path / "store",
    }  # fmt: skip
    plan = ae_sweep.plan_sweep("own", **settings, image_memory=1e-6)
    assert plan.setup.image_memory == 1_000
    assert isinstance(plan.setup.images.train, StreamedRows)
    with pytest.raises(ConfigError, match="image_memory must be a number of GB, got 'much'"):
        ae_sweep.plan_sweep("own", **{**settings, "image_memory": "much"})


@pytest.mark.parametrize("gigabytes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_memory_is_refused(tmp_path: Path, gigabytes: float) -> None:
    with pytest.raises(ConfigError, match=r"image-memory must be a number of GB above 0, such as"):
        request(tmp_path, image_memory=gigabytes)


def test_the_command_refuses_a_limit_that_is_no_number(cli: Callable[..., Done]) -> None:
    done = cli("run", "--image-memory", "much")
    assert done.code == 2
    assert "'much' is not a number" in done.err


def test_workers_need_memory_for_the_images_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = data.load("shapes", cache_dir=tmp_path)
    large = dataclasses.replace(drawn, card=dataclasses.replace(drawn.card, train_images=10**6))
    monkeypatch.setattr(data, "load", lambda *_, **__: large)
    monkeypatch.setattr(training, "memory_bytes", lambda _: 4 * 10**9)
    monkeypatch.setattr(placing, "memory_bytes", lambda _: 4 * 10**9)
    monkeypatch.setattr(
        setup, "remembered_precision", lambda *_, **__: training.Precision("fp32", "")
    )

    def prepared(**settings: Any) -> Any:
        return setup.prepare(
            request(tmp_path, image_memory=None).config,
            data_dir=None,
            device_name="cpu",
            announce=lambda _line: None,
            **settings,
        )

    assert prepared().most_workers == 2
    limited = prepared(image_memory=10**8)
    assert limited.most_workers == 5
    assert limited.worker_spec(0, threads=1).image_memory == 10**8
    with pytest.raises(ConfigError, match=r"0\.8 GB of images each, and there are 4 GB; give at"):
        prepared(workers=3)
