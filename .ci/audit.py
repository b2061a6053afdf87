"""Look the installed packages up in the advisory database of PyPI, with pip-audit.

Where that service cannot be reached, which is so behind many mirrors of PyPI, nothing is audited:
this says so and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

IGNORED: Mapping[str, str] = {}
"""Advisories that do not apply here: identifier and reason."""
UNREACHABLE = re.compile(
    r"connect|timed? ?out|resolve|unreachable|refused|proxy|certificate|\b50\d\b|\b40[137]\b",
    re.IGNORECASE,
)
"""In what pip-audit says where it gets no answer."""


def main() -> None:
    """Run pip-audit and exit as its findings demand."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    ignored = [word for name in IGNORED for word in ("--ignore-vuln", name)]
    done = subprocess.run(
        [*command, "--skip-editable", *ignored], capture_output=True, text=True, check=False
    )
    text, code = verdict(done.stdout, done.stderr)
    print(text)
    sys.exit(code)


def verdict(found: str, said: str) -> tuple[str, int]:
    """Return what to print and the exit code.

    Parameters
    ----------
    found
        The JSON document of pip-audit; empty where it failed.
    said
        What it wrote to stderr.
    """
    try:
        packages = json.loads(found)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (said.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        if UNREACHABLE.search(said):
            return f"audit: nothing was audited, the advisory service did not answer: {last}", 0
        return f"audit: pip-audit failed: {last}", 1
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        text = (
            f"audit: nothing was audited, the advisory service knows none of {len(packages)} "
            "packages: it cannot be reached through this index"
        )
        return text, 0
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}"
        f"{_fixed(advisory.get('fix_versions'))}"
        for package in known
        for advisory in package["vulns"]
    ]
    lines += [f"ignored: {name}: {reason}" for name, reason in IGNORED.items()]
    unknown = sorted(package["name"] for package in packages if "skip_reason" in package)
    if unknown:
        lines.append(f"not audited, unknown to the service: {', '.join(unknown)}")
    affected = sum(bool(package["vulns"]) for package in known)
    lines.append(f"audit: {len(known)} packages audited, {affected} with advisories")
    return "\n".join(lines), int(affected > 0)


def _fixed(versions: list[str] | None) -> str:
    return f", fixed in {', '.join(versions)}" if versions else ", not fixed yet"


if __name__ == "__main__":
    main()
