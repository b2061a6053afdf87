"""What a process imports is what it needs: a worker that trains waits for no analysis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands import run_new_python

ROOT = Path(__file__).parent.parent
NEEDED_ELSEWHERE = {"pandas", "scipy", "matplotlib", "mlflow", "optuna", "typer", "rich"}


@pytest.mark.slow
@pytest.mark.parametrize("module", ["ae_sweep.training", "ae_sweep.analysis"])
def test_what_trains_and_what_measures_imports_no_library_it_may_not_need(module: str) -> None:
    program = f"import sys, {module}; print(*{NEEDED_ELSEWHERE} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store a small sweep."""
    place = tmp_path_factory.mktemp("stored")
    words = ("--dims", "2", "4", "--dataset", "shapes", "--train-limit", "64", "--epochs", "1",
             "--trials", "1", "--model", "mlp")  # fmt: skip
    done = run_new_python(
        (sys.executable, str(ROOT / "cli.py")), "run", *words, cwd=place, changes={}
    )
    assert done.code == 0, done.err
    return place


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "needless"),
    [
        ("list", {"torch", "optuna", "matplotlib", "sklearn", "ray"}),
        ("show", {"torch", "optuna", "matplotlib", "sklearn", "ray"}),
        ("frontier", {"torch", "optuna", "ray"}),
    ],
)
def test_a_command_that_reads_imports_nothing_that_it_does_not_use(
    stored: Path, command: str, needless: set[str]
) -> None:
    program = (
        f"import sys; sys.argv = ['ae-sweep', {command!r}]\n"
        "from ae_sweep.cli.app import main\n"
        "try: main()\n"
        f"finally: print('imported', sorted({needless} & set(sys.modules)), file=sys.stderr)"
    )
    done = run_new_python((sys.executable, "-c", program), cwd=stored, changes={})
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "imported []"
