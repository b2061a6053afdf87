"""Fixtures of the command line: in this process, as a process, and on a real sweep."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ae_sweep.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from selenium.webdriver import Chrome

ROOT = Path(__file__).parent.parent
FOREIGN_VARIABLES = (
    "AE_SWEEP_DEBUG", "COLUMNS", "FORCE_COLOR", "MLFLOW_TRACKING_URI", "NO_COLOR", "TTY_COMPATIBLE",
)  # fmt: skip
"""Variables of the developer's own that would change what is tested."""
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
PAGE_SECONDS = 90
"""MLflow's page is megabytes of script, and machines are busy."""


@dataclass(frozen=True)
class Done:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


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


def environment(**changes: str) -> dict[str, str]:
    """Tell the environment of a process: this one's without what would change the test."""
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    # One thread: several of a small training would wait for each other, and longer where the
    # machine has other work.
    return {**kept, "OMP_NUM_THREADS": "1", **changes}


@pytest.fixture(scope="session")
def process() -> Callable[..., Done]:
    """Run the command line as a process of its own; there is nobody to answer a prompt."""

    def run(
        *words: str,
        cwd: Path,
        changes: dict[str, str] | None = None,
        command: Sequence[str] = (sys.executable, str(ROOT / "cli.py")),
        timeout: float = 300.0,
    ) -> Done:
        ended = subprocess.run(
            [*command, *words],
            cwd=cwd,
            env=environment(**(changes or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(ended.returncode, ended.stdout, ended.stderr)

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
def real_sweep(tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Done]) -> Sweep:
    """Run a real small sweep through the command line, once for all tests that only read it."""
    place = tmp_path_factory.mktemp("real")
    store = place / "store [bold] and space"
    done = process(
        "run", "--dataset", "shapes", "--dims", *map(str, REAL_DIMS), "--trials", "2",
        "--repeats", "1", "--pruner", "median", "--name", "real", "--store", str(store),
        cwd=place,
        timeout=800,
    )  # fmt: skip
    assert done.code == 0, done.err
    return Sweep("real", store, done)


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
