"""The first sight of a sweep in MLflow's UI, in a real browser: mode, description, curve, views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import REAL_DIMS
from test_browser import Ui, _text, _wait, see, ui

from ae_sweep import tracking
from ae_sweep.locations import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Sweep
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

__all__ = ["see", "ui"]  # fixtures: one server for this file, and the sweep of all files

CHARTS = """
return [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.data).map(plot => ({
    traces: plot.data.map(trace => [[...(trace.x ?? [])], [...(trace.y ?? [])]]),
    scale: plot.layout.xaxis.type,
}))
"""
COLUMNS = """
const cells = [...document.querySelectorAll('.ag-header-viewport .ag-header-cell')];
cells.sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left);
return cells.map(cell => cell.innerText.trim());
"""


@pytest.fixture
def tall(browser: Chrome) -> Iterator[None]:
    """Show long pages whole: charts are drawn when they come into sight."""
    browser.set_window_size(1600, 2600)
    yield
    browser.set_window_size(1400, 1000)


def _charts(browser: Chrome, count: int) -> list[dict[str, Any]]:
    _wait(browser, lambda: len(browser.execute_script(CHARTS)) >= count)
    charts: list[dict[str, Any]] = browser.execute_script(CHARTS)
    return charts


def _view(ui: Ui, store: Path, name: str) -> str:
    [view] = [each for each in tracking.open_for_reading(Store(store)).views() if each.name == name]
    return tracking.view_url(
        f"http://127.0.0.1:{ui.port}", experiment_id=ui.parent.info.experiment_id, view=view
    )


def test_the_printed_address_opens_the_mode_for_model_training(
    ui: Ui, see: Callable[..., str]
) -> None:
    text = see(ui.address, "real", "Finished", "Model training", "Model registry")
    for word in ("Evaluation runs", "Judges", "Prompts"):
        assert word not in text, "the mode for language models"


def test_the_sweep_is_described_by_its_results_settings_and_commands(
    ui: Ui, see: Callable[..., str], browser: Chrome, tall: None, tmp_path: Path
) -> None:
    see(ui.address, "Description", "Show more")
    more = "//*[text()='Show more']"
    browser.find_element("xpath", more).click()
    _wait(browser, lambda: "Show less" in _text(browser))
    browser.save_screenshot(str(tmp_path / "page.png"))
    text = _text(browser)
    assert "Latent dim Compression Test MSE PSNR (dB)" in text
    for word in ("Settings", "0.001:0.01", "ae-sweep frontier real --store", "ae-sweep show real"):
        assert word in text
    cells = browser.execute_script(
        "return [...document.querySelectorAll('table')].map(table => table.innerText)"
        ".filter(text => text.includes('Compression'))"
        ".flatMap(text => text.trim().split('\\n').slice(1))"
    )
    assert [int(row.split()[0]) for row in cells] == list(REAL_DIMS)


def test_the_chart_of_the_sweep_is_its_curve_over_latent_dim(
    ui: Ui, see: Callable[..., str], browser: Chrome, tall: None, tmp_path: Path
) -> None:
    see(ui.run(ui.parent, "/model-metrics"), "test_mse", "test_psnr")
    mse, psnr = _charts(browser, 2)[:2]
    browser.save_screenshot(str(tmp_path / "page.png"))
    for chart, measure in ((mse, "test_mse"), (psnr, "test_psnr")):
        assert chart["traces"]
        for x, y in chart["traces"]:  # MLflow draws each curve twice: as it is, and smoothed
            assert x == list(REAL_DIMS)
            assert y[-1] == pytest.approx(ui.parent.data.metrics[f"frontier/{measure}"])


def test_a_view_shows_the_trials_with_what_they_tried_and_reached(
    ui: Ui, see: Callable[..., str], real_sweep: Sweep, browser: Chrome, tall: None
) -> None:
    address = _view(ui, real_sweep.store, "Trials of all sweeps")
    text = see(address, "Trials of all sweeps", f"{3 * len(REAL_DIMS)} matching runs", "epochs")
    columns = browser.execute_script(COLUMNS)
    assert columns[:6] == ["sweep", "latent_dim", "test_mse", "test_psnr", "lr", "epochs"]
    assert "d=8 trial 0" in text, "not folded under its sweep"


def test_a_view_draws_the_curves_of_all_sweeps_over_a_logarithmic_latent_dim(
    ui: Ui, see: Callable[..., str], real_sweep: Sweep, browser: Chrome, tall: None, tmp_path: Path
) -> None:
    see(_view(ui, real_sweep.store, "Curves of all sweeps"), "1 matching run", "frontier (2)")
    mse, psnr = _charts(browser, 2)[:2]
    browser.save_screenshot(str(tmp_path / "page.png"))
    assert (mse["scale"], psnr["scale"]) == ("log", "log")
    assert {tuple(x) for chart in (mse, psnr) for x, _ in chart["traces"]} == {REAL_DIMS}


def test_the_command_names_the_views_beside_the_address(ui: Ui) -> None:
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(ui.process.stderr.readline())
        assert lines[-1], "the end of the stream"
    text = "".join(lines)
    for key in ("ae-sweep-trials", "ae-sweep-curves"):
        assert f"workflowType=machine_learning&viewStateShareKey={key}" in text
