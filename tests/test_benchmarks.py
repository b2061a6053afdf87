"""Every benchmark can be run and told, and the page holds their sections and nothing lost."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run_all(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("run_all")


@pytest.mark.slow
def test_every_benchmark_measures_and_reports(run_all: Any) -> None:
    for name in run_all.BENCHMARKS:
        module = importlib.import_module(name)
        assert callable(module.measure), name
        assert callable(module.report), name


def test_the_page_of_benchmarks_loses_no_section_when_it_is_written_again(run_all: Any) -> None:
    page = run_all.PAGE.read_text()
    sections = run_all.sections_of(page)
    assert set(sections) <= set(run_all.BENCHMARKS)
    header = page.partition("<!--")[0]
    assert run_all.page_of(header, sections) == page
