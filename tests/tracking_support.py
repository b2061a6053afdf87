"""Helpers of the tracking tests: a store created once and copied, and records to write."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import sqlite3
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import shared

with warnings.catch_warnings():
    # While it is imported, MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 deprecates, and
    # warns of a type hint in its own code.
    warnings.filterwarnings("ignore", message=".*noload", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*inferred as AnyType", category=UserWarning)
    from ae_sweep import tracking

from hyperparameter_fakes import with_hyperparameters

from ae_sweep.config import Choices, Range, SearchSpace, SweepConfig
from ae_sweep.locations import Store
from ae_sweep.records import (
    DatasetCard,
    EpochResult,
    Reconstructions,
    Role,
    TrialIdentity,
    TrialResult,
)
from ae_sweep.tracking.views import TAG_PREFIX

CARD = DatasetCard(
    name="mnist",
    digest="0123456789abcdef",
    source="local files in /data",
    train_images=55_000,
    val_images=5_000,
    test_images=10_000,
    image_shape=(1, 28, 28),
)
ENVIRONMENT = {"torch": "2.14.1", "python": "3.11.7", "git_commit": "c0ffee" + "0" * 34}
PARAMETERS: dict[str, str | int | float] = {
    "batch_size": 128,
    "precision": "bf16",
    "device": "cpu",
    **ENVIRONMENT,
}


def config(name: str = "first", **changes: Any) -> SweepConfig:
    settings: dict[str, Any] = {
        "name": name,
        "dims": (2, 8),
        "space": SearchSpace(lr=Range(1e-3, 1e-2), epochs=Choices((2, 4))),
        "trials": 3,
    }
    return SweepConfig(**{**settings, **changes})


def point(latent_dim: int = 8, **changes: Any) -> TrialIdentity:
    fields: dict[str, Any] = {
        "dataset_digest": CARD.digest,
        "model": "conv",
        "latent_dim": latent_dim,
        "seed": 0,
        "recipe": "1",
    }
    return TrialIdentity(**with_hyperparameters({**fields, **changes}))


def epoch(step: int = 100, **changes: Any) -> EpochResult:
    fields: dict[str, Any] = {
        "epoch": step / 100,
        "step": step,
        "quarter": None,
        "train_mse": 2 / step,
        "val_mse": 1 / step,
        "val_psnr": 20.0,
        "images_per_second": 1_000.0,
        "epoch_seconds": 55.0,
    }
    return EpochResult(**{**fields, **changes})


def result(step: int = 200, **changes: Any) -> TrialResult:
    fields: dict[str, Any] = {
        "val_mse": 1 / step,
        "test_mse": 0.0051,
        "test_psnr": 22.9,
        "compression_ratio": 98.0,
        "parameters": 292_493,
        "train_seconds": 12.5,
        "step": step,
        "pictures": Reconstructions(shape=(1, 1, 28, 28), originals=b"", reconstructions=b""),
        "weights": b"no safetensors",
    }
    return TrialResult(**{**fields, **changes})


def png() -> bytes:
    """Make the smallest picture that a browser shows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def fresh_store(directory: Path, *, name: str = "mlruns") -> Store:
    """Copy an empty store, whose table of runs has its views: MLflow takes seconds to make one."""
    store = Store(directory / name)
    assert store.artifact_root is not None
    store.root.mkdir(parents=True)
    database = store.root / "mlflow.db"
    shutil.copy(_template(), database)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'ae-sweep'",
            (store.artifact_root.as_uri(),),
        )
    connection.close()
    return store


def forget_views(store: Store) -> None:
    """Leave the table of runs without views, as in the store of an earlier version."""
    with sqlite3.connect(store.root / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags WHERE key LIKE ?", (f"{TAG_PREFIX}%",))
    connection.close()


@functools.cache
def _template() -> Path:
    """Make MLflow's database, once for all test processes of a run."""

    def make(place: Path) -> None:
        tracking.open_for_writing(Store(place))._add_views()

    place, _ = shared.made_once("empty store", make)
    return place / "mlflow.db"


def start(sweep: tracking.SweepWriter, trial: TrialIdentity | None = None, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "name": "d=8 trial 0",
        "point": trial or point(),
        "role": Role.SEARCH,
        "parameters": PARAMETERS,
    }
    return sweep.start_trial(**{**arguments, **changes})


def finish(trial: tracking.TrialWriter, **changes: Any) -> str:
    return trial.finish(result(**changes), picture=png())


def finish_sweep(sweep: tracking.SweepWriter) -> None:
    table = [{"Latent dim": 8, "Test MSE": 0.0051, "PSNR (dB)": float("nan")}]
    sweep.finish(figures={"frontier.png": png()}, table=table, document={"points": [8]})


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def group_members(group: int) -> list[int]:
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members
