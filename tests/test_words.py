"""Texts are in plain English: no ritual first word, no words that are only used here.

``CLEAN`` lists what has been revised; what is added to it stays so.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLEAN = (
    ".ci", "ae_sweep", "CONTRIBUTING.md", "README.md", "SECURITY.md", "docs/concepts.md",
    "docs/extending.md", "docs/generate.py", "docs/own-images.md", "docs/rate-distortion.md",
    "docs/testing.md",
)  # fmt: skip
"""Directories and files, to be extended to all but the log, the decisions and the changelog."""
NOT_A_DESCRIPTION = re.compile(r"Owns\b")
UNUSUAL = re.compile(
    r"\b(?:tells?|told|telling|fore(?:tell|told)|so many|to be had|what it is called"
    r"|(?:is|are) no (?:number|file|path|directory|whole|finite|power|bit rate)"
    r"|(?<!there )(?:is|are) no (?:export|list|JSON|regular|candidate|codec))\b",
    re.IGNORECASE,
)
ORDINARY = re.compile(r"[Tt]ell (?:apart|classes apart)")
"""Idioms in which such a word is the usual one."""


def _files() -> list[Path]:
    places = [ROOT / place for place in CLEAN]
    return [
        file
        for place in places
        for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])
    ]


def _texts(source: str) -> Iterator[str]:
    """Yield the comments and the literal texts of a Python file, docstrings among them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield " ".join(node.value.split())


def _unusual(text: str) -> list[str]:
    return UNUSUAL.findall(ORDINARY.sub("", " ".join(text.split())))


def test_every_file_of_the_list_exists() -> None:
    assert len(_files()) > 50
    assert all(file.is_file() for file in _files())


@pytest.mark.parametrize("file", _files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_revised_text_is_in_plain_english(file: Path) -> None:
    source = file.read_text()
    if file.suffix != ".py":
        assert _unusual(source) == []
        return
    assert [found for text in _texts(source) for found in _unusual(text)] == []
    described = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    assert [text for text in described if NOT_A_DESCRIPTION.match(text)] == []


@pytest.mark.parametrize(
    "text", ["Tell the version.", "which is no number", "what is told", "the first so\nmany"]
)
def test_an_unusual_text_is_found(text: str) -> None:
    assert _unusual(text)
    assert NOT_A_DESCRIPTION.match("Owns the fit.")
