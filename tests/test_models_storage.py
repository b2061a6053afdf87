"""Weights travel as safetensors: bit-exact, without pickle, and damage is told."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ae_sweep import models
from ae_sweep.config import Condition
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.models import serving
from ae_sweep.models.autoencoder import INFERENCE_BATCH

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model() -> models.Autoencoder:
    """A small model whose BatchNorm statistics are not the initial ones."""
    made = models.build("conv", latent_dim=3, image_shape=SHAPE, seed=5)
    with torch.no_grad():
        made(torch.rand((16, *SHAPE), generator=torch.Generator().manual_seed(1)))
    return made


@pytest.fixture(scope="module")
def content(model: models.Autoencoder) -> bytes:
    return models.to_bytes(model, name="conv")


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return path


@pytest.fixture
def served(file: Path) -> serving.ServedAutoencoder:
    return serving._load_pyfunc(str(file))


def images(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)


def edited(content: bytes, **architecture: Any) -> bytes:
    """The file with another architecture in its header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["ae_sweep"]) | architecture
    header["__metadata__"]["ae_sweep"] = json.dumps(told)
    return with_header(header, content[8 + length :])


def with_header(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def test_a_model_comes_back_bit_by_bit(file: Path, model: models.Autoencoder) -> None:
    loaded = models.load(file)
    weights, others = model.state_dict(), loaded.state_dict()
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        assert value.numpy().tobytes() == others[key].numpy().tobytes(), key
    assert (loaded.latent_dim, loaded.image_shape) == (3, SHAPE)
    assert not loaded.training


def test_equal_models_are_equal_bytes_whatever_their_memory_layout(
    model: models.Autoencoder, content: bytes
) -> None:
    assert models.to_bytes(model, name="conv") == content
    other = models.build("conv", latent_dim=3, image_shape=SHAPE)
    other.load_state_dict(model.state_dict())
    assert models.to_bytes(other.to(memory_format=torch.channels_last), name="conv") == content


def test_loading_and_serving_involve_no_pickle(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch.serialization, "load", refuse)
    served = serving._load_pyfunc(str(file))
    assert served.predict(images(2)).shape == (2, *SHAPE)


def test_a_pickled_model_is_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    path = tmp_path / "model.safetensors"
    torch.save({"weights": Bomb()}, path)
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        models.load(path)
    assert not (tmp_path / "exploded").exists()


def test_every_truncation_is_told_as_damage(file: Path, content: bytes) -> None:
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for length in (0, 1, 7, 8, 9, header - 1, header, header + 1, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"model\.safetensors holds no model of ae-sweep"):
            models.load(file)


DAMAGE: dict[str, dict[str, Any]] = {
    "an unknown model": {"model": "mlp"},
    "no name": {"model": None},
    "a name that is a list": {"model": ["conv"]},
    "another latent dim": {"latent_dim": 4},
    "a negative latent dim": {"latent_dim": -1},
    "a latent dim in words": {"latent_dim": "3"},
    "another image shape": {"image_shape": [1, 12, 12]},
    "an image without a pixel": {"image_shape": [1, 0, 8]},
    "an image shape too short": {"image_shape": [8, 8]},
    "no image shape": {"image_shape": None},
}


def test_a_file_that_was_exchanged_is_told_as_such(file: Path, model: models.Autoencoder) -> None:
    expected = Condition(model.latent_dim, "conv")
    assert models.load(file, expected=expected).latent_dim == model.latent_dim
    for other in (Condition(model.latent_dim + 1, "conv"), Condition(model.latent_dim, "mlp")):
        with pytest.raises(DataError, match="the file was exchanged"):
            models.load(file, expected=other)


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_images_of_a_type_whose_scale_is_not_known_are_refused(file: Path, dtype: str) -> None:
    trained = models.TrainedAutoencoder(models.load(file))
    with pytest.raises(ConfigError, match=f"floats in .0, 1. or bytes .uint8., got {dtype}"):
        trained.encode(np.ones((2, *trained.image_shape), dtype))


@pytest.mark.parametrize("architecture", DAMAGE.values(), ids=DAMAGE)
def test_a_header_that_does_not_fit_is_told_as_damage(
    file: Path, content: bytes, architecture: dict[str, Any]
) -> None:
    file.write_bytes(edited(content, **architecture))
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        models.load(file)


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"ae_sweep": "no json"}, {"ae_sweep": "[]"}, {"ae_sweep": "3"}, {"other": "{}"}],
)
def test_a_foreign_safetensors_file_is_told_as_such(
    file: Path, content: bytes, metadata: dict[str, str] | None
) -> None:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    if metadata is not None:
        header["__metadata__"] = metadata
    file.write_bytes(with_header(header, content[8 + length :]))
    with pytest.raises(DataError, match="holds no model of ae-sweep"):
        models.load(file)


