"""The part of ae-sweep's source that a logged model carries, so that it loads without ae-sweep."""

from __future__ import annotations

import functools
import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parent.parent
CARRIED = (
    "container.py", "errors.py", "messages.py", "threads.py", "config/model.py", "config/values.py",
    "models",
)  # fmt: skip
"""What `ae_sweep.models.serving` imports of the package, which has no other settings there."""
PACKAGES = ("", "config/")
"""Those of which only a part is carried; ``__init__.py`` of each would import the rest."""
OWN_IMPORT = re.compile(r"^(\s*(?:from|import) )ae_sweep\b", re.MULTILINE)
STAMP = (1980, 1, 1, 0, 0, 0)
"""The earliest date in a zip file: equal sources make equal files."""

LOADER = '''"""Load the model with the source of ae-sweep {version} in the zip file beside this."""

import sys
from pathlib import Path

SOURCE = str(Path(__file__).with_name("{name}.zip"))
if SOURCE not in sys.path:
    sys.path.append(SOURCE)

from {name}.models.serving import _load_pyfunc  # noqa: E402, F401
'''


class ModelSource(NamedTuple):
    """Files that lie in the directory ``code`` of a logged model."""

    loader_module: str
    """The module with ``_load_pyfunc``."""
    files: dict[str, bytes]
    """By name."""


@functools.cache
def model_source() -> ModelSource:
    """Return the source that a logged model carries; read once per process.

    The package in the zip file is named after its content: models of different versions load in one
    process, beside an installed ae-sweep as well, and none gets the code of another.
    """
    sources = dict(_sources())
    content = "".join(f"{path}\n{text}" for path, text in sources.items())
    name = f"ae_sweep_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in sources.items():
            renamed = OWN_IMPORT.sub(rf"\g<1>{name}", text)
            entry = zipfile.ZipInfo(f"{name}/{path}", STAMP)
            archive.writestr(entry, renamed, zipfile.ZIP_DEFLATED, compresslevel=9)
    loader = f"{name}_loader"
    return ModelSource(
        loader_module=loader,
        files={
            f"{name}.zip": packed.getvalue(),
            f"{loader}.py": LOADER.format(name=name, version=__version__).encode(),
        },
    )


def _sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        text = f'"""What ae-sweep {__version__} needs to load its models."""\n'
        yield f"{package}__init__.py", text
    for entry in CARRIED:
        path = PACKAGE / entry
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8")
