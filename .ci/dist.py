"""Build wheel and sdist, check both, and run a small sweep from the wheel outside the checkout.

The wheel goes into a fresh environment. Its dependencies are gigabytes, so that environment reads
them from the one that runs this program; with ``--full`` pip installs them as it would for a user,
and the build gets an environment of its own too.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import math
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from readme_renderer.markdown import render

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGE = "ae_sweep"
RELATIVE_LINK = re.compile(r"\]\((?!https?://)[^)]*\)")
SOURCE_FILES = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore", "PKG-INFO"}
"""What the sdist holds beside the package; hatchling adds the last two."""
SWEEP = (
    "run", "--dataset", "shapes", "--train-limit", "256", "--dims", "2", "4", "--epochs", "1",
    "--trials", "1", "--name", "small",
)  # fmt: skip
FOREIGN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")


def main() -> None:
    """Run all steps; the first fault ends the program with one line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="install every dependency anew: minutes, gigabytes"
    )
    full: bool = parser.parse_args().full
    wheel, sdist = build(isolated=full)
    faults = [*wheel_faults(wheel), *sdist_faults(sdist)]
    if faults:
        sys.exit("\n".join(faults))
    with tempfile.TemporaryDirectory(prefix="ae-sweep-dist-") as place:
        programs = install(wheel, Path(place) / "environment", full=full)
        try_out(programs, Path(place))
    print(f"{wheel.relative_to(ROOT)} and {sdist.relative_to(ROOT)} can be published")


def build(*, isolated: bool) -> tuple[Path, Path]:
    """Build the sdist, and from it the wheel; check their metadata as a package index does."""
    for old in DIST.glob(f"{PACKAGE}-*"):
        old.unlink()
    isolation = [] if isolated else ["--no-isolation"]
    call(sys.executable, "-m", "build", *isolation, "--outdir", DIST, ROOT, cwd=ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    call(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist, cwd=ROOT)
    return wheel, sdist


def package_files() -> set[str]:
    """Return the files of the package in the checkout, relative to its root."""
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}


def wheel_faults(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel's files, version and description, a line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(about), policy=email.policy.compat32)
        inside = {name for name in names if ".dist-info/" not in name}
        licence = about.replace("METADATA", "licenses/LICENSE") in names
        version = read_version(archive.read(f"{PACKAGE}/version.py").decode())
    faults = difference(wheel.name, inside, package_files())
    if not licence:
        faults.append(f"{wheel.name} has no licence")
    if metadata["Version"] != version:
        faults.append(f"{wheel.name} has version {metadata['Version']}, its package {version}")
    return [*faults, *description_faults(metadata.get_payload())]


def sdist_faults(sdist: Path) -> list[str]:
    """Return what is wrong with the files of an sdist, a line each."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    return difference(sdist.name, names, package_files() | SOURCE_FILES)


def difference(archive: str, names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Compare the files of an archive with those it should have."""
    return [
        *(f"{archive} lacks {name}" for name in sorted({*wanted} - {*names})),
        *(f"{archive} should not have {name}" for name in sorted({*names} - {*wanted})),
    ]


def description_faults(description: object) -> list[str]:
    """Check that a package index can show a description, and that none of its links is broken."""
    if not isinstance(description, str) or not description.strip():
        return ["the metadata has no description"]
    faults = [f"the description links to {link}" for link in RELATIVE_LINK.findall(description)]
    if not render(description):
        faults.append("the description is not rendered")
    return faults


def read_version(module: str) -> str:
    """Read the version from the text of the package's version.py."""
    found = re.search(r'^__version__ = "(.+)"$', module, re.MULTILINE)
    if not found:
        sys.exit("version.py does not define __version__")
    return found[1]


def install(wheel: Path, environment: Path, *, full: bool) -> Path:
    """Install a wheel into a fresh environment; return the directory of its programs."""
    call(sys.executable, "-m", "venv", "--without-pip", environment, cwd=ROOT)
    programs = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(programs / "python")]
    call(*pip, "install", *([] if full else ["--no-deps", "--no-index"]), wheel, cwd=ROOT)
    if not full:
        # Files named .pth in a directory that is added like this are not read, so that the
        # editable installation of the checkout stays unknown.
        (packages,) = environment.glob("lib/python*/site-packages")
        dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (packages / "dependencies.pth").write_text("\n".join(dependencies))
    call(*pip, "check", cwd=ROOT)
    return programs


def try_out(programs: Path, place: Path) -> None:
    """Run a sweep, its frontier and its report in an empty directory, and check what they give."""
    work = place / "work"
    work.mkdir()
    found = call(
        programs / "python", "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)", cwd=work
    )
    if not Path(found.strip()).is_relative_to(programs.parent):
        sys.exit(f"the fresh environment imports {found.strip()}")
    call(programs / "ae-sweep", *SWEEP, cwd=work)
    curve = json.loads(
        call(programs / "ae-sweep", "frontier", "--out", "curve.png", "--json", cwd=work)
    )
    errors = {point["latent_dim"]: point["test_mse"] for point in curve["points"]}
    if set(errors) != {2, 4} or not all(math.isfinite(error) for error in errors.values()):
        sys.exit(f"the sweep's frontier is {errors}")
    if not (work / "curve.png").read_bytes().startswith(b"\x89PNG"):
        sys.exit("frontier did not write a PNG file")
    call(programs / "python", "-m", PACKAGE, "report", "--out", "report.html", cwd=work)
    page = (work / "report.html").read_text()
    if not page.lower().startswith("<!doctype html>") or "small" not in page:
        sys.exit("report did not write an HTML page of the sweep")


def call(*words: str | Path, cwd: Path) -> str:
    """Run a program and return its output; if it fails, exit with all that it wrote."""
    variables = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=variables | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
