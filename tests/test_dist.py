"""Checks of the package that ``make dist`` builds: they refuse what they should."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT

from ae_sweep.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
ABOUT = "ae_sweep-1.2.dist-info"


@pytest.fixture(scope="module")
def dist() -> Any:
    """Load the program behind ``make dist``."""
    pytest.importorskip("readme_renderer", reason="the group dev is not installed")
    spec = importlib.util.spec_from_file_location("dist", ROOT / ".ci" / "dist.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _description() -> str:
    """Return the description of the metadata: the README after the project's substitutions."""
    text = README
    for each in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def _wheel(place: Path, changes: dict[str, str | None]) -> Path:
    """Write a wheel with the package's files; a change of None leaves a file out."""
    files: dict[str, str | None] = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in (ROOT / "ae_sweep").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    files |= {
        f"{ABOUT}/METADATA": f"Metadata-Version: 2.4\nName: ae-sweep\nVersion: {__version__}\n\n"
        + _description(),
        f"{ABOUT}/licenses/LICENSE": "MIT",
    }
    wheel = place / "ae_sweep-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | changes).items():
            if text is not None:
                archive.writestr(name, text)
    return wheel


def test_a_wheel_with_all_files_and_a_description_has_no_fault(tmp_path: Path, dist: Any) -> None:
    assert dist.wheel_faults(_wheel(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"ae_sweep/py.typed": None}, "lacks ae_sweep/py.typed"),
        ({"ae_sweep/report/page.html.jinja": None}, "lacks ae_sweep/report/page.html.jinja"),
        ({"tests/test_docs.py": ""}, "should not have tests/test_docs.py"),
        ({f"{ABOUT}/licenses/LICENSE": None}, "has no licence"),
        ({"ae_sweep/version.py": '__version__ = "9"\n'}, "its package 9"),
        ({f"{ABOUT}/METADATA": "Version: 1\n\n"}, "no description"),
        ({f"{ABOUT}/METADATA": "Version: 1\n\n![a](docs/b.png)"}, "links to ](docs/b.png)"),
    ],
    ids=str,
)
def test_an_incomplete_wheel_is_refused(
    tmp_path: Path, dist: Any, changes: dict[str, str | None], fault: str
) -> None:
    assert fault in " · ".join(dist.wheel_faults(_wheel(tmp_path, changes)))


def test_the_description_keeps_the_readmes_code_and_has_no_relative_link(dist: Any) -> None:
    code = re.compile(r"```.*?```", re.DOTALL)
    assert dist.RELATIVE_LINK.findall(README), "links of the repository, for its own pages"
    assert dist.description_faults(_description()) == []
    assert code.findall(_description()) == code.findall(README)


def test_the_version_has_one_source() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "ae_sweep/version.py"
    sources = [ROOT / "pyproject.toml", *ROOT.glob("ae_sweep/**/*.py"), *ROOT.glob("docs/*.py")]
    written = re.compile(rf"['\"]{re.escape(__version__)}['\"]")
    assert [path.name for path in sources if written.search(path.read_text())] == ["version.py"]
