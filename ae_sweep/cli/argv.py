"""Owns the spelling of value lists: ``--dims 2 8 32`` becomes ``--dims 2 --dims 8 --dims 32``.

Typer's options take a fixed number of values, so lists are spread before it sees them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIST_OPTIONS = ("--dims", "--lr", "--epochs", "--beta", "--codebook", "--digits")
NEGATIVE_NUMBER = re.compile(r"-[\d.]")


def spread(arguments: Sequence[str]) -> list[str]:
    """Repeat a list option before each of its values; all other words stay as they are."""
    return list(_spread(arguments))


def _spread(arguments: Sequence[str]) -> Iterator[str]:
    option: str | None = None
    pending = False  # a list option that has not met its first value
    for word in arguments:
        name, equals, value = word.partition("=")
        if name in LIST_OPTIONS:
            if pending and option:
                yield from _repeat(option, "")
            option, pending = name, not equals
            if equals:
                yield from _repeat(name, value)
        elif option and _is_value(word):
            yield from _repeat(option, word)
            pending = False
        else:
            if pending and option:
                yield from _repeat(option, "")
            option, pending = None, False
            yield word
    if pending and option:
        yield from _repeat(option, "")


def _repeat(option: str, value: str) -> Iterator[str]:
    # "2 8 32" in quotes is a list as well; an empty word stays one, to be refused by name.
    for part in value.split() or [""]:
        yield f"{option}={part}"


def _is_value(word: str) -> bool:
    return not word.startswith("-") or bool(NEGATIVE_NUMBER.match(word))
