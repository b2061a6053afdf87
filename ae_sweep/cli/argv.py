"""Space-separated value lists: ``--dims 2 8 32`` is read as ``--dims 2 --dims 8 --dims 32``.

Typer's options take a fixed number of values, so a command repeats them before it parses its words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

NAME_LISTS = {"--classes", "--references"}
"""Lists of names, each one word: all words up to the next option belong to them."""
NEGATIVE_NUMBER = re.compile(r"-[\d.]")
NUMBERS = re.compile(r"[-+]?\.?\d[\d.e+-]*(:[\d.e+-]*)?", re.IGNORECASE)
"""A number or a range of numbers, right or wrong in its details: 8, 1e-3, 2:8."""


class ListCommand(TyperCommand):
    """A command whose repeatable options take space-separated lists, in shell completion too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command; ``ctx`` is the context of the Click that Typer uses."""
        lists = {name for each in self.params if _is_list(each) for name in each.opts}
        takes_names = any(each.param_type_name == "argument" for each in self.params)
        return super().parse_args(ctx, spread(args, lists, numbers_only=takes_names))


def spread(
    arguments: Sequence[str], lists: Collection[str], *, numbers_only: bool = False
) -> list[str]:
    """Repeat a list option before each of its values; all other words stay as they are.

    Parameters
    ----------
    arguments
        Words of one command.
    lists
        Names of the options that take a list, such as ``--dims``.
    numbers_only
        Whether a list ends at the first word that is not a number, because the command takes names
        as well: ``reconstruct --digits 3 8 NAME``. The first value always belongs to its option,
        and every word to a list of names: ``reconstruct NAME --classes cat dog``.
    """
    # Words behind "--" are names, whatever they begin with.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*_spread(arguments[:end], lists, numbers_only=numbers_only), *arguments[end:]]


def _spread(
    arguments: Sequence[str], lists: Collection[str], *, numbers_only: bool
) -> Iterator[str]:
    option: str | None = None
    empty = False  # whether that option has no value so far
    for word in arguments:
        name, equals, value = word.partition("=")
        ends_at_names = numbers_only and not empty and option not in NAME_LISTS
        if option and name not in lists and _is_value(word, ends_at_names):
            yield from _repeat(option, word)
            empty = False
            continue
        if option and empty:
            yield from _repeat(option, "")
        option, empty = (name, not equals) if name in lists else (None, False)
        if option is None:
            yield word
        elif equals:
            yield from _repeat(option, value)
    if option and empty:
        yield from _repeat(option, "")


def _repeat(option: str, value: str) -> Iterator[str]:
    # "2 8 32" in quotes is a list as well; an empty word stays one, to be refused by name. A name
    # may have spaces.
    for part in [value] if option in NAME_LISTS else value.split() or [""]:
        yield f"{option}={part}"


def _is_value(word: str, numbers_only: bool) -> bool:
    if numbers_only:
        return all(NUMBERS.fullmatch(part) for part in word.split())
    return not word.startswith("-") or bool(NEGATIVE_NUMBER.match(word))


def _is_list(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and bool(parameter.multiple)
