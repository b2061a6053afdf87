"""Fixtures of the command line: in this process, as a process, and on a real sweep."""

from __future__ import annotations

import os

# One torch thread: tests run side by side, and the threads of one would wait for the others'.
os.environ["OMP_NUM_THREADS"] = "1"

import contextlib
import functools
import gc
import shutil
import sqlite3
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pytest
import shared
from commands import (
    FOREIGN_VARIABLES,
    ROOT,
    SECONDS,
    Done,
    Server,
    environment,  # noqa: F401 - tests import it from here
    needs_a_new_python,
    run_new_python,
)
from common_fixtures import (  # noqa: F401 - fixtures
    careless,
    client,
    faked_sweeps,
    in_memory,
    new_memory,
    one_thread,
    opened,
    store,
    two_threads,
)
from processor_time import (  # noqa: F401 - hooks
    pytest_runtest_call,
    pytest_runtest_logreport,
    pytest_runtest_setup,
    pytest_terminal_summary,
)
from sweep_support import SMALL
from typer.testing import CliRunner

from ae_sweep.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from selenium.webdriver import Chrome

# A tenth of the time went to collecting the millions of objects that the libraries keep.
gc.set_threshold(50_000, 20, 50)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
PAGE_SECONDS = 90
"""MLflow's page is megabytes of script, and machines are busy."""


LONGEST_FIRST = (
    "test_benchmarks", "test_sweep_workers", "test_cli_models", "test_sweep_results",
    "test_sweep_interrupted", "test_docs", "test_dist",
)  # fmt: skip
"""Files of tests that take minutes; begun last, one would run while other processors idle."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", default="6", help="kills of running sweeps in test_torture.py")
    parser.addoption("--kill-seed", default="0", help="seed of the moments of those")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    _keep_database_scripts()
    _do_not_wait_for_the_disk()
    gc.collect()
    gc.freeze()


def _keep_database_scripts() -> None:
    """Have the hundred scripts of a database's versions be compiled once, not for each store."""
    if "alembic.util" not in sys.modules:
        return
    import alembic.util

    load = alembic.util.load_python_file
    kept = functools.cache(load)
    # The one that runs the others does so while it is imported.
    alembic.util.load_python_file = lambda directory, name: (
        load(directory, name) if name == "env.py" else kept(directory, name)
    )
    if (utils := sys.modules.get("mlflow.store.db.utils")) is not None:
        # Asked of each database that is opened, whose own version it is compared with.
        name = "_get_latest_schema_revision"
        setattr(utils, name, functools.cache(getattr(utils, name)))


def _do_not_wait_for_the_disk() -> None:
    """Have MLflow's databases not synchronised, where each commit would wait for the disk twice."""
    if "sqlalchemy" not in sys.modules:
        return
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def hurry(connection: Any, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):  # a test has a server of its own
            return
        ((_, _, path), *_) = connection.execute("PRAGMA database_list")
        if path.endswith("mlflow.db"):
            connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session", autouse=True)
def _shared_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    shared.base = shared.directory(tmp_path_factory.getbasetemp())


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Done]:
    """Run the command line in this process, in an empty directory, with an empty user cache."""
    for variable in FOREIGN_VARIABLES:
        # Set first: --debug sets one of them, and only what was set here is put back.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "no-cache"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        ended = CliRunner().invoke(app, list(words), prog_name="ae-sweep")
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return Done(ended.exit_code, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the measurements that precede a sweep as done: they train for seconds."""
    from ae_sweep import training
    from ae_sweep.runner import setup

    speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
    monkeypatch.setattr(training, "measure_speed", lambda *_, **__: speed)
    monkeypatch.setattr(setup, "remembered_precision", lambda *_, **__: training.FP32)


@pytest.fixture
def plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store one pixel for each figure of a sweep: drawing takes half the time of a faked one."""
    from tracking_support import png

    from ae_sweep import plots

    monkeypatch.setattr(plots, "frontier_figure", lambda *_, **__: None)
    monkeypatch.setattr(plots, "reconstructions_figure", lambda *_, **__: None)
    monkeypatch.setattr(plots, "render", lambda _, kind: png() if kind == "png" else b"<svg/>")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Fork commands from a process that has imported what they need."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def process(server: Server) -> Callable[..., Done]:
    """Run the command line as a process of its own; there is nobody to answer a prompt.

    It is forked from a warm one, unless a launcher is given or a variable is changed that has an
    effect only while Python starts.
    """

    def run(
        *words: str,
        cwd: Path,
        changes: dict[str, str] | None = None,
        command: Sequence[str] | None = None,
        timeout: float = SECONDS,
        known_speed: bool = False,
    ) -> Done:
        changes = changes or {}
        if command is not None or needs_a_new_python(changes):
            assert not known_speed, "it can be known in a forked process only"
            launcher = command or (sys.executable, str(ROOT / "cli.py"))
            return run_new_python(launcher, *words, cwd=cwd, changes=changes, timeout=timeout)
        with server.start(*words, cwd=cwd, changes=changes, known_speed=known_speed) as running:
            out, err = running.communicate(timeout)
            return Done(running.wait(), out, err)

    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start a headless Chromium that keeps what its pages log and ask for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no chromium with a chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", "window-size=1400,1000",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(PAGE_SECONDS)
        yield driver
    finally:
        driver.quit()


@dataclass(frozen=True)
class Sweep:
    """A finished sweep of small images, and what the command said of it."""

    name: str
    store: Path
    done: Done


REAL_DIMS = (2, 4, 8, 16)


@pytest.fixture(scope="session")
def real_sweep(process: Callable[..., Done]) -> Sweep:
    """Run a real small sweep through the command line, once for all tests that only read it."""

    def make(place: Path) -> dict[str, Any]:
        done = process(
            "run", "--dataset", "shapes", "--dims", *map(str, REAL_DIMS), "--trials", "2",
            "--repeats", "1", "--pruner", "median", "--name", "real", "--store",
            str(place / "store [bold] and space"),
            cwd=place,
            timeout=1500,
        )  # fmt: skip
        assert done.code == 0, done.err
        return asdict(done)

    place, done = shared.made_once("real sweep", make)
    return Sweep("real", place / "store [bold] and space", Done(**done))


@pytest.fixture(scope="session")
def undisturbed(process: Callable[..., Done]) -> Path:
    """Run the sweep that other tests interrupt; return its store, for reading only."""

    def make(place: Path) -> None:
        done = process("run", *SMALL, cwd=place)
        assert done.code == 0, done.err

    return shared.made_once("undisturbed", make)[0] / "store"


@pytest.fixture
def snapshot(tmp_path: Path) -> Callable[[], list[tuple[str, bytes]]]:
    """Tell all that lies in the test's directory: names and small contents."""

    def tell() -> list[tuple[str, bytes]]:
        return [(str(path), _content(path)) for path in sorted(tmp_path.rglob("*"))]

    return tell


def _content(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size < 10**7:
            return path.read_bytes()
    return b""
