"""Sets of values a parameter may take, and checks of single numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from ae_sweep.errors import ConfigError

Number = TypeVar("Number", int, float)

MAX_SEED = 2**31 - 1

MAX_COUNT = 100_000
"""Of epochs, of trials and of repeats: more is a slip of the finger, and would fill the memory."""

MAX_PORT = 65_535


@dataclass(frozen=True)
class Choices(Generic[Number]):
    """A finite set of values to choose from; one value is fixed."""

    values: tuple[Number, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(map(_plain, self.values)))
        if not self.values:
            raise ConfigError("no values to choose from; give at least one")
        repeated = [value for value in self.values if self.values.count(value) > 1]
        if repeated:
            raise ConfigError(f"the choice {repeated[0]!r} is given twice; once is enough")

    def __str__(self) -> str:
        return " ".join(map(repr, self.values))


@dataclass(frozen=True)
class Range(Generic[Number]):
    """All values from ``low`` to ``high``, both included."""

    low: Number
    high: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _plain(self.low))
        object.__setattr__(self, "high", _plain(self.high))
        if not self.low < self.high:
            raise ConfigError(
                f"the range {self.low:g}:{self.high:g} is empty; write the smaller bound first"
            )

    def __str__(self) -> str:
        return f"{self.low!r}:{self.high!r}"


def _plain(number: Number) -> Number:
    """Return a number of numpy as Python's own, which prints as it is read."""
    item = getattr(number, "item", None)
    return number if item is None else item()


def check_count(what: str, count: int, *, least: int = 1, most: int | None = MAX_COUNT) -> None:
    """Refuse a number of things that is too small or too large.

    Raises
    ------
    ConfigError
        Below ``least`` or above ``most``.
    """
    if count < least:
        floor = f"be at least {least}" if least else "not be negative"
        raise ConfigError(f"{what} must {floor}, got {count}")
    if most is not None and count > most:
        raise ConfigError(f"{what} must be at most {most}, got {count}")


def check_port(port: int) -> None:
    """Refuse what is not a port number.

    Raises
    ------
    ConfigError
        With the range.
    """
    if not 1 <= port <= MAX_PORT:
        raise ConfigError(f"a port is from 1 to {MAX_PORT}, got {port}; choose one with --port")


def check_seed(seed: int) -> None:
    """Refuse a seed that is negative or does not fit into 31 bits.

    Raises
    ------
    ConfigError
        With the range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be from 0 to {MAX_SEED}, got {seed}")


def bounds(values: Choices[Number] | Range[Number]) -> tuple[Number, ...]:
    """Return every choice, or both ends of a range."""
    return values.values if isinstance(values, Choices) else (values.low, values.high)
