"""Processor time of tests: those that belong among the slow ones are named at the end of a run.

It is measured rather than limited: other work on the machine makes any test take longer.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

LIMIT_SECONDS = 1.0
"""A test that takes more is to be marked slow, unless it stands for a kind that is slow."""
MOST_LINES = 10
PROPERTY = "processor_seconds"
spent: dict[str, float] = {}
"""Seconds of each test that is not marked slow, its first use of what is made once included."""


def _seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    before = _seconds()
    try:
        return (yield)
    finally:
        item.user_properties.append((PROPERTY, _seconds() - before))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    before = _seconds()
    try:
        return (yield)
    finally:
        item.user_properties.append((PROPERTY, _seconds() - before))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # With several processes, the one that prints is told by reports alone.
    if report.when == "teardown" and "slow" not in report.keywords:
        spent[report.nodeid] = sum(
            float(value) for name, value in report.user_properties if name == PROPERTY
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    long = sorted((test for test in spent if spent[test] > LIMIT_SECONDS), key=lambda t: -spent[t])
    terminalreporter.section(
        f"{sum(spent.values()):.0f} s of processor time in tests that are not marked slow, "
        f"{len(long)} of them above {LIMIT_SECONDS:g} s"
    )
    for test in long[:MOST_LINES]:
        terminalreporter.write_line(f"{spent[test]:.1f}s {test}")
