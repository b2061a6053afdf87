"""What a person sees who types ``ae-sweep ui``: runs, charts, pictures and models in a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

CLI = [sys.executable, str(Path(__file__).parent.parent / "cli.py")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
WAIT_SECONDS = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver on this machine"
    ),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished sweep."""
    directory = tmp_path_factory.mktemp("browsed")
    command = "run --name seen --dims 2 8 --trials 1 --epochs 2 --dataset shapes --store"
    subprocess.run([*CLI, *command.split(), str(directory)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """The address that ``ae-sweep ui`` prints while it runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*CLI, "ui", "--port", str(port), "--store", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            yield ui.stdout.readline().strip()
        finally:
            ui.send_signal(signal.SIGINT)
            assert ui.wait(30) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is still there"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for switch in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--window-size=1600,2800",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(switch)
    chrome = Chrome(options=options, service=Service(str(DRIVER)))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def child(store: Path) -> Any:
    """The MLflow run of the trial with the widest bottleneck."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    return next(run for run in runs if run.data.params["latent_dim"] == "8")


def see(browser: Chrome, *texts: str) -> None:
    """Wait until all texts stand on the page."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def all_there(page: Chrome) -> bool:
        body = page.find_element(By.TAG_NAME, "body").text
        return all(text in body for text in texts)

    WebDriverWait(browser, WAIT_SECONDS, ignored_exceptions=[Exception]).until(
        all_there, f"not all of {texts} came onto {browser.current_url}"
    )


def keep(browser: Chrome, name: str) -> None:
    """Save a screenshot where AE_SWEEP_SCREENSHOTS names a directory."""
    directory = os.environ.get("AE_SWEEP_SCREENSHOTS")
    if directory:
        browser.save_screenshot(str(Path(directory) / f"{name}.png"))


def test_the_printed_address_shows_the_sweep_with_its_settings(
    browser: Chrome, address: str
) -> None:
    browser.get(address)
    see(browser, "seen", "dims", "2 8", "dataset", "shapes")
    keep(browser, "parent")


def test_a_trial_shows_its_parameters_and_metrics(
    browser: Chrome, address: str, child: Any
) -> None:
    browser.get(f"{address.rpartition('/')[0]}/{child.info.run_id}")
    see(browser, "d=8 trial 0", "test_mse", "val_mse", "latent_dim", "precision")
    keep(browser, "trial")


def test_a_trial_shows_charts_of_its_metrics(browser: Chrome, address: str, child: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address.rpartition('/')[0]}/{child.info.run_id}/model-metrics")

    def drawn(page: Chrome) -> bool:
        charts = page.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .main-svg")
        return bool(charts) and "val_mse" in page.page_source

    try:
        WebDriverWait(browser, WAIT_SECONDS).until(drawn, "no chart was drawn")
    finally:
        keep(browser, "chart")


def test_a_trial_shows_the_picture_of_its_reconstructions(
    browser: Chrome, address: str, child: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address.rpartition('/')[0]}/{child.info.run_id}/artifacts/reconstructions.png")
    see(browser, "reconstructions.png")

    def drawn(page: Chrome) -> bool:
        widths = [
            int(page.execute_script("return arguments[0].naturalWidth", image))
            for image in page.find_elements(By.TAG_NAME, "img")
        ]
        return max(widths, default=0) > 500

    WebDriverWait(browser, WAIT_SECONDS, ignored_exceptions=[Exception]).until(
        drawn, "the picture was not drawn"
    )
    keep(browser, "picture")


def test_the_logged_model_has_its_page_with_the_linked_metric(
    browser: Chrome, address: str, child: Any
) -> None:
    (output,) = child.outputs.model_outputs
    experiment = address.partition("/runs/")[0]
    browser.get(f"{experiment}/models/{output.model_id}")
    see(browser, output.model_id, "test_mse", "autoencoder")
    keep(browser, "model")


def test_another_host_name_is_refused(address: str) -> None:
    request = urllib.request.Request(address.partition("/#")[0], headers={"Host": "10.evil.com"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
