"""The commands that show what is stored import nothing that they do not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tracking_support as support
from commands import environment

from ae_sweep import tracking
from ae_sweep.records import Role

ROOT = Path(__file__).parent.parent
NOT_FOR_READING = {
    "torch", "torchvision", "optuna", "sklearn", "ray", "mlflow.pyfunc", "mlflow.sklearn",
    "mlflow.pytorch", "flask", "uvicorn", "jinja2", "constriction",
}  # fmt: skip
NOT_FOR_TEXT = NOT_FOR_READING | {"matplotlib", "PIL"}
PROGRAM = """
import sys
from ae_sweep.cli.app import main

unwanted, sys.argv = set(sys.argv[1].split()), ["ae-sweep", *sys.argv[2:]]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
assert "mlflow" in sys.modules, "the store was read"
sys.exit(f"imported: {sorted(unwanted & set(sys.modules))}" if unwanted & set(sys.modules) else 0)
"""


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [("list", NOT_FOR_TEXT), ("show", NOT_FOR_TEXT), ("frontier", NOT_FOR_READING)],
    ids=["list", "show", "frontier"],
)
def test_a_command_that_shows_what_is_stored_imports_nothing_heavy_beside_mlflow(
    tmp_path: Path, command: str, unwanted: set[str]
) -> None:
    store = tmp_path / "store"
    writer = tracking.open_for_writing(support.Store(store)).start_sweep(
        support.config("small", dims=(2, 4)), card=support.CARD, environment={}
    )
    for dim in (2, 4):
        trial = writer.start_trial(
            name=f"d={dim} trial 0",
            point=support.point(dim, lr=0.004),
            role=Role.SEARCH,
            parameters=support.PARAMETERS,
        )
        support.finish(trial, test_mse=0.08 / dim, compression_ratio=784 / dim)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(unwanted), command, "--store", str(store)],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
