"""The notebook of the docs runs, and shows what a real sweep gave."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from commands import SECONDS
from conftest import ROOT, environment
from nbclient import NotebookClient

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Sweep

NOTEBOOK = ROOT / "docs" / "course.ipynb"


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_shows_results_without_errors() -> None:
    outputs = [output for cell in code_cells() for output in cell["outputs"]]
    assert all(cell["execution_count"] for cell in code_cells())
    kinds = [output["output_type"] for output in outputs]
    assert "error" not in kinds
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 4
    assert NOTEBOOK.stat().st_size < 1_000_000


@pytest.mark.slow
def test_a_cell_runs_a_sweep_and_shows_its_frontier(tmp_path: Path) -> None:
    cell = """import ae_sweep

sweep = ae_sweep.run_sweep("one", dims=2, dataset="shapes", train_limit=256, trials=1, epochs=1)
sweep.frontier_figure()"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    outputs = notebook.cells[0].outputs
    assert [out for out in outputs if "image/png" in out.get("data", {})]
    progress = "".join(out.text for out in outputs if out.get("name") == "stderr")
    assert "one: 1 to train" in progress


@pytest.mark.slow
def test_the_notebook_runs_on_a_sweep(real_sweep: Sweep, tmp_path: Path) -> None:
    (tmp_path / "mlruns").symlink_to(real_sweep.store)
    before = NOTEBOOK.read_bytes()
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "execute.py"), "--check"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert NOTEBOOK.read_bytes() == before
