"""Hyperparameters that studies search, described by one table for every place that names them.

A field of `Hyperparameters` is a row of the table: its metadata is the `Parameter` that command
line, studies, tracking, tables and report read.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ae_sweep.config.values import MAX_COUNT, check_count
from ae_sweep.errors import ConfigError
from ae_sweep.messages import counted, option_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

KINDS: Mapping[str, type[int] | type[float]] = {"int": int, "float": float}
GOOD_LR = 8e-3
"""A learning rate that trains every latent_dim well with the recipe (docs/LOG.md)."""
GOOD_LR_OF_RECIPE_2 = 4e-3
"""The same of the recipe before."""
ROW = "parameter"
"""Key of a row among the metadata of a field."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One searched parameter."""

    label: str
    """Heading of its column among the trials."""
    best_label: str
    """Heading of its column among the points of a frontier."""
    cell: str
    """Format of a value in a table."""
    phrase: Callable[[Any], str]
    """Writes a value in a sentence: ``lr 0.004``, ``2 epochs``."""
    help: str
    metavar: str
    examples: tuple[str, str]
    """Choices and a range as they are typed."""
    scale: Literal["log", "linear"]
    """How a range is searched."""
    good: float
    """The first trial of a study takes the value nearest to it."""
    check: Callable[[Any], None]
    """Raises `ConfigError` for an invalid value."""
    search: str = ""
    """What a sweep searches unless asked otherwise; a parameter with a default is fixed there."""
    nested: str = ""
    """The same with ``--method nested``."""
    name: str = ""
    """Name of the field, filled in by the table."""
    kind: type[int] | type[float] = float
    default: Any = None
    """Value where it is not searched. It is then left out of keys, identities and studies, so that
    stores that know nothing of the parameter stay what they are. None: it is always written."""

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return option_name(self.name)

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")


def check_lr(lr: float) -> None:
    """Refuse a learning rate that is not positive and finite.

    Raises
    ------
    ConfigError
        With the value.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise ConfigError(f"lr must be a positive finite number, got {lr:g}")


def check_weight_decay(decay: float) -> None:
    """Refuse a weight decay that is negative or infinite.

    Raises
    ------
    ConfigError
        With the value.
    """
    if not (math.isfinite(decay) and decay >= 0):
        raise ConfigError(f"weight decay must be a finite number, at least 0, got {decay:g}")


def row(**described: Any) -> dict[str, Parameter]:
    """Describe a field of `Hyperparameters`; the arguments are those of `Parameter`."""
    return {ROW: Parameter(**described)}


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What a study chooses for one training."""

    lr: float = field(
        metadata=row(
            label="lr",
            best_label="best lr",
            cell=".2e",
            phrase="lr {:.3g}".format,
            help="Peak learning rates to choose from, or a log-uniform range.",
            metavar="LR ... | LO:HI",
            examples=("1e-3 4e-3", "1e-3:1e-2"),
            scale="log",
            good=GOOD_LR,
            check=check_lr,
            search="1e-3:1e-2",
            nested="4e-3",
        )
    )
    """Peak learning rate."""
    epochs: int = field(
        metadata=row(
            label="Epochs",
            best_label="epochs",
            cell="d",
            phrase=lambda epochs: counted(epochs, "epoch"),
            help="Numbers of epochs to choose from, or a range.",
            metavar="N ... | LO:HI",
            examples=("2 4 8", "2:8"),
            scale="linear",
            good=MAX_COUNT,  # the more, the better
            check=lambda epochs: check_count("epochs", epochs),
            search="1:2",
            nested="4",
        )
    )
    """Passes over the training images."""
    batch_size: int = field(
        default=128,
        metadata=row(
            label="Batch",
            best_label="batch size",
            cell="d",
            phrase="batch size {}".format,
            help="Images per optimiser step: sizes to choose from, or a log-uniform range.",
            metavar="N ... | LO:HI",
            examples=("64 128 256", "32:512"),
            scale="log",
            good=128,
            check=lambda size: check_count("batch size", size),
        ),
    )
    """Images per optimiser step; what is left over at the end of an epoch is not used in it."""
    weight_decay: float = field(
        default=0.0,
        metadata=row(
            label="Decay",
            best_label="weight decay",
            cell=".2e",
            phrase="weight decay {:.3g}".format,
            help="Weight decays to choose from, or a log-uniform range; not of biases and norms.",
            metavar="W ... | LO:HI",
            examples=("0 0.01 0.1", "1e-3:1e-1"),
            scale="log",
            good=0.0,
            check=check_weight_decay,
        ),
    )
    """Share of a weight that is taken off in a step, per unit of learning rate."""

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            parameter.check(getattr(self, name))

    def __str__(self) -> str:
        return ", ".join(PARAMETERS[name].phrase(value) for name, value in self.written().items())

    def written(self) -> dict[str, int | float]:
        """Return the values that identify a training, by name: all but those at their default."""
        return {
            name: parameter.kind(getattr(self, name))
            for name, parameter in PARAMETERS.items()
            if parameter.default is None or getattr(self, name) != parameter.default
        }


def _table() -> dict[str, Parameter]:
    table = {}
    for each in dataclasses.fields(Hyperparameters):
        described: Parameter = each.metadata[ROW]
        default = None if each.default is dataclasses.MISSING else each.default
        table[each.name] = dataclasses.replace(
            described,
            name=each.name,
            kind=KINDS[str(each.type)],
            default=default,
            search=described.search or f"{default:g}",
            nested=described.nested or f"{default:g}",
        )
    return table


PARAMETERS: Mapping[str, Parameter] = _table()
"""Every searched parameter by name, in the order of tables."""


def written_parameters(several: Iterable[Hyperparameters]) -> list[Parameter]:
    """Return the parameters worth a column: those of which any value is not the default."""
    names = {name for each in several for name in each.written()}
    return [parameter for name, parameter in PARAMETERS.items() if name in names]