def test_a_missing_file_and_a_directory_are_told_with_their_path(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError, match=f"^{path} holds no model"):
            models.load(path)


def test_serving_reconstructs_exactly_what_the_model_does(
    served: serving.ServedAutoencoder, file: Path
) -> None:
    x_NCHW = images(6)
    model = models.load(file)
    with torch.inference_mode():
        expected = model(torch.from_numpy(x_NCHW)).numpy()
    told = served.predict(x_NCHW)
    assert told.dtype == np.float32
    np.testing.assert_array_equal(told, expected)
    np.testing.assert_array_equal(served.predict(x_NCHW, {"output": "reconstruction"}), expected)


def test_latents_decode_to_the_reconstruction(served: serving.ServedAutoencoder) -> None:
    x_NCHW = images(4)
    latents = served.predict(x_NCHW, {"output": "latent"})
    assert latents.shape == (4, 3)
    with torch.inference_mode():
        decoded = served.get_raw_model().decode(torch.from_numpy(latents)).numpy()
    np.testing.assert_array_equal(decoded, served.predict(x_NCHW))


def test_serving_in_batches_loses_no_image(served: serving.ServedAutoencoder) -> None:
    x_NCHW = images(2 * INFERENCE_BATCH + 3)
    latents = served.predict(x_NCHW, {"output": "latent"})
    assert latents.shape == (len(x_NCHW), 3)
    last = served.predict(x_NCHW[-3:], {"output": "latent"})
    np.testing.assert_allclose(latents[-3:], last, rtol=1e-4, atol=1e-6)


def test_serving_no_image_tells_none(served: serving.ServedAutoencoder) -> None:
    assert served.predict(images(0)).shape == (0, *SHAPE)


def test_serving_takes_images_as_callers_hold_them(served: serving.ServedAutoencoder) -> None:
    x_NCHW = images(3)
    expected = served.predict(x_NCHW)
    read_only = x_NCHW.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(served.predict(read_only), expected)
    np.testing.assert_array_equal(served.predict(x_NCHW[::-1])[::-1], expected)
    np.testing.assert_array_equal(served.predict(x_NCHW.astype(np.float64)), expected)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 1, 28, 28), (8, 8), (3, 2, 8, 8), (3, 64), ()])
def test_images_of_another_shape_are_refused_with_both_shapes(
    served: serving.ServedAutoencoder, shape: tuple[int, ...]
) -> None:
    given = "×".join(map(str, shape))
    with pytest.raises(ConfigError, match=f"images must be N×1×8×8, got {given}$"):
        served.predict(np.zeros(shape, np.float32))


def test_an_unknown_output_is_refused_by_name(served: serving.ServedAutoencoder) -> None:
    with pytest.raises(ConfigError, match=r"output must be .* got 'latents'"):
        served.predict(images(1), {"output": "latents"})


def test_a_model_is_served_wherever_its_file_was_moved(
    file: Path, tmp_path: Path, served: serving.ServedAutoencoder
) -> None:
    moved = tmp_path / "a directory, moved" / "m"
    moved.parent.mkdir()
    shutil.move(file, moved)
    np.testing.assert_array_equal(
        serving._load_pyfunc(str(moved)).predict(images(2)), served.predict(images(2))
    )
