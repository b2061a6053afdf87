"""Text of messages: foreign text made safe to print, hints for misspelt names, durations."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


CREDENTIALS = (
    # https://user:password@host; `pathlib` makes one slash of two.
    (re.compile(r"(:/{1,2}[^/@:\s]*:)[^/@\s]*@"), r"\1***@"),
    # https://token@host: a web address has no other use for it.
    (re.compile(r"(\bhttps?:/{1,2})[^/@:\s]+@", re.IGNORECASE), r"\1***@"),
    # ?password=…, &X-Amz-Signature=…
    (
        re.compile(
            r"([?&][\w.-]*(?:passw|pwd|token|secret|sig|credential|(?:\b|[_.-]|api|access)key)"
            r"[\w.-]*=)[^&#\s]+?"
            r"(?=[&#\s]|['\"]?[;,.)]*(?:\s|$))",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)
"""Patterns of credentials in addresses, and what is shown instead."""


def redacted(text: str) -> str:
    """Return a text without the passwords, tokens and keys of the addresses in it."""
    if "@" in text or "=" in text:
        for pattern, shown in CREDENTIALS:
            text = pattern.sub(shown, text)
    return text


def shorten(text: str, limit: int = 60) -> str:
    """Quote ``text`` for a message: one line, visible characters, at most ``limit`` of them.

    Credentials of addresses in it are not shown.
    """
    quoted = ascii(redacted(text))
    return quoted if len(quoted) <= limit else f"{quoted[: limit - 5]}...' ({len(text)} characters)"


def visible(text: object, limit: int = 300) -> str:
    """Put foreign text on one line without control characters, at most ``limit`` characters long.

    Paths and the output of other programs may hold newlines, terminal codes and addresses with
    credentials; letters of any language are left as they are.
    """
    line = " ".join(redacted(str(text)).split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def unknown_name(what: str, name: str, names: Collection[str]) -> ConfigError:
    """Make the error for a name that is not among ``names``, with the nearest of them."""
    # A name is compared, not believed: difflib takes seconds on a very long one.
    near = difflib.get_close_matches(name[:100].lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"there is no {what} {shorten(name)}, only {', '.join(names)}{hint}")


def split_advice(message: object, limit: int = 600) -> tuple[str, str]:
    """Return what an error's message says happened, and what it advises; the latter may be empty.

    A message has its advice behind its last semicolon.
    """
    what, semicolon, advice = visible(message, limit).rpartition("; ")
    return (what, advice) if semicolon else (advice, "")


def in_words(seconds: float) -> str:
    """Write a duration: 8 s, 7 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things: 1 trial, 3 trials, 1,000 trials."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def times(sides: Iterable[int]) -> str:
    """Write the shape of an array: 60,000×28×28."""
    return "×".join(f"{side:,}" for side in sides) or "of a single value"


def ignore(_line: str) -> None:
    """Stand in for what announces lines, where nobody listens."""


def option_name(setting: str) -> str:
    """Return the option of a setting: ``--batch-size`` of ``batch_size``."""
    return f"--{setting.replace('_', '-')}"
