"""Parsing of settings from texts: numbers, lists of choices and ranges."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ae_sweep.config import AUTO, Choices, ModelSetting, Range, half_octaves
from ae_sweep.errors import ConfigError
from ae_sweep.messages import option_name, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.config import Domain, Parameter, SettingOption

Number = TypeVar("Number", int, float)

MAX_WORKERS = 64
MAX_SEATS = 10_000
"""Of a cluster."""


def parse_dims(texts: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read latent dimensions; return them ascending, and those that were given repeatedly.

    Raises
    ------
    ConfigError
        If one is not a whole number, or none is given.
    """
    if not texts:
        raise ConfigError("--dims is empty; give at least one latent dimension, as in --dims 2 8")
    dims = [_number(text, int, "--dims", "a whole number, as in --dims 2 8 32") for text in texts]
    repeated = {dim for dim in dims if dims.count(dim) > 1}
    return tuple(sorted(set(dims))), tuple(sorted(repeated))


class SweepDims(NamedTuple):
    """Latent dimensions of a sweep."""

    dims: tuple[int, ...]
    """Ascending; the grid where they are chosen. Empty for the word auto alone."""
    repeated: tuple[int, ...]
    """Those that were given more than once."""
    auto: bool
    """Whether they are chosen among these while the sweep runs."""


def parse_sweep_dims(texts: Sequence[str]) -> SweepDims:
    """Read the dims of a sweep: numbers, or ``auto``, alone or before a range or numbers.

    A range stands for the half octaves in it.

    Raises
    ------
    ConfigError
        If one is not a whole number, or none is given, or a range is reversed or not alone.
    """
    if not texts or texts[0] != AUTO:
        return SweepDims(*parse_dims(texts), auto=False)
    grid = texts[1:]
    if not grid:
        return SweepDims((), (), auto=True)
    if not any(":" in text for text in grid):
        return SweepDims(*parse_dims(grid), auto=True)
    form = "a whole number or a range, as in --dims auto 1:1024 or --dims auto 1 2 4 8 16"
    domain = _parse(grid, int, f"--dims {AUTO}", form)
    assert isinstance(domain, Range), "there is a colon"  # noqa: S101
    return SweepDims(half_octaves(domain.low, domain.high), (), auto=True)


def parse_domain(parameter: Parameter, texts: Sequence[str]) -> Domain:
    """Read the values of a hyperparameter: choices, or one range ``LO:HI``.

    Raises
    ------
    ConfigError
        If one is not a number of its kind, or a range is reversed or mixed with choices.
    """
    option, (choices, span) = parameter.option, parameter.examples
    number = "a whole number" if parameter.kind is int else "a number"
    form = f"{number} or a range, as in {option} {choices} or {option} {span}"
    return _parse(texts, parameter.kind, option, form)


def parse_setting(name: str, option: SettingOption, texts: Sequence[str]) -> ModelSetting:
    """Read the values of a model's setting; a range stands for values of equal ratios.

    Raises
    ------
    ConfigError
        If one is not a number of its kind, or a range is reversed, mixed with other values or
        begins at 0.
    """
    typed = option_name(name)
    number = "a whole number" if option.kind is int else "a number"
    shown = " or ".join(f"{typed} {example}" for example in option.examples)
    if not option.range_values:
        form = f"{number}, as in {shown}"
        numbers = {_number(text, option.kind, typed, form) for text in texts}
        # By way of a text, which may be too long for a float: that is infinite then, and refused.
        return ModelSetting(name, tuple(float(str(each)) for each in sorted(numbers)))
    domain = _parse(texts, option.kind, typed, f"{number} or a range, as in {shown}")
    if isinstance(domain, Choices):
        return ModelSetting(name, tuple(map(float, domain.values)))
    if domain.low <= 0:
        raise ConfigError(f"{typed} {domain} has values of equal ratios, and must begin above 0")
    return ModelSetting(name, _spread(domain, option.range_values))


def _spread(domain: Range[int] | Range[float], count: int) -> tuple[float, ...]:
    """Return values of equal ratios, ends included, written short where that keeps them apart."""
    ratio = (domain.high / domain.low) ** (1 / (count - 1))
    exact = [domain.low * ratio**step for step in range(1, count - 1)]
    short = [float(f"{value:.3g}") for value in exact]
    ascending = all(before < after for before, after in pairwise([domain.low, *short, domain.high]))
    return (domain.low, *(short if ascending else exact), domain.high)


def some_dims(texts: Sequence[str] | None) -> tuple[int, ...] | None:
    """Read the latent dimensions to inspect; None where all are meant.

    Raises
    ------
    ConfigError
        If one is not a whole number.
    """
    return parse_dims(texts)[0] if texts else None


def parse_workers(text: str | None, *, on_cluster: bool = False) -> int | None:
    """Read a number of workers; None is ``auto``.

    Parameters
    ----------
    text
        None takes the default: one on this machine, all that there is room for on a cluster.
    on_cluster
        Whether they are seats of a cluster, of which there may be many.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if text is None:
        text = "auto" if on_cluster else "1"
    most = MAX_SEATS if on_cluster else MAX_WORKERS
    if text == "auto":
        return None
    form = f"a whole number from 1 to {most}, or auto"
    workers = _number(text, int, "--workers", form)
    if not 1 <= workers <= most:
        raise ConfigError(f"--workers {shorten(text)} is not {form}")
    return workers


def _parse(
    texts: Sequence[str], kind: Callable[[str], Number], option: str, form: str
) -> Choices[Number] | Range[Number]:
    if not texts:
        raise ConfigError(f"{option} is empty; give {form}")
    ranges = [text for text in texts if ":" in text]
    if not ranges:
        values = {_number(text, kind, option, form) for text in texts}
        return Choices(tuple(sorted(values)))
    if len(texts) > 1:
        raise ConfigError(
            f"{option} {' '.join(texts)} mixes a range with other values; give one range, "
            "or choices only"
        )
    low, _, high = ranges[0].partition(":")
    return Range(_number(low, kind, option, form), _number(high, kind, option, form))


def _number(text: str, kind: Callable[[str], Number], option: str, form: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"{option} {shorten(text)} is not {form}") from None
