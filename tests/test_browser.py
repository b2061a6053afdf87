"""A reader's way through the UI that `ae-sweep ui` starts, in a real browser."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import PAGE_SECONDS, REAL_DIMS
from mlflow import MlflowClient
from tracking_support import free_port, group_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from commands import Command, Server
    from conftest import Done, Sweep
    from mlflow.entities import Run
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ui:
    """The UI of the real sweep, and the address the command printed."""

    address: str
    port: int
    process: Command
    parent: Run
    child: Run
    model_id: str

    @property
    def experiment(self) -> str:
        return f"http://127.0.0.1:{self.port}/#/experiments/{self.parent.info.experiment_id}"

    def run(self, run: Run, tab: str = "") -> str:
        return f"{self.experiment}/runs/{run.info.run_id}{tab}"


@contextlib.contextmanager
def _serving(server: Server, store: Path, port: int) -> Iterator[Command]:
    words = ("ui", "--port", str(port), "--store", str(store))
    with server.start(*words, cwd=store.parent) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)


@pytest.fixture(scope="module")
def ui(server: Server, real_sweep: Sweep) -> Iterator[Ui]:
    port = free_port()
    client = MlflowClient(f"sqlite:///{real_sweep.store}/mlflow.db")
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    child = next(run for run in runs if run.info.run_name == "d=8 trial 0")
    with _serving(server, real_sweep.store, port) as process:
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        yield Ui(address, port, process, parent, child, child.outputs.model_outputs[0].model_id)


@pytest.fixture
def see(browser: Chrome, tmp_path: Path) -> Callable[..., str]:
    """Open an address and wait until its page shows all the words; keep a picture of it."""

    def look(address: str, *words: str) -> str:
        browser.get("about:blank")
        browser.get(address)
        with contextlib.suppress(Exception):
            _wait(browser, lambda: all(word in _text(browser) for word in words))
        browser.save_screenshot(str(tmp_path / "page.png"))
        text = _text(browser)
        missing = [word for word in words if word not in text]
        assert not missing, f"{address} lacks {missing}; it says: {text}"
        return text

    return look


def _text(browser: Chrome) -> str:
    text: str = browser.execute_script("return document.body ? document.body.innerText : ''")
    return " ".join(text.split())


def _wait(browser: Chrome, condition: Callable[[], object]) -> None:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, PAGE_SECONDS, ignored_exceptions=[WebDriverException]).until(
        lambda _: condition()
    )


def test_the_printed_address_is_the_page_of_the_latest_sweep(
    ui: Ui, see: Callable[..., str]
) -> None:
    assert ui.address == f"{ui.run(ui.parent)}?workflowType=machine_learning"
    text = see(ui.address, "real", "Finished", "2 4 8 16", "shapes")
    assert "0.001:0.01" in text, "the configuration"


def test_the_sweep_shows_its_frontier(ui: Ui, see: Callable[..., str], browser: Chrome) -> None:
    see(ui.run(ui.parent, "/artifacts/frontier.png"), "frontier.png", "frontier_table.json")
    _wait(browser, lambda: _largest_picture(browser) > 300)


def test_the_list_of_runs_shows_the_sweep_and_counts_its_trials(
    ui: Ui, see: Callable[..., str]
) -> None:
    see(f"{ui.experiment}/runs", "real", "shapes", f"{1 + 3 * len(REAL_DIMS)} matching runs")


def test_a_trial_shows_its_parameters_and_final_metrics(ui: Ui, see: Callable[..., str]) -> None:
    metrics = ui.child.data.metrics
    text = see(ui.run(ui.child), "d=8 trial 0", "latent_dim", "test_mse", "compression_ratio")
    assert "98" in text
    # With as many digits as the page has room for, and no zeros at their end.
    assert any(f"{metrics['test_mse']:.{digits}g}" in text for digits in range(3, 18))


def test_a_trial_shows_charts_of_its_metrics(
    ui: Ui, see: Callable[..., str], browser: Chrome, tmp_path: Path
) -> None:
    browser.set_window_size(1400, 2600)  # charts are drawn when they come into sight
    see(ui.run(ui.child, "/model-metrics"), "val_mse", "train_mse")
    drawn = "return document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length"
    _wait(browser, lambda: browser.execute_script(drawn) >= 5)
    browser.save_screenshot(str(tmp_path / "page.png"))
    browser.set_window_size(1400, 1000)


def test_a_trial_shows_the_picture_of_its_reconstructions(
    ui: Ui, see: Callable[..., str], browser: Chrome, tmp_path: Path
) -> None:
    see(ui.run(ui.child, "/artifacts/reconstructions.png"), "reconstructions.png")
    _wait(browser, lambda: _largest_picture(browser) >= 400)
    browser.save_screenshot(str(tmp_path / "page.png"))


def test_the_logged_model_has_a_page_with_its_parameters(ui: Ui, see: Callable[..., str]) -> None:
    text = see(f"{ui.experiment}/models/{ui.model_id}", "autoencoder", "latent_dim", "Ready")
    assert ui.model_id in text


def test_the_pages_ask_nothing_of_other_hosts(ui: Ui, browser: Chrome) -> None:
    browser.get("about:blank")
    browser.get(ui.address)
    _wait(browser, lambda: "Finished" in _text(browser))
    own = f"http://127.0.0.1:{ui.port}/"
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert asked
    assert [url for url in asked if not url.startswith((own, "data:", "blob:"))] == []


def _largest_picture(browser: Chrome) -> int:
    """Tell the width of the widest picture that is drawn, in its own pixels."""
    width: int = browser.execute_script(
        "return Math.max(0, ...[...document.images].filter(image => image.complete)"
        ".map(image => image.naturalWidth))"
    )
    return width


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.evil.com", 403), ("evil.com:{port}", 403), ("localhost:{port}", 200)],
)
def test_only_exact_host_names_are_answered(ui: Ui, host: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ui.port, timeout=120)
    try:
        connection.request("GET", "/", headers={"Host": host.format(port=ui.port)})
        assert connection.getresponse().status == status
    finally:
        connection.close()


def test_the_ui_listens_on_the_loopback_address_only(ui: Ui) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells the machine's own address
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((own, ui.port), timeout=10)


def test_a_second_ui_on_the_port_is_refused_with_a_free_one(
    ui: Ui, real_sweep: Sweep, process: Callable[..., Done], tmp_path: Path
) -> None:
    done = process("ui", "--port", str(ui.port), "--store", str(real_sweep.store), cwd=tmp_path)
    assert (done.code, done.out) == (3, "")
    assert re.search(rf"port {ui.port} on 127\.0\.0\.1 is taken .* --port \d+", done.err)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_ui_with_exit_code_0_and_leaves_no_process(
    server: Server, real_sweep: Sweep, signal_number: int
) -> None:
    port = free_port()
    with _serving(server, real_sweep.store, port) as process:
        assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}/#/experiments/")
        groups = _children(process.pid)
        assert groups, "the server is a process of its own"
        process.send_signal(signal_number)
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert err.splitlines()[-1] == "ended"
    assert "Traceback" not in err
    assert [member for group in groups for member in group_members(group)] == []
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def _children(parent: int) -> list[int]:
    """Tell the processes that were started by one; each leads a group of its own."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [pid for pid in map(int, done.stdout.split()) if os.getpgid(pid) == pid]
