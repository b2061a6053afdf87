"""Runs docs/course.ipynb on the latest sweep in mlruns/ and keeps what it shows.

With ``--check`` nothing is kept: it says whether the notebook runs on the sweep in the current
directory's mlruns/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "course.ipynb"
CELL_SECONDS = 600


def main() -> None:
    """Run every cell in the current directory; a cell that raises ends the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="keep nothing")
    check = parser.parse_args().check
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": "."}}
    ).execute()
    if check:
        return
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # What a library says on stderr is about this machine, not about the sweep.
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
