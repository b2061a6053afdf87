"""A store that version 0.1.0 made, unpacked for a test; run as a program, how it was shrunk.

    python tests/old_store.py STORE ARCHIVE KEPT_RUN_ID

All that was measured stays as it is. Weights become zeros and pictures one pixel, except those of
one run, whose weights are rounded to bfloat16's precision; locations become those of a placeholder.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shutil
import sqlite3
import struct
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "0.1.0"
KEPT_RUN_ID = "e9f54c29554540f2a80bfbe11575f4f5"
"""The run with weights and a picture: the best of the sweep ``digits`` at d=2."""
PLACEHOLDER = "file:///store-0.1.0"
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns of MLflow's database that hold absolute locations."""
ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def unpack(directory: Path) -> Path:
    """Put the store into a new directory, as if it had been made there."""
    with tarfile.open(FIXTURE / "store.tar.xz") as tar:
        tar.extractall(directory, filter="data")
    move_locations(directory / "mlflow.db", directory.absolute().as_uri())
    return directory


def main(store: Path, archive: Path, kept_run: str) -> None:
    """Write a shrunk copy of a store as a tar file whose bytes depend on the store alone."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "store")
        shutil.copytree(store, copy)
        move_locations(copy / "mlflow.db", PLACEHOLDER)
        for database in ("mlflow.db", "optuna.db"):
            with contextlib.closing(sqlite3.connect(copy / database)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for picture in copy.rglob("*.png"):
            if kept_run not in picture.parts:
                picture.write_bytes(ONE_PIXEL)
        for weights in copy.rglob("*.safetensors"):
            description = weights.parent.parent / "MLmodel"
            text = description.read_text()
            lines = text.splitlines()
            lines[0] = f"artifact_path: {PLACEHOLDER}/artifacts/models/{lines[0].split('/')[-2]}"
            description.write_text("\n".join([f"{lines[0]}/artifacts", *lines[1:], ""]))
            shrink = rounded if f"run_id: {kept_run}" in text else zeros
            weights.write_bytes(shrink(weights.read_bytes()))
        archive.write_bytes(packed(copy))


def move_locations(database: Path, root: str) -> None:
    """Have MLflow's database name another root: ``file:///…/artifacts`` becomes ``root/artifacts``.

    Parameters
    ----------
    root
        As a URI without a slash at its end.
    """
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        (old,) = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = 'ae-sweep'"
        ).fetchone()
        for table, column in LOCATIONS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE substr({column}, 1, ?) = ?",
                (f"{root}/artifacts", len(old) + 1, len(old), old),
            )


def zeros(content: bytes) -> bytes:
    """Return a safetensors file with its header and with zeros for numbers."""
    header = 8 + struct.unpack("<Q", content[:8])[0]
    return content[:header] + bytes(len(content) - header)


def rounded(content: bytes) -> bytes:
    """Return a safetensors file whose float32 numbers are rounded to bfloat16's."""
    header = 8 + struct.unpack("<Q", content[:8])[0]
    numbers = np.frombuffer(content, np.uint8, offset=header).copy()
    for name, tensor in json.loads(content[8:header]).items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            bits = numbers[slice(*tensor["data_offsets"])].view("<u4")
            bits[:] = (bits + 0x8000) & 0xFFFF0000
    return content[:header] + numbers.tobytes()


def packed(directory: Path) -> bytes:
    """Return a directory as an xz-compressed tar file, without times and owners."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz", preset=9) as tar:
        for path in sorted(directory.rglob("*")):
            info = tar.gettarinfo(path, arcname=str(path.relative_to(directory)))
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            with path.open("rb") if path.is_file() else io.BytesIO() as file:
                tar.addfile(info, file if path.is_file() else None)
    return content.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
