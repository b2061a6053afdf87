"""Software versions and git commit, as logged with every sweep and trial."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from ae_sweep.version import __version__

PACKAGES = ("torch", "numpy", "optuna", "mlflow", "safetensors")


@functools.cache
def environment() -> dict[str, str]:
    """Return versions by name, and the git commit of the source where it is a checkout.

    ``git_dirty`` says whether the source differs from that commit, new files included. Read once a
    process, so that a sweep and all its trials log the same.
    """
    packages = {f"{package}_version": metadata.version(package) for package in PACKAGES}
    versions = {
        "ae_sweep_version": __version__,
        "python_version": platform.python_version(),
        **packages,
    }
    return versions | checkout(Path(__file__).resolve().parent.parent)


def checkout(package: Path) -> dict[str, str]:
    """Return the git commit of a package's directory; nothing where it is not in a checkout."""
    # An installed package may lie inside another project's checkout: is this file git's?
    if _git(package, "ls-files", "--error-unmatch", "version.py") is None:
        return {}
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    found = {"git_commit": commit, "git_dirty": None if changes is None else str(bool(changes))}
    return {key: text for key, text in found.items() if text is not None}


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
