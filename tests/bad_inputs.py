"""Files, stores and servers that are not what they should be, for `test_bad_inputs`."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import pickle
import shutil
import sqlite3
import threading
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import tracking_support as support
from picture_files import GREY, png

from ae_sweep.codec import codec_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def make(place: Path) -> None:
    """Make all of them in a directory."""
    _files(place)
    _arrays(place)
    _folders(place)
    _codec_files(place)
    _stores(place)


def _files(place: Path) -> None:
    (place / "empty").write_bytes(b"")
    (place / "text.txt").write_text("no images")
    (place / "text.png").write_text("no picture")
    (place / "objects.pkl").write_bytes(pickle.dumps([1]))
    os.mkfifo(place / "pipe")
    (place / "pipe.npy").symlink_to(place / "pipe")
    (place / "loop").symlink_to(place / "loop")
    (place / "gone").symlink_to(place / "nowhere")


def _arrays(place: Path) -> None:
    images = np.zeros((40, 8, 8), np.uint8)
    np.save(place / "flat.npy", images.reshape(40, 64))
    np.save(place / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(place / "floats.npy", images.astype(np.float64))
    np.save(place / "wide.npy", images.astype(np.int64))
    np.save(place / "none.npy", images[:0])
    np.save(place / "complex.npy", images.astype(complex))
    whole = (place / "flat.npy").read_bytes()
    (place / "torn.npy").write_bytes(whole[:-10])
    (place / "header.npy").write_bytes(whole[:20])
    np.savez(place / "objects.npz", images=np.array([{}], dtype=object), allow_pickle=True)
    np.savez(place / "unnamed.npz", a=images, b=images)
    with zipfile.ZipFile(place / "foreign.npz", "w") as archive:
        archive.writestr("../../escaped.npy", b"x")
    claimed = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        claimed, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64)}
    )
    (place / "claimed.npy").write_bytes(claimed.getvalue() + b"\0" * 1_000)


def _folders(place: Path) -> None:
    (place / "no pictures").mkdir()
    (place / "two sizes").mkdir()
    (place / "one picture").mkdir()
    (place / "broken").mkdir()
    for number in range(20):
        side = 8 if number % 2 else 16
        (place / "two sizes" / f"{number}.png").write_bytes(_picture(side, number))
        (place / "broken" / f"{number}.png").write_bytes(_picture(8, number)[:40])
    (place / "one picture" / "1.png").write_bytes(_picture(8, 1))


def _picture(side: int, shade: int) -> bytes:
    return png([bytes([shade]) * side] * side, width=side, colour=GREY)


def _codec_files(place: Path) -> None:
    good = codec_file.MAGIC
    known = good + bytes([codec_file.VERSION, codec_file.FLAGS])
    (place / "foreign.aes").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (place / "short.aes").write_bytes(good + bytes(3))
    (place / "newer.aes").write_bytes(good + bytes([99]) + bytes(100))
    (place / "flags.aes").write_bytes(good + bytes([codec_file.VERSION, 255]) + bytes(100))
    (place / "zeros.aes").write_bytes(known + bytes(100))
    (place / "pickle.aes").write_bytes(pickle.dumps([1]))
    (place / "claims.aes").write_bytes(known + b"\xff" * 100)


def _stores(place: Path) -> None:
    for name in ("garbage", "foreign", "optuna garbage", "optuna foreign", "a dir"):
        (place / name).mkdir()
    (place / "garbage" / "mlflow.db").write_bytes(b"no database " * 500)
    (place / "optuna garbage" / "optuna.db").write_bytes(b"no database " * 500)
    (place / "a dir" / "mlflow.db").mkdir()
    for file in ("foreign/mlflow.db", "optuna foreign/optuna.db"):
        with contextlib.closing(sqlite3.connect(place / file)) as connection:
            connection.execute("CREATE TABLE diary (day TEXT)")
    empty = support.fresh_store(place, name="no sweep")
    for name, statement in {
        "newer": "UPDATE alembic_version SET version_num = 'f00f00f00f00'",
        "deleted": "UPDATE experiments SET lifecycle_stage = 'deleted'",
    }.items():
        shutil.copytree(empty.root, place / name)
        with contextlib.closing(sqlite3.connect(place / name / "mlflow.db")) as connection:
            connection.execute(statement)
            connection.commit()
    shutil.copytree(empty.root, place / "cut")
    content = (place / "cut" / "mlflow.db").read_bytes()
    (place / "cut" / "mlflow.db").write_bytes(content[: len(content) // 2])


@contextlib.contextmanager
def server(status: int, body: bytes = b"<html>a portal</html>") -> Iterator[str]:
    """Answer every request alike, and yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()
