"""What is logged of the software that ran."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ae_sweep.runner import environment as module
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


def _git(directory: Path, *words: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(directory), *named, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A committed checkout with a package in it."""
    package = tmp_path / "repo" / "package"
    package.mkdir(parents=True)
    (package / "version.py").write_text("1")
    (package.parent / ".gitignore").write_text("*.pyc\n")
    _git(package.parent, "init", "-q")
    _git(package.parent, "add", ".")
    _git(package.parent, "commit", "-qm", "first")
    return package


def test_a_clean_checkout_tells_its_commit_and_that_nothing_differs_from_it(package: Path) -> None:
    (package / "version.pyc").write_text("ignored")
    (package.parent / "frontier.png").write_text("a result beside the source")
    head = _git(package, "rev-parse", "HEAD")
    assert module.checkout(package) == {"git_commit": head, "git_dirty": "False"}


@pytest.mark.parametrize("file", ["version.py", "new.py"])
def test_a_changed_or_a_new_source_file_makes_a_checkout_dirty(package: Path, file: str) -> None:
    (package / file).write_text("2")
    assert module.checkout(package)["git_dirty"] == "True"


def test_a_package_that_is_no_part_of_a_checkout_tells_no_commit(package: Path) -> None:
    installed = package.parent / "site-packages"
    installed.mkdir()
    (installed / "version.py").write_text("1")
    assert module.checkout(installed) == {}
    assert module.checkout(package.parent.parent) == {}


def test_the_environment_is_read_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    module.environment.cache_clear()
    asked: list[object] = []
    monkeypatch.setattr(module, "checkout", lambda *_: asked.append(1) or {})
    told = module.environment()
    assert told["ae_sweep_version"] == __version__
    assert module.environment() == told
    assert len(asked) == 1
    module.environment.cache_clear()
