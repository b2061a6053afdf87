"""The fully connected autoencoder is the reference's equal in parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from fakes import tiny_images, trial_config
from training_support import consume

from ae_sweep import models
from ae_sweep.errors import ConfigError
from ae_sweep.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MNIST = (1, 28, 28)


@pytest.mark.parametrize("latent_dim", [1, 2, 8, 32, 128, 784, 1024])
def test_it_has_as_many_parameters_as_the_reference(latent_dim: int) -> None:
    conv, mlp = (
        models.parameter_count(name, latent_dim=latent_dim, image_shape=MNIST)
        for name in ("conv", "mlp")
    )
    assert mlp == pytest.approx(conv, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 4, 8), (3, 65, 70)])
def test_an_image_becomes_latents_and_an_image_of_its_shape_within_0_and_1(
    shape: models.ImageShape,
) -> None:
    model = models.build("mlp", latent_dim=5, image_shape=shape).eval()
    x_BCHW = torch.rand((3, *shape), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        y_BCHW = model(x_BCHW.contiguous(memory_format=torch.channels_last))
        rebuilt_BCHW = model.decode(model.encode(x_BCHW))
        assert model.encode(x_BCHW).shape == (3, 5)
    assert y_BCHW.shape == x_BCHW.shape
    assert 0 <= float(y_BCHW.min()) <= float(y_BCHW.max()) <= 1
    torch.testing.assert_close(y_BCHW, rebuilt_BCHW)


def test_it_learns_and_comes_back_from_its_file(tmp_path: Path) -> None:
    training = train(trial_config(model="mlp", latent_dim=4, epochs=4), tiny_images())
    epochs, result = consume(training)
    assert epochs[-1].val_mse < epochs[0].val_mse
    file = tmp_path / "model.safetensors"
    file.write_bytes(result.weights)
    assert models.load(file).latent_dim == 4


def test_it_cannot_be_trained_nested_since_its_layers_depend_on_the_width() -> None:
    models.check_nested("conv", dims=(2, 8), image_shape=MNIST)
    with pytest.raises(
        ConfigError, match=r"'mlp' cannot be trained nested: its layer encoder.1 depends"
    ):
        models.check_nested("mlp", dims=(2, 8), image_shape=MNIST)


def test_the_command_refuses_it_nested_before_anything_is_stored(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    done = cli(
        "run", "--dataset", "shapes", "--dims", "2", "4", "--model", "mlp", "--method", "nested",
        "--store", str(tmp_path / "store"),
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert "leave --method out" in done.err.splitlines()[-1]
    assert not (tmp_path / "store").exists()
