"""`ae-sweep doctor`: what it finds, what it advises, and when it exits with 3."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import sqlite3
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
import pytest
import tracking_support as support

import ae_sweep
from ae_sweep import container, ownership, process_identity, training
from ae_sweep.kernels import choice, library
from ae_sweep.locations import Store
from ae_sweep.runner import doctor
from ae_sweep.sweep.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHECKS = {
    "versions", "telemetry", "device", "kernels", "precision", "threads", "memory",
    "store", "temporary files", "runs", "studies", "data sets", "terminal",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the machine as one with nothing else to do, and its precision as known."""
    monkeypatch.setattr(doctor, "remembered_precision", lambda *_, **__: training.FP32)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1))


@pytest.fixture
def ask(cli: Callable[..., Any]) -> Callable[..., Any]:
    """Run the command, and return its exit code and its findings by check."""

    def run(*words: str) -> tuple[int, dict[str, dict[str, str]]]:
        done = cli("doctor", "--json", *words)
        document = json.loads(done.out)
        found = {each["check"]: each for each in document["findings"] if each["status"] != "ok"}
        assert (document["status"] == "stop") == (done.code == 3), done
        return done.code, found

    return run


def test_a_wrong_word_about_kernels_stops_a_sweep(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AE_SWEEP_KERNELS", "fast")
    monkeypatch.setattr(training.device, "kernels", choice.kernels.__wrapped__)
    monkeypatch.setattr(choice, "library", library.library.__wrapped__)
    code, found = ask()
    assert (code, found["kernels"]["what"]) == (
        3,
        "AE_SWEEP_KERNELS is 'fast'; it may be on or off",
    )
    assert found["kernels"]["remedy"] == "unset AE_SWEEP_KERNELS, or give it one of those"


def test_all_is_well_on_an_idle_machine_without_a_store(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    done = cli("doctor", "--json", "--store", "new")
    document = json.loads(done.out)
    assert (done.code, document["status"]) == (0, "ok"), done.out
    assert {each["check"] for each in document["findings"]} == CHECKS
    assert all(
        each.keys() == {"check", "status", "what", "remedy"} for each in document["findings"]
    )
    assert not (tmp_path / "new").exists(), "nothing is written"


def test_a_person_reads_a_line_for_each_finding_and_its_remedy_below(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 1.0, 1.0))
    done = cli("doctor")
    assert done.code == 0, "a warning stops nothing"
    assert re.search(r"^warn  threads .*load 99\.0\n +wait for other", done.out, re.MULTILINE)
    assert re.search(r"^ok    versions +ae-sweep .*torch .*optuna .*mlflow ", done.out)


class Fault(NamedTuple):
    check: str
    what: str
    remedy: str


def _damage(file: Path) -> None:
    """Write over the middle of a database, which then opens and is not whole."""
    content = bytearray(file.read_bytes())
    page = 4096
    for number in range(2, len(content) // page - 1):
        content[number * page + 8 : number * page + 200] = b"\xff" * 192
    file.write_bytes(content)


def _damaged_runs(store: Store) -> Fault:
    _damage(store.root / "mlflow.db")
    return Fault("runs", "mlflow.db", "restore it from a copy, or name another --store")


def _newer_runs(store: Store) -> Fault:
    with contextlib.closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00f00f00f00'")
        connection.commit()
    return Fault("runs", "f00f00f00f00", "`pip install --upgrade mlflow`")


def _foreign_studies(store: Store) -> Fault:
    with contextlib.closing(sqlite3.connect(store.optuna_path)) as connection:
        connection.execute("CREATE TABLE diary (day TEXT)")
    return Fault("studies", "not Optuna's", "move it away, or name another --store")


def _damaged_studies(store: Store) -> Fault:
    open_storage(store.optuna_path).engine.dispose()
    with contextlib.closing(sqlite3.connect(store.optuna_path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    _damage(store.optuna_path)
    return Fault("studies", "optuna.db", "restore it from a copy, or name another --store")


def _other_studies(store: Store) -> Fault:
    open_storage(store.optuna_path).engine.dispose()
    with contextlib.closing(sqlite3.connect(store.optuna_path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
        connection.commit()
    return Fault("studies", "optuna.db", "another version of Optuna wrote it")


def _moved(store: Store) -> Fault:
    with contextlib.closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        connection.execute("UPDATE experiments SET artifact_location = 'file:///was/here'")
        connection.commit()
    return Fault("runs", "it was moved or copied", "`ae-sweep doctor --adopt`")


@pytest.mark.parametrize(
    "break_it",
    [
        _damaged_runs, _newer_runs, _foreign_studies, _damaged_studies, _other_studies, _moved,
    ],
)  # fmt: skip
def test_a_store_that_would_stop_a_sweep_is_exit_code_3_with_its_remedy(
    ask: Callable[..., Any], tmp_path: Path, break_it: Callable[[Store], Fault]
) -> None:
    store = support.fresh_store(tmp_path)
    fault = break_it(store)
    code, found = ask("--store", str(store.root))
    assert code == 3
    assert found[fault.check]["status"] == "stop"
    assert fault.what in found[fault.check]["what"]
    assert fault.remedy in found[fault.check]["remedy"]


def test_a_server_that_does_not_answer_is_named_without_its_password(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    code, found = ask()
    assert (code, found["runs"]["status"]) == (3, "stop")
    assert "http://ada:***@127.0.0.1:9" in found["runs"]["what"]
    assert "secret" not in json.dumps(found)
    assert found["runs"]["remedy"].startswith("start it, or unset MLFLOW_TRACKING_URI")


def test_a_full_disk_and_little_memory_stop_a_sweep(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**7))
    monkeypatch.setattr(container, "usable_memory_bytes", lambda: 5 * 10**8)
    code, found = ask()
    assert code == 3
    assert {name: each["status"] for name, each in found.items()} == {
        "store": "stop", "temporary files": "stop", "memory": "stop",
    }  # fmt: skip
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    monkeypatch.setattr(container, "usable_memory_bytes", lambda: 10**10)
    code, found = ask()
    assert (code, found["store"]["status"]) == (0, "warn")


def test_a_store_in_no_directory_and_one_that_all_may_write_are_found(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, found = ask("--store", "file/store")
    assert (code, found["store"]["status"]) == (3, "stop")
    (tmp_path / "open it").mkdir()
    (tmp_path / "open it").chmod(0o777)
    code, found = ask("--store", "open it")
    assert (code, found["store"]["status"]) == (0, "warn")
    assert found["store"]["remedy"] == f"`chmod o-w '{tmp_path}/open it'`"


def test_a_package_that_is_missing_stops_a_sweep(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise metadata.PackageNotFoundError("optuna")

    monkeypatch.setattr(doctor, "environment", missing)
    code, found = ask()
    assert (code, found["versions"]["remedy"]) == (3, "install it: `pip install optuna`")


def test_what_a_killed_sweep_left_is_found_with_commands_that_work(
    ask: Callable[..., Any], cli: Callable[..., Any], tmp_path: Path
) -> None:
    store = support.fresh_store(tmp_path)
    writer = tracking_writer(store)
    writer.interrupt()
    storage = open_storage(store.optuna_path)
    optuna.create_study(study_name="one/d=8", storage=storage).ask()
    storage.engine.dispose()
    running = store.root / "running" / "one"
    (running / "checkpoints").mkdir(parents=True)
    (running / "checkpoints" / "trial-0").write_bytes(b"x")
    (running / "journal.jsonl").write_bytes(b"{}\n")
    code, found = ask("--store", str(store.root))
    assert code == 0
    assert found["trials"]["what"] == "1 trial of one marked as running"
    assert found["sweeps"]["what"] == "one was interrupted"
    assert found["journal"]["what"] == "3 bytes of one wait to be published"
    assert found["journal"]["remedy"] == f"`{store.command('sync', 'one')}`"
    for check in ("trials", "sweeps"):
        [command] = re.findall(r"`ae-sweep ([^`]*)`", found[check]["remedy"])
        assert cli(*shlex.split(command), "--help").code == 0


def test_sweeps_that_run_died_or_are_elsewhere_are_found_by_their_process(
    ask: Callable[..., Any], cli: Callable[..., Any], tmp_path: Path
) -> None:
    store = support.fresh_store(tmp_path)
    storage = open_storage(store.optuna_path)
    optuna.create_study(study_name="alive/d=8", storage=storage).ask()
    storage.engine.dispose()
    here = process_identity.this_process()
    for name, changes in {
        "dead": {"pid": 2**22 + 1, "started": "1"},
        "far": {"host": "h", "machine": "m", "boot": "b"},
    }.items():  # fmt: skip
        store.running(name).mkdir(parents=True)
        owner = dataclasses.replace(here, **changes)  # type: ignore[arg-type]
        (store.running(name) / "owner.json").write_text(json.dumps(dataclasses.asdict(owner)))
    with ownership.hold(store.running("alive"), take_over_command=""):
        (store.running("alive") / "journal.jsonl").write_bytes(b"{}\n")
        done = cli("doctor", "--json", "--store", str(store.root))
    found = {each["what"]: each for each in json.loads(done.out)["findings"]}
    alive = found[f"alive is being run by process {here.pid} on {here.host!r}"]
    assert (alive["status"], alive["remedy"]) == ("ok", "")
    assert found["3 bytes of alive wait to be published"]["status"] == "ok"
    assert not [what for what in found if "marked as running" in what]
    dead = next(each for what, each in found.items() if "dead was run by" in what)
    assert f"process {2**22 + 1} on {here.host!r}, which has ended" in dead["what"]
    far = next(each for what, each in found.items() if "far was begun by" in what)
    assert "on 'h', which this machine cannot see" in far["what"]
    for each, option in ((dead, "--resume"), (far, "--take-over")):
        assert each["status"] == "warn"
        [command] = re.findall(r"`ae-sweep ([^`]*)`", each["remedy"])
        assert option in command
        assert cli(*shlex.split(command), "--help").code == 0


def test_python_gets_the_same_report(ask: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = ae_sweep.diagnose(store=tmp_path / "file" / "store")
    assert report.status == "stop"
    assert "store" in {each.check for each in report.findings if each.status == "stop"}


def tracking_writer(store: Store) -> Any:
    from ae_sweep import tracking

    return tracking.open_for_writing(store).start_sweep(
        support.config("one", dims=(8,)), card=support.CARD, environment={}
    )


def test_a_damaged_data_set_in_the_cache_is_found_with_the_command_that_fetches_it(
    ask: Callable[..., Any],
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    raw = tmp_path / "ae-sweep" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"damaged")
    code, found = ask()
    assert code == 0
    assert "mnist is damaged" in found["data sets"]["what"]
    assert found["data sets"]["remedy"] == "fetch it again: `ae-sweep data mnist`"
    assert cli("data", "mnist", "--help").code == 0


def test_a_terminal_that_cannot_show_all_signs_is_a_warning(tmp_path: Path) -> None:
    terminal = doctor.Terminal(is_terminal=True, encoding="ascii", columns=80)
    report = doctor.diagnose(Store(tmp_path), cache_dir=tmp_path, terminal=terminal)
    [found] = [each for each in report.findings if each.check == "terminal"]
    assert (found.status, report.status) == ("warn", "warn")
    assert "`export PYTHONUTF8=1`" in found.remedy
