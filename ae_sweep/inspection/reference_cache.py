"""Cache of references: what was measured once of a data set, in the user cache.

A file holds all settings that it depends on; one of other settings, or damaged, counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from ae_sweep.files import make_private, read_regular, write_atomically
from ae_sweep.inspection.curve_documents import curve_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ae_sweep.analysis.rate_curve import RateCurve

FOLDER = "references"
MAX_BYTES = 4 << 20
KEY_DIGITS = 16


def path_of(cache: Path, name: str, settings: Mapping[str, Any]) -> Path:
    """Return the file for a reference measured with these settings, JSON-able ones."""
    text = json.dumps(settings, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]
    return cache / FOLDER / f"{name}-{key}.json"


def recall(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was kept with these settings; None if there is nothing, or it is damaged."""
    try:
        found = json.loads(read_regular(path, most_bytes=MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("settings") != settings:
        return None
    document = found.get("document")
    return document if isinstance(document, dict) else None


def keep(path: Path, settings: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Keep a JSON-able result; a cache that cannot be written is no error.

    The file appears complete. Of two processes that measured the same, either may write it last.
    """
    content = json.dumps({"settings": settings, "document": document}, allow_nan=False)
    with contextlib.suppress(OSError):
        make_private(path.parent)
        write_atomically(path, content.encode())


def curves_from(documents: Sequence[Mapping[str, Any]]) -> tuple[RateCurve, ...]:
    """Read curves from what ``curve_document`` returned of each.

    Raises
    ------
    ValueError
        If one is something else.
    """
    return tuple(map(curve_from, documents))
