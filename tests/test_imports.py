"""What a process imports is what it needs: a worker that trains waits for no analysis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
