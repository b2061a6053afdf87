"""Options of a command that come from tables: hyperparameters and settings of models."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from ae_sweep.config import MODEL_SETTINGS, PARAMETERS
from ae_sweep.messages import option_name
from ae_sweep.runner.schedule import CHOSEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")


def with_table_options(
    tables: Mapping[str, Callable[[], list[inspect.Parameter]]],
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Give a command the options of tables, which it takes as ``**table_options``.

    Typer reads options from a signature; this one has the options of a table behind the parameter
    that the table's key names, so that ``--help`` shows them there.
    """

    def extend(command: Callable[P, None]) -> Callable[P, None]:
        own = inspect.signature(command, eval_str=True)
        parameters = []
        for parameter in own.parameters.values():
            if parameter.kind is not parameter.VAR_KEYWORD:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            if parameter.name in tables:
                parameters += tables[parameter.name]()
        command.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        return command

    return extend


def searched_options() -> list[inspect.Parameter]:
    """Return an option for each hyperparameter."""
    return [
        _option(
            name,
            metavar=each.metavar,
            text=f"{each.help} [default: {each.search}{_by_images(name)}]",
        )
        for name, each in PARAMETERS.items()
    ]


def _by_images(name: str) -> str:
    return "; of own images by their number" if name in CHOSEN else ""


def setting_options() -> list[inspect.Parameter]:
    """Return an option for each setting of a model."""
    return [
        _option(name, metavar=each.metavar, text=f"{each.help} [default: {each.default}]")
        for name, each in MODEL_SETTINGS.items()
    ]


def _option(name: str, *, metavar: str, text: str) -> inspect.Parameter:
    option = option_name(name)
    annotation = Annotated[list[str] | None, typer.Option(option, metavar=metavar, help=text)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
