"""Wall seconds and peak memory of a command.

The command's parent is a Python that has imported nothing: on Linux a process's peak begins with
its parent's memory, and that of a benchmark with torch in it would hide what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
AE_SWEEP = (sys.executable, str(ROOT / "cli.py"))
FOREIGN_VARIABLES = ("MLFLOW_TRACKING_URI", "AE_SWEEP_DEBUG")
"""They would send a measured sweep to another store, or change what it does."""


def timed(command: Sequence[str], *, cwd: Path | None = None) -> dict[str, float]:
    """Run a command; return ``seconds`` and ``peak_mb`` (10⁶ bytes).

    Raises
    ------
    RuntimeError
        If it fails, with what it wrote to stderr.
    """
    done = subprocess.run(
        [sys.executable, "-S", __file__, *command],
        cwd=cwd,
        env={key: text for key, text in os.environ.items() if key not in FOREIGN_VARIABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@contextlib.contextmanager
def own_variables() -> Iterator[None]:
    """Measure in this process as `timed` does in another: without foreign variables."""
    before = {key: os.environ.pop(key) for key in FOREIGN_VARIABLES if key in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _run(command: list[str]) -> int:
    started = time.perf_counter()
    status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak * unit / 1e6}))
    return status


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
