"""The page of a report: safe against what a store may hold, and readable by everyone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import shared
from conftest import REAL_DIMS
from mlflow import MlflowClient
from rated_records import frontier_of, vae

from ae_sweep import load_sweep
from ae_sweep.cli.report import _ui_address
from ae_sweep.config import as_flat_dict
from ae_sweep.plots import PointPosition
from ae_sweep.report import Cell, Dot, Picture, Section, Table, render_page
from ae_sweep.report.curve import _dots
from ae_sweep.report.search import _command
from ae_sweep.runner.settings import make_config
from ae_sweep.sweep import importances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done, Sweep
    from selenium.webdriver import Chrome

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>\"'&"
SECTIONS = ["summary", "frontier", "reconstructions", "latent", "manifold", "identity", "history",
            "setup"]  # fmt: skip
LARGEST_BYTES = 5_000_000


def page_of(text: str) -> str:
    """Render a page that has a text in every place that takes one."""
    picture = Picture(
        source="data:image/png;base64,", alternative=text, caption=text, width=1, height=1,
        dots=[Dot(left=0.5, top=0.5, text=text)],
    )  # fmt: skip
    tables = [
        Table(caption=text, columns=[text], rows=[[Cell(text, "http://127.0.0.1/" + text)]])
        for _ in range(2)
    ]
    section = Section(
        name="only", title=text, text=[text], findings=[text], code=text, pictures=[picture],
        tables=tables,
    )  # fmt: skip
    return render_page(title=text, subtitle=text, sections=[section], version="1")


def test_no_text_of_a_store_becomes_a_part_of_the_page() -> None:
    page = page_of(HOSTILE)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
    tags = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    plain = re.sub(r"<style>.*?</style>", "", page_of("plain"), flags=re.DOTALL)
    assert re.findall(r"<[a-z]+", tags) == re.findall(r"<[a-z]+", plain)


def test_a_page_names_no_place_on_a_network_but_the_links_to_runs() -> None:
    page = page_of("plain")
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://127.0.0.1/plain"}
    assert "default-src 'none'" in page


@pytest.mark.slow
def test_shares_are_told_of_studies_with_enough_trials(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "optuna.db"
    assert importances(path, "digits") == {}
    for name, count in (("digits/d=2", 8), ("digits/d=8", 3), ("other/d=2", 8)):
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{path}",
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        study.optimize(
            lambda trial: (
                trial.suggest_float("lr", 0, 1) ** 2 + 0 * trial.suggest_int("epochs", 1, 3)
            ),
            n_trials=count,
        )
    shares = importances(path, "digits")
    assert shares.keys() == {"d=2"}
    assert shares["d=2"]["lr"] > 0.8


@pytest.mark.parametrize("out", ["report.png", "report"])
def test_a_report_is_a_page(cli: Callable[..., Done], out: str) -> None:
    done = cli("report", "--out", out)
    assert done.code == 2
    assert "end its name in html" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--dims", "2", "8", "--lr", "1e-3:1e-2", "--trials", "4", "--repeats", "1"),
        ("--dims", "8", "--lr", "1e-3", "4e-3", "--epochs", "1", "2", "--sampler", "grid"),
        ("--dims", "2", "--model", "vae", "--beta", "0.1", "1", "--train-limit", "2000"),
        ("--dims", "2", "4", "--method", "nested", "--seed", "3"),
    ],
    ids=["range", "grid", "setting", "nested"],
)
@pytest.mark.usefixtures("no_probe")
def test_the_command_of_a_report_plans_the_same_sweep(
    cli: Callable[..., Done], words: tuple[str, ...]
) -> None:
    def planned(*call: str) -> dict[str, Any]:
        done = cli(*call, "--dry-run", "--json")
        assert done.code == 0, done.err
        return {**json.loads(done.out), "sweep": "the name is new"}

    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = options.setdefault(word[2:].replace("-", "_"), [])
        else:
            values.append(word)
    alone = {"model", "sampler", "method"}
    given = {key: texts[0] if key in alone else texts for key, texts in options.items()}
    config = as_flat_dict(make_config("some", {"dataset": "shapes", **given}, {}, announce=print))
    again = shlex.split(_command(config).replace("\\\n", " "))[1:]
    assert planned(*again) == planned("run", "--dataset", "shapes", *words)


def test_points_on_top_of_each_other_are_told_by_one_dot() -> None:
    (one, other) = frontier_of(
        [vae(8, 5, 0.0, 0.068, 0), vae(32, 5, 0.0, 0.068, 0, test_mse=0.11)]
    ).points
    near = [PointPosition(one, 0.1, 0.2), PointPosition(other, 0.105, 0.2)]
    (dot,) = _dots(near)
    assert dot.text.startswith("d=8 beta=5: 0.0 bits, MSE 0.06800 at that rate, test MSE 0.01")
    assert " · d=32 beta=5: 0.0 bits, MSE 0.06800 at that rate, test MSE 0.11" in dot.text
    assert len(_dots([*near, PointPosition(one, 0.5, 0.2)])) == 2


@pytest.mark.parametrize(
    ("tracking", "address"),
    [
        (None, "http://127.0.0.1:5000"),
        ("sqlite:////some/mlflow.db", "http://127.0.0.1:5000"),
        ("https://me:secret@host.example:8443/mlflow/", "https://host.example:8443/mlflow"),
        ("https://me@host.example", "https://host.example"),
    ],
)
def test_links_lead_to_the_tracking_server_and_tell_no_password(
    tracking: str | None, address: str
) -> None:
    assert _ui_address(tracking) == address


@pytest.fixture(scope="module")
def hostile_store(real_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the real sweep's store and write hostile texts where another program could."""
    store = tmp_path_factory.mktemp("hostile") / "store"
    shared.copy_store(real_sweep.store, store)
    sweep = load_sweep(store=store)
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    for trial in sweep.trials:
        client.set_tag(trial.run_id, "mlflow.runName", HOSTILE)
    config = json.dumps({**sweep.record.config, "sampler": HOSTILE, HOSTILE: HOSTILE})
    client.set_tag(sweep.record.run_id, "config", config)
    return store


