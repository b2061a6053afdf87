"""Options of a command that come from tables: one for each searched parameter."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from ae_sweep.config import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def with_table_options(*, after: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Give a command the options of the tables, which it takes as ``**table_options``.

    Typer reads options from a signature; this one has the tables' options behind the parameter
    ``after``, so that ``--help`` shows them there.
    """

    def extend(command: Callable[P, None]) -> Callable[P, None]:
        own = inspect.signature(command, eval_str=True)
        parameters = []
        for parameter in own.parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            if parameter.name == after:
                parameters += _searched()
        command.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        return command

    return extend


def _searched() -> list[inspect.Parameter]:
    return [
        _option(
            name,
            parameter.option,
            metavar=parameter.metavar,
            text=f"{parameter.help} [default: {parameter.search}]",
        )
        for name, parameter in PARAMETERS.items()
    ]


def _option(name: str, option: str, *, metavar: str, text: str) -> inspect.Parameter:
    annotation = Annotated[list[str] | None, typer.Option(option, metavar=metavar, help=text)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
