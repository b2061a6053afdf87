"""`make audit`: what its program makes of pip-audit's answers."""

from __future__ import annotations

import json
import runpy
import tomllib
from typing import Any

import pytest
from conftest import ROOT

AUDIT = runpy.run_path(str(ROOT / ".ci" / "audit.py"), run_name="audit")
SKIPPED = {"name": "a", "skip_reason": "Dependency not found on PyPI and could not be audited"}
CLEAN = {"name": "b", "version": "1", "vulns": []}
HIT = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}


def verdict(*packages: Any) -> tuple[str, int]:
    text, code = AUDIT["verdict"](json.dumps({"dependencies": packages}), "")
    return text, code


def test_an_advisory_is_a_failure_with_the_version_that_mends_it() -> None:
    text, code = verdict(CLEAN, HIT, SKIPPED)
    assert code == 1
    assert "c 2: PYSEC-1, fixed in 3" in text
    assert "unknown to the service: a" in text
    assert text.endswith("audit: 2 packages audited, 1 with advisories")


def test_no_advisory_is_none() -> None:
    assert verdict(CLEAN) == ("audit: 1 packages audited, 0 with advisories", 0)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (json.dumps({"dependencies": [SKIPPED]}), ""),
        ("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed"),
        ("", "requests.exceptions.ReadTimeout: Read timed out."),
    ],
)
def test_a_service_that_cannot_be_reached_is_told_and_no_failure(found: str, said: str) -> None:
    text, code = AUDIT["verdict"](found, said)
    assert code == 0
    assert text.startswith("audit: nothing was audited, the advisory service ")


def test_a_pip_audit_that_fails_by_itself_is_a_failure() -> None:
    assert AUDIT["verdict"]("", "ModuleNotFoundError: no module named x")[1] == 1


def test_each_rule_that_is_not_applied_has_a_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[tool.bandit]")[2].partition("\n[")[0]
    skipped = tomllib.loads(text)["tool"]["bandit"]["skips"]
    assert skipped
    for rule in skipped:
        [line] = [line for line in section.splitlines() if f'"{rule}"' in line]
        assert len(line.partition("#")[2]) > 30, rule
    assert all(len(reason) > 20 for reason in AUDIT["IGNORED"].values())
