"""Which store, directory or file a name means, and what is refused with a way out."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support

import ae_sweep
from ae_sweep import locations, tracking
from ae_sweep.errors import AeSweepError, ConfigError, DataError, StoreError
from ae_sweep.locations import Store, data_dir_at, open_at, out_at

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_UTF_8 = os.fsdecode(b"caf\xe9/s")
ODD_NAME = "a b#c&d;e'f\"g+h@i:j[k]ü"
ADDRESSES = (
    "sqlite:///mlflow.db", "sqlite:////abs/mlflow.db", "http://127.0.0.1:5000",
    "https://ada:secret@host/path", "postgresql://ada:secret@host/db", "mysql+pymysql://h/db",
    "file:///home/me/mlruns", "s3://bucket/key", "HTTP://HOST",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def _sweep_in(directory: Path, name: str) -> Store:
    store = support.fresh_store(directory)
    runs = tracking.open_for_writing(store)
    runs.start_sweep(support.config(name), card=support.CARD, environment={})
    return store


def test_a_named_store_wins_over_the_variable_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@host:5000")
    lines: list[str] = []
    store = open_at("named", announce=lines.append)
    assert store == Store(tmp_path / "named")
    (line,) = lines
    assert str(tmp_path / "named") in line
    assert "http://ada:***@host:5000" in line


def test_without_a_named_store_the_variable_decides_where_the_runs_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines: list[str] = []
    assert open_at(announce=lines.append) == Store(tmp_path / "mlruns")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert open_at(announce=lines.append) == Store(tmp_path / "mlruns", "http://host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert open_at(announce=lines.append) == Store(tmp_path / "mlruns")
    assert lines == []


def test_commands_and_python_read_the_named_store_whatever_the_variable_says(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = _sweep_in(tmp_path / "a", "in-a")
    other = _sweep_in(tmp_path / "b", "in-b")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.tracking_uri)
    listed = cli("list", "--store", str(named.root))
    assert "in-a" in listed.out
    assert "in-b" not in listed.out
    assert listed.err.count("an explicit --store wins") == 1
    shown = cli("show", "--store", str(named.root))
    assert shown.err.startswith(f"using the store {named.root};")
    assert ae_sweep.load_sweep(store=named.root).name == "in-a"
    assert ae_sweep.load_sweep().name == "in-b"
    assert "in-b" in cli("list").out
    assert cli("list").err == ""


def test_an_sqlite_file_of_the_variable_is_made_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for given, expected in {
        "sqlite:///own.db": f"sqlite:///{tmp_path}/own.db",
        "sqlite:///own.db?timeout=3": f"sqlite:///{tmp_path}/own.db?timeout=3",
        "sqlite:////own.db": "sqlite:////own.db",
        "databricks": "databricks",
        "databricks://profile": "databricks://profile",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert open_at().tracking_uri == expected


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_refused_where_a_directory_or_file_is_meant(
    cli: Callable[..., Any], snapshot: Callable[[], Any], address: str
) -> None:
    before = snapshot()
    for words in (
        ("list", "--store", address),
        ("run", "--dims", "2", "--store", address),
        ("data", "shapes", "--data-dir", address),
        ("frontier", "--out", f"{address}.png"),
    ):
        done = cli(*words)
        assert (done.code, done.out) == (2, ""), done
        assert "is an address" in done.err
        assert "secret" not in done.err
    assert "set MLFLOW_TRACKING_URI" in cli("list", "--store", address).err
    assert snapshot() == before


@pytest.mark.parametrize(
    "value", ["mlruns", "./mlruns", "/home/me/mlruns", "127.0.0.1:5000", "localhost:5000", "file:x"]
)
def test_a_variable_that_is_no_address_is_refused_and_the_directory_option_named(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    done = cli("list")
    assert (done.code, done.out) == (3, "")
    assert f"MLFLOW_TRACKING_URI is '{value}'" in done.err
    assert "--store" in done.err


def test_mlflows_plain_files_are_refused_as_tracking_address(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///home/me/mlruns")
    done = cli("list")
    assert done.code == 3
    assert "no longer keeps runs in plain files; unset it and name a directory" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--store", NOT_UTF_8),
        ("run", "--dims", "2", "--store", NOT_UTF_8),
        ("ui", "--store", NOT_UTF_8),
        ("run", "--dims", "2", "--data-dir", NOT_UTF_8),
        ("data", "shapes", "--data-dir", NOT_UTF_8),
        ("frontier", "--out", f"{NOT_UTF_8}.png"),
        ("report", "--out", f"{NOT_UTF_8}.html"),
    ],
    ids=" ".join,
)
def test_a_path_that_is_not_utf_8_is_refused_at_once(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    from ae_sweep.runner import setup

    def measure(*_: object, **__: object) -> None:
        raise AssertionError("measured before the path was checked")

    monkeypatch.setattr(setup, "prepare", measure)
    done = cli(*words)
    assert (done.code, done.out) == (3, "")
    option = next(word for word in words if word.startswith("--") and word != "--dims")
    assert f"{option} 'caf\\udce9/s" in done.err
    assert "is not UTF-8, which databases and pages that name it need; " in done.err
    assert f"name another {option}" in done.err


@pytest.mark.parametrize(
    ("words", "given"),
    [(("data",), "NAME|PATH"), (("run", "--dims", "2", "--dataset"), "--dataset")],
    ids=["argument", "option"],
)
def test_images_that_are_not_to_be_had_are_named_as_they_were_given(
    cli: Callable[..., Any], words: tuple[str, ...], given: str
) -> None:
    odd = cli(*words, f"./{NOT_UTF_8}")
    assert odd.code == 3
    assert odd.err.startswith(f"error: {given} 'caf")
    assert odd.err.endswith(f"or name another {given}\n")
    address = cli(*words, "https://example.org/images")
    assert address.code == 2
    assert address.err.startswith(f"error: {given} takes a name or a path")


def test_a_working_directory_that_is_not_utf_8_is_refused_for_relative_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / NOT_UTF_8
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(StoreError, match="rename what is in its path"):
        open_at("store")
    with pytest.raises(DataError, match="name another --data-dir"):
        data_dir_at("images")


@pytest.mark.parametrize("path", ["n" * 5_000, "~nobody-of-that-name/s", "a\0b"])
def test_a_path_that_no_system_holds_is_refused(path: str) -> None:
    for find, option in ((open_at, "--store"), (data_dir_at, "--data-dir"), (out_at, "--out")):
        with pytest.raises(AeSweepError, match=f"^{option} cannot be .*name another {option}$"):
            find(path)


def test_an_odd_name_is_a_good_path(tmp_path: Path) -> None:
    for name in (ODD_NAME, "s3:", "a:/b", "data"):
        assert open_at(name) == Store(tmp_path / name)
        assert data_dir_at(Path(name)) == tmp_path / name
        assert out_at(f"{name}.png") == tmp_path / f"{name}.png"
    with pytest.raises(ConfigError, match="is an address"):
        open_at(Path("s3://bucket"))  # pathlib leaves one slash of the two


def test_a_command_names_the_store_only_where_it_would_not_be_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    default = open_at()
    assert default.command("show", "digits") == "ae-sweep show digits"
    odd = open_at(ODD_NAME)
    assert shlex.split(odd.command("ui")) == ["ae-sweep", "ui", "--store", str(tmp_path / ODD_NAME)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert open_at().command("ui") == "ae-sweep ui"
    # Else the variable would decide.
    assert default.command("ui") == f"ae-sweep ui --store {tmp_path / 'mlruns'}"


def test_a_command_of_mlflow_carries_the_address_of_the_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = open_at(ODD_NAME).mlflow_command("experiments", "restore", "-x", "1")
    variable, *words = shlex.split(line)
    assert variable == f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path / ODD_NAME}/mlflow.db"
    assert words == ["mlflow", "experiments", "restore", "-x", "1"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@host:5000")
    assert open_at().mlflow_command("gc") == "mlflow gc"


def test_python_logs_which_store_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(locations.TRACKING_VARIABLE, "http://host:5000")
    open_at("named")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "an explicit --store wins" in caplog.text
