"""Runs that a tracking server keeps: a real one, which keeps the artifacts too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tracking_support as support
from commands import environment

import ae_sweep
from ae_sweep import tracking
from ae_sweep.locations import open_at
from ae_sweep.models import TrainedAutoencoder, registry, storage
from ae_sweep.tracking import ui_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Run `mlflow server` as a company would: artifacts are uploaded to and fetched from it."""
    url = f"http://127.0.0.1:{support.free_port()}"
    (tmp_path / "server").mkdir()
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server"),
                *("--backend-store-uri", f"sqlite:///{tmp_path / 'server' / 'mlflow.db'}"),
                *("--artifacts-destination", str(tmp_path / "server" / "artifacts")),
                *("--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", "1"),
            ],
            env=environment(MLFLOW_DISABLE_TELEMETRY="true"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            tracking.wait_until_ready(url, process)
            yield url
        finally:
            ui_server.stop(process)


@pytest.mark.slow
def test_a_model_of_a_server_is_used_without_a_trace_in_temporary_files_or_on_the_terminal(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.delenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", raising=False)
    monkeypatch.chdir(tmp_path)
    network = registry.build("conv", latent_dim=8, image_shape=(1, 28, 28)).eval()
    runs = tracking.open_for_writing(open_at())
    writer = runs.start_sweep(support.config(), card=support.CARD, environment={})
    trial = support.start(writer)
    trial.log_epoch(support.epoch())
    support.finish(trial, weights=storage.to_bytes(network, name="conv"))
    support.finish_sweep(writer)

    sweep = ae_sweep.load_sweep()
    images = np.random.default_rng(0).random((2, 1, 28, 28), dtype=np.float32)
    expected = TrainedAutoencoder(network).reconstruct(images)
    np.testing.assert_array_equal(sweep.model(8).reconstruct(images), expected)
    with sweep.runs.model_file(trial.run_id) as file:
        assert file.is_relative_to(scratch)
        assert file.stat().st_size > 500_000
    assert not file.exists()
    assert [*scratch.iterdir()] == []
    assert capfd.readouterr() == ("", "")
    assert os.environ["MLFLOW_TRACKING_URI"] == address
