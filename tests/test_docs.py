"""Docs say what the code does: commands parse, links resolve, the file map is the tree."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import FOREIGN_VARIABLES
from typer.testing import CliRunner

from ae_sweep.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")})


CLUSTER = (ROOT / "docs" / "cluster.md").read_text()


def _blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _commands() -> list[str]:
    blocks = [*_blocks("bash"), *_blocks("bash", CLUSTER)]
    lines = [
        line.partition("  #")[0].strip().removesuffix(" &")
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line.startswith("ae-sweep ")]


@pytest.mark.parametrize("command", _commands())
def test_every_command_in_the_pages_has_the_options_it_shows(command: str) -> None:
    words = shlex.split(command)[1:]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_in_a_page_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert targets, "both pages show how to begin"
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_file_map_is_the_tree() -> None:
    mapped = set(re.findall(r"^\| \[.*?\]\(([^)]+)\)", README, re.MULTILINE))
    mapped |= set(re.findall(r"\]\((ae_sweep/\w+\.py)\)", README))
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ae_sweep").iterdir()
        if path.name not in {"__init__.py", "__pycache__", "py.typed"}
    }
    top = {"cli.py", "tests", "benchmarks", "docs", "mlruns"}
    assert mapped == package | top


def test_the_top_level_holds_what_the_design_allows_and_nothing_else() -> None:
    allowed = {
        "pyproject.toml", "README.md", "ae_sweep", "cli.py", "mlruns", "tests", "Makefile",
        ".gitignore", ".ci", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md", "docs",
        "benchmarks",
    }  # fmt: skip
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {line.partition("/")[0] for line in listed.stdout.splitlines()} == allowed


def test_the_command_line_reference_is_what_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    # In this process, which has imported torch; `make docs-check` runs it as a program.
    for variable in FOREIGN_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    program = runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="generate")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    program["main"]()  # it exits with what is out of date


@pytest.mark.slow
def test_the_readmes_python_blocks_run_on_a_real_sweep(tmp_path: Path) -> None:
    in_five_lines, as_events, in_python, as_a_model = _blocks("python")
    assert len(in_five_lines.strip().splitlines()) <= 5
    shown = "\n".join(
        [
            in_five_lines,
            in_python.replace("load_sweep()", 'load_sweep("first")'),
            "assert len(trials) == len(curve) == 4 and x.shape == sweep.dataset.test_NCHW.shape",
            as_a_model,
            "assert rebuilt.shape == images.shape and latents.shape == (4, network.latent_dim)",
            as_events,
            "assert outcome == 'finished' and result.epoch == 1",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "frontier.png").stat().st_size > 10_000
