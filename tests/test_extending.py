"""What docs/extending.md shows is all that a new model needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from conftest import ROOT
from fakes import tiny_images, trial_config

from ae_sweep import models
from ae_sweep.models import registry
from ae_sweep.training import train

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs/extending.md").read_text()
FILE, LINE = re.findall(r"```python\n(.*?)```", PAGE.partition("## An engine")[0], re.DOTALL)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the model of the document: its file, and its line in the registry."""
    module: dict[str, Any] = {}
    exec(FILE, module)
    line = eval(f"{{{LINE}}}", module)
    monkeypatch.setattr(registry, "MODELS", {**registry.MODELS, **line})


@pytest.mark.usefixtures("linear")
def test_a_model_of_one_file_and_one_line_is_trained_stored_and_loaded(tmp_path: Path) -> None:
    images = tiny_images()
    training = train(trial_config(model="linear", latent_dim=6, epochs=20), images)
    errors = []
    while True:
        try:
            errors.append(next(training).val_mse)
        except StopIteration as stop:
            result = stop.value
            break
    assert errors[-1] < errors[0]
    file = tmp_path / "model.safetensors"
    file.write_bytes(result.weights)
    model = models.TrainedAutoencoder(models.load(file))
    rebuilt = torch.from_numpy(model.reconstruct(images.test_NCHW.numpy()))
    mse = torch.nn.functional.mse_loss(rebuilt, images.test_NCHW / 255).item()
    assert mse == pytest.approx(result.test_mse, rel=1e-4)


@pytest.mark.usefixtures("linear")
def test_the_new_model_is_known_by_its_name_and_can_be_nested() -> None:
    assert "linear" in models.names()
    models.check_nested("linear", dims=(2, 8), image_shape=(1, 28, 28))
