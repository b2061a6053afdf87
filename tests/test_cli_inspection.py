"""The commands that look into a sweep's models, on a real small sweep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import shared
from conftest import REAL_DIMS
from mlflow import MlflowClient

from ae_sweep import load_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Sweep

pytestmark = pytest.mark.slow

PNG = b"\x89PNG"


@pytest.fixture
def look(
    cli: Callable[..., Any], real_sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: cli(*words, "--store", str(real_sweep.store))


@pytest.mark.parametrize(
    ("command", "words", "on_the_run"),
    [
        ("reconstruct", (), "reconstructions.png"),
        ("reconstruct", ("--worst", "--residuals", "--digits", "0", "2"), "reconstructions.png"),
        ("manifold", ("--side", "4"), "manifold.png"),
        ("manifold", ("--dim", "8", "--side", "3"), "manifold.png"),
        ("interpolate", ("--from", "0", "--to", "2", "--steps", "3"), "interpolation.png"),
        ("interpolate", ("--from", "0", "--to", "2", "--means"), "interpolation.png"),
        ("interpolate", ("--from", "0", "--to", "7", "--images"), "interpolation.png"),
    ],
)
def test_a_look_draws_a_picture_and_puts_it_on_the_sweeps_run(
    look: Callable[..., Any],
    real_sweep: Sweep,
    tmp_path: Path,
    command: str,
    words: tuple[str, ...],
    on_the_run: str,
) -> None:
    done = look(command, real_sweep.name, *words)
    assert (done.code, done.out) == (0, ""), done.err
    file = tmp_path / f"{command}-{real_sweep.name}.png"
    assert f"figure: {file.name}" in done.err
    assert file.read_bytes().startswith(PNG)
    assert [path for path in real_sweep.store.rglob(on_the_run) if path.read_bytes()[:4] == PNG]


def test_latent_tells_every_dim_in_numbers_and_puts_them_on_the_runs(
    look: Callable[..., Any], real_sweep: Sweep, tmp_path: Path
) -> None:
    done = look("latent", real_sweep.name, "--dim", "4", "--json", "--out", "plane.svg")
    assert done.code == 0, done.err
    spaces = json.loads(done.out)["spaces"]
    assert [space["latent_dim"] for space in spaces] == list(REAL_DIMS)
    accuracies = [space["knn_accuracy"] for space in spaces]
    assert all(1 / 3 < accuracy <= 1 for accuracy in accuracies), f"guessing: {accuracies}"
    assert (tmp_path / "plane.svg").read_text().startswith("<?xml")
    table = look("latent", real_sweep.name).out.splitlines()
    assert table[0].split()[:3] == ["Latents", "k-NN", "Linear"]
    assert len(table) == 1 + len(REAL_DIMS)
    (stored,) = real_sweep.store.rglob("latent_space.json")
    assert json.loads(stored.read_text())["spaces"] == spaces
    assert [*real_sweep.store.rglob("latent_plane.png")]
    client = MlflowClient(tracking_uri=f"sqlite:///{real_sweep.store / 'mlflow.db'}")
    sweep = load_sweep(real_sweep.name, store=real_sweep.store)
    for point, space in zip(sweep.points(), spaces, strict=True):
        metrics = client.get_run(point.run_id).data.metrics
        assert metrics["latent_knn_accuracy"] == space["knn_accuracy"]
        assert metrics["active_latents"] == space["active_latents"]


def test_identity_tells_what_every_dim_makes_of_every_probe(
    look: Callable[..., Any], real_sweep: Sweep, tmp_path: Path
) -> None:
    done = look("identity", real_sweep.name, "--dims", "2", "16", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    probes = [(result["latent_dim"], result["probe"]) for result in document["results"]]
    assert probes == [
        (dim, probe) for dim in (2, 16) for probe in ("test", "inverted", "permuted", "noise")
    ]
    told = [line.partition(":")[0] for line in document["verdicts"]]
    assert told[0] in ("d=2", "d=2, 16")
    assert "16" in told[-1]
    assert "no other data set is tried: the sweep's own is shapes" in done.err
    assert all(line in done.err for line in document["verdicts"])
    assert (tmp_path / f"identity-{real_sweep.name}.png").read_bytes().startswith(PNG)
    client = MlflowClient(tracking_uri=f"sqlite:///{real_sweep.store / 'mlflow.db'}")
    sweep = load_sweep(real_sweep.name, store=real_sweep.store)
    (point,) = sweep.points([16])
    metrics = client.get_run(point.run_id).data.metrics
    noise = document["results"][-1]
    assert metrics["identity_noise_mse"] == noise["mse"] > point.test_mse
    table = look("identity", real_sweep.name, "--dims", "2").out.splitlines()
    assert len(table) == 1 + 4


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("reconstruct", "--dims", "3"), 3, f"only of {', '.join(map(str, REAL_DIMS))}"),
        (("reconstruct", "--dims", "x"), 2, "--dims 'x' is not a whole number"),
        (("reconstruct", "--digits", "77"), 2, "is of class 77; its classes are 0, 1"),
        (("reconstruct", "--digits", "three"), 2, "is of class 'three'; its classes are 0, 1"),
        (("reconstruct", "--count", "0"), 2, "count must be at least 1, got 0"),
        (("reconstruct", "--digits", "0", "1", "--count", "1"), 2, "1 images cannot show"),
        (("identity", "--dims", "5"), 3, "no finished trial of latent dimension 5"),
        (("latent", "--dim", "5"), 3, "no finished trial of latent dimension 5"),
        (("manifold", "--dim", "5"), 3, "no finished trial of latent dimension 5"),
        (("manifold", "--side", "1"), 2, "side must be at least 2, got 1"),
        (("interpolate", "--from", "0", "--to", "77"), 2, "is of class 77"),
        (("interpolate", "--images", "--to", "-1"), 2, "there is no test image -1, only 0 to"),
        (("interpolate", "--images", "--means"), 2, "exclude each other"),
        (("interpolate", "--from", "0", "--to", "1", "--out", "a.gif"), 2, "gif"),
        (("reconstruct", "--out", "no/such/place.png"), 3, "cannot be written"),
        (("reconstruct", "nobody"), 3, "no sweep is named 'nobody'"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(
    look: Callable[..., Any], words: tuple[str, ...], code: int, told: str
) -> None:
    done = look(*words)
    assert (done.code, done.out) == (code, ""), done.err
    assert told in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_deleted_model_is_told_with_what_to_do(
    cli: Callable[..., Any], real_sweep: Sweep, tmp_path: Path
) -> None:
    store = shared.copy_store(real_sweep.store, tmp_path / "store")
    for file in store.rglob("model.safetensors"):
        file.unlink()
    done = cli("reconstruct", real_sweep.name, "--store", str(store))
    assert done.code == 3
    assert "Traceback" not in done.err
