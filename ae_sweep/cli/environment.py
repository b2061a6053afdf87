"""Owns what is logged of the software that ran."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from ae_sweep.version import __version__

PACKAGES = ("torch", "numpy", "optuna", "mlflow", "safetensors")


def environment() -> dict[str, str]:
    """Tell versions by name, and the git commit of the source where it is a checkout."""
    versions = {f"{package}_version": metadata.version(package) for package in PACKAGES}
    told = {
        "ae_sweep_version": __version__,
        "python_version": platform.python_version(),
        **versions,
    }
    commit = _git_commit()
    return told | ({"git_commit": commit} if commit else {})


def _git_commit() -> str | None:
    package = Path(__file__).resolve().parent.parent
    # An installed package may lie inside another project's checkout: is this file git's?
    if _git(package, "ls-files", "--error-unmatch", "version.py") is None:
        return None
    return _git(package, "rev-parse", "HEAD")


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