@pytest.fixture(scope="module")
def page(
    process: Callable[..., Done], hostile_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    done = process("report", "--out", str(file), "--store", str(hostile_store), cwd=file.parent)
    assert done.code == 0, done.err
    assert done.out == ""
    assert f"report: {file}" in done.err
    return file


@pytest.fixture
def opened(browser: Chrome, page: Path) -> Chrome:
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get("about:blank")
    browser.get(page.as_uri())
    return browser


def found(browser: Chrome, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


@pytest.mark.slow
def test_every_section_is_there_and_the_pictures_show(opened: Chrome, page: Path) -> None:
    assert [each.get_attribute("id") for each in found(opened, "section")] == SECTIONS
    assert all(each.is_displayed() for each in found(opened, "section h2"))
    widths = [image.get_property("naturalWidth") for image in found(opened, "img")]
    assert len(widths) == 6
    assert all(width > 0 for width in widths)
    assert all(image.get_attribute("alt") for image in found(opened, "img"))
    assert page.stat().st_size <= LARGEST_BYTES


@pytest.mark.slow
def test_a_page_is_silent_and_asks_nothing_of_a_network(opened: Chrome) -> None:
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [
        message["params"]["request"]["url"].partition(":")[0]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert set(asked) <= {"file", "data", "about"}


@pytest.mark.slow
def test_hostile_texts_show_as_texts(opened: Chrome) -> None:
    assert opened.title == "real · ae-sweep report"
    assert found(opened, "section script, img[src=x]") == []
    opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    text = opened.find_element("css selector", "#history").text
    assert "<script>document.title" in text
    assert "<script>document.title" in opened.find_element("css selector", "#setup").text


@pytest.mark.slow
def test_values_show_where_a_point_is_pointed_at_or_reached_by_keyboard(opened: Chrome) -> None:
    from selenium.webdriver import ActionChains

    dots = found(opened, ".dot")
    assert len(dots) == 2 * len(REAL_DIMS)
    tips = found(opened, ".tip")
    assert not any(tip.is_displayed() for tip in tips)
    ActionChains(opened).move_to_element(dots[1]).perform()
    assert [tip.is_displayed() for tip in tips].count(True) == 1
    assert tips[1].text.startswith(f"d={REAL_DIMS[1]}: test MSE 0.")
    ActionChains(opened).move_to_element(found(opened, "h1")[0]).perform()
    opened.execute_script("arguments[0].focus()", dots[0])
    assert tips[0].is_displayed()


@pytest.mark.slow
def test_points_lie_where_the_picture_has_them(opened: Chrome) -> None:
    # Across each panel latent dims double from point to point: equal steps on its axis.
    lefts = [dot.rect["x"] for dot in found(opened, ".dot")]
    for panel in (lefts[: len(REAL_DIMS)], lefts[len(REAL_DIMS) :]):
        steps = [after - before for before, after in pairwise(panel)]
        assert steps == pytest.approx([steps[0]] * len(steps), abs=1.5)
        assert steps[0] > 20


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_a_reader(opened: Chrome, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        told = axe.run(opened)
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert [
        (each["id"], each["impact"], each["nodes"][0]["html"]) for each in told["violations"]
    ] == []


@pytest.mark.slow
def test_a_phone_need_not_scroll_sideways(opened: Chrome) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        width = opened.execute_script("return document.documentElement.scrollWidth")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width <= 390


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1000])
def test_no_value_is_cut_off(opened: Chrome, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        cut = opened.execute_script(
            "return [...document.querySelectorAll('.dot')].filter(dot => { dot.focus();"
            "const tip = dot.querySelector('.tip').getBoundingClientRect();"
            "const frame = dot.closest('.frame').getBoundingClientRect();"
            "return !(tip.width > 0 && tip.left >= frame.left && tip.right <= frame.right"
            " && tip.top >= frame.top && tip.bottom <= frame.bottom) })"
            ".map(dot => dot.getAttribute('aria-label'))"
        )
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert cut == []


@pytest.mark.slow
def test_a_table_fits_on_paper(opened: Chrome) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    a4 = {"width": 718, "height": 1047, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    try:
        wide = opened.execute_script(
            "return [...document.querySelectorAll('table')].filter(table =>"
            "table.getBoundingClientRect().right > document.documentElement.clientWidth)"
            ".map(table => table.caption.textContent)"
        )
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wide == []


@pytest.mark.slow
def test_print_has_all_trials_and_no_navigation(opened: Chrome) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not found(opened, "nav")[0].is_displayed()
        rows = opened.execute_script(
            "return [...document.querySelectorAll('#history details tbody tr')]"
            ".filter(row => row.getBoundingClientRect().height > 0).length"
        )
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert rows >= 2 * len(REAL_DIMS)


@pytest.mark.slow
def test_the_page_is_valid_html(page: Path) -> None:
    tidy = shutil.which("tidy")
    if tidy is None:
        pytest.skip("there is no HTML Tidy on the PATH")
    told = subprocess.run(
        [tidy, "-quiet", "-errors", str(page)], capture_output=True, text=True, check=False
    )
    assert told.stderr.splitlines() == []


@pytest.mark.slow
def test_the_pictures_of_the_page_are_on_the_sweeps_run(page: Path, hostile_store: Path) -> None:
    sweep = load_sweep(store=hostile_store)
    client = MlflowClient(f"sqlite:///{hostile_store / 'mlflow.db'}")
    names = {file.path for file in client.list_artifacts(sweep.record.run_id)}
    assert page.exists()
    assert names >= {
        "frontier.png", "reconstructions.png", "latent_plane.png", "manifold.png", "identity.png",
        "history.png", "latent_space.json", "identity.json",
    }  # fmt: skip
