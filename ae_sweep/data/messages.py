"""Owns how foreign text is shown in messages: one line, visible characters, bounded."""

from __future__ import annotations


def visible(text: object, limit: int = 300) -> str:
    """Put ``text`` on one line without control characters, at most ``limit`` characters long.

    Paths and the output of other programs may hold newlines and terminal codes; letters of any
    language are left as they are.
    """
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
