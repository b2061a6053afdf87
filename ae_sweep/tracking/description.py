"""Description of a sweep's run in MLflow's UI, as Markdown: results, settings, commands."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ae_sweep.config import as_flat_dict
from ae_sweep.messages import visible
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.config import SweepConfig
    from ae_sweep.records import DatasetCard

LAST_LINE = "*Written by ae-sweep at the start and the end of a sweep. Text below is kept.*"
"""What follows it in the UI is the user's own."""
SIGNS = re.compile(r"([\\`*_{}\[\]<>()#|~!&])")
"""What means something in Markdown."""
MOST_VALUE_CHARACTERS = 200
COMMANDS = re.compile(r"\*\*Commands\*\*\n\n(`{3,})sh\n.*?\n\1\n\n", re.DOTALL)
"""The paragraph of commands."""


def describe(
    config: SweepConfig,
    card: DatasetCard,
    *,
    commands: Mapping[str, str],
    table: Sequence[Mapping[str, object]] = (),
    findings: Sequence[str] = (),
    stored: str = "",
) -> str:
    """Write the description of a sweep, at most as long as MLflow's tag.

    Parameters
    ----------
    commands
        Purpose of a command → the command.
    table
        Rows of results with the same columns; empty before there are any. None and NaN are cells
        without a value. If they take too much room, the last ones are left out.
    findings
        Sentences.
    stored
        The description so far. What a user wrote below ours is kept, or all of it if none of it
        is ours.
    """
    _, ours, own = stored.partition(LAST_LINE)
    own = (own if ours else stored).strip()
    after = "\n\n".join(
        [
            *([_list(findings)] if findings else []),
            "**Settings**\n\n" + _settings(config, card),
            *(["**Commands**\n\n" + _fenced(commands)] if commands else []),
            LAST_LINE,
            *([own] if own else []),
        ]
    )
    room = names.MAX_TAG_CHARACTERS - len(after) - 2
    results = _results(table, room=room)
    # A user's text that leaves no room for ours stays alone.
    return f"{results}\n\n{after}" if len(results) <= room else stored


def without_commands(note: str) -> str:
    """Return a description without its commands, which are those of one store."""
    return COMMANDS.sub("", note, count=1)


def moved(note: str, *, commands: Mapping[str, str], was: str, name: str) -> str:
    """Return the description of a sweep of another store, with commands on the one it is in now.

    Parameters
    ----------
    note
        Without commands.
    commands
        Purpose → command.
    was, name
        The sweep's name there, and here.
    """
    before, ours, own = note.partition(LAST_LINE)
    if not ours:
        return note
    here = before.replace(_row(["name", _code(was)]), _row(["name", _code(name)]), 1)
    whole = f"{here}**Commands**\n\n{_fenced(commands)}\n\n{ours}{own}"
    return whole if len(whole) <= names.MAX_TAG_CHARACTERS else f"{here}{ours}{own}"


def _results(table: Sequence[Mapping[str, object]], *, room: int) -> str:
    if not table:
        return "No results yet: they appear here when the sweep ends."
    columns = list(table[0])
    lines = [_row(map(_escaped, columns)), _row("--:" for _ in columns)]
    lines += [_row(_number(row.get(column)) for column in columns) for row in table]
    whole = "\n".join(lines)
    if len(whole) <= room:
        return whole
    left_out = f"All {len(table)} rows are in {names.TABLE_CSV}, under Artifacts."
    kept = len(lines)
    while kept > 3 and sum(map(len, lines[:kept])) + kept + 2 + len(left_out) > room:
        kept -= 1
    return "\n".join([*lines[:kept], "", left_out])


def _settings(config: SweepConfig, card: DatasetCard) -> str:
    values = {
        **as_flat_dict(config),
        "images": f"{card.train_images:,} training, {card.val_images:,} validation, "
        f"{card.test_images:,} test",
        "source": card.source,
    }
    lines = [_row(["Setting", "Value"]), _row(["---", "---"])]
    lines += [
        _row([_escaped(key.replace("_", "-")), _code(text)])
        for key, text in values.items()
        if text != "None"
    ]
    return "\n".join(lines)


def _list(findings: Sequence[str]) -> str:
    return "\n".join(f"- {_escaped(each)}" for each in findings)


def _fenced(commands: Mapping[str, str]) -> str:
    lines = [line for purpose, command in commands.items() for line in (f"# {purpose}", command)]
    text = "\n".join(lines)
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else _escaped(str(value))


def _escaped(text: str) -> str:
    """Write foreign text so that Markdown shows it as it is."""
    return SIGNS.sub(r"\\\1", visible(text))


def _code(text: str) -> str:
    """Write foreign text as code, which Markdown does not interpret, in a cell of a table."""
    shown = visible(text, MOST_VALUE_CHARACTERS).replace("|", "\\|")
    if not shown:
        return "–"
    ticks = _longest_ticks(shown)
    if not ticks:
        return f"`{shown}`"
    fence = "`" * (ticks + 1)
    return f"{fence} {shown} {fence}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
