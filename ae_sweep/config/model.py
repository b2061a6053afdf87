"""A model with its settings, their options, and the condition that one study measures."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class ModelSpec:
    """A model of the registry with any number of settings; prints as ``vae beta=0.1``."""

    family: str
    """Its name in the registry."""
    settings: tuple[tuple[str, float], ...] = ()
    """Names and values, in the order of the model's definition."""

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Read the printed form.

        Raises
        ------
        ConfigError
            If a word after the family is not a name, an equals sign and a number.
        """
        family, *words = text.split(" ")
        return cls(family, tuple(_setting(family, word) for word in words))

    def __str__(self) -> str:
        words = (f"{name}={setting_text(value)}" for name, value in self.settings)
        return " ".join([self.family, *words])


def setting_text(value: float) -> str:
    """Write a setting's value as it stands in a model's name."""
    return f"{value:.12g}"


def _setting(family: str, word: str) -> tuple[str, float]:
    name, equals, value = word.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = None
    if not (name and equals) or number is None:
        raise ConfigError(f"the model {family!r} has no setting {shorten(word)}")
    return name, number


@dataclass(frozen=True)
class ModelSetting:
    """A setting that only some models have, with its values in a sweep: one model for each.

    A VAE's beta or a tokenizer's codebook. It decides what is measured, as the latent dimension
    does, and so is not tuned away.
    """

    name: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"{self.name} is empty; give at least one value")
        for value in self.values:
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{self.name} must be a finite number, at least 0, got {value:g}")
        if list(self.values) != sorted(set(self.values)):
            raise ConfigError(f"{self.name} must be ascending and distinct, got {self}")

    def __str__(self) -> str:
        return " ".join(map(setting_text, self.values))


def all_models(family: str, settings: Sequence[ModelSetting]) -> tuple[str, ...]:
    """Return a model's name with each combination of its settings' values."""
    names = [setting.name for setting in settings]
    combinations = itertools.product(*(setting.values for setting in settings))
    return tuple(
        str(ModelSpec(family, tuple(zip(names, values, strict=True)))) for values in combinations
    )


@dataclass(frozen=True, kw_only=True)
class SettingOption:
    """How a model's setting is given to a sweep."""

    kind: type[int] | type[float]
    symbol: str
    """As figures write it."""
    metavar: str
    help: str
    default: str
    """As ``--help`` shows it; the model's definition decides."""
    examples: tuple[str, ...]
    """Values as they are typed, and a range if one may be given."""
    range_values: int | None = None
    """Number of values, of equal ratios, that a range ``LO:HI`` stands for; None: no range."""


MODEL_SETTINGS: Mapping[str, SettingOption] = {
    "beta": SettingOption(
        kind=float,
        symbol="β",
        metavar="B ... | LO:HI",
        help="Of vae: weights of the rate (KL divergence), one study each for every dim; of a "
        "range, five.",
        default="0.1",
        examples=("0.01 0.1 1", "0.001:1"),
        range_values=5,
    ),
    "codebook": SettingOption(
        kind=int,
        symbol="K",
        metavar="K ...",
        help="Of vqvae and fsq: how many different tokens there are, one study each for every "
        "dim, which is the number of tokens.",
        default="256",
        examples=("16 256",),
    ),
    "lmbda": SettingOption(
        kind=float,
        symbol="λ",
        metavar="L ... | LO:HI",
        help="Of ntc: squared errors of an image (pixels in [0, 1]) that are worth a bit, one "
        "study each for every dim, which gives a point of the curve; of a range, five.",
        default="0.1",
        examples=("0.05 0.1 0.2", "0.5:8"),
        range_values=5,
    ),
}
"""Settings of models by name, each an option of its own; several models may share one."""


def model_family(model: str) -> str:
    """Return the name of a model in the registry: ``vae`` of ``vae beta=0.1``."""
    return model.partition(" ")[0]


def with_symbols(text: str) -> str:
    """Return a model or a condition as figures write it: ``d=8 β=0.1`` of ``d=8 beta=0.1``."""
    return " ".join(map(_with_symbol, text.split(" ")))


def _with_symbol(word: str) -> str:
    name, equals, value = word.partition("=")
    known = MODEL_SETTINGS.get(name) if equals else None
    return word if known is None else f"{known.symbol}={value}"


def model_settings(model: str) -> dict[str, float]:
    """Return the settings in a model's name; none where they cannot be read."""
    try:
        return dict(ModelSpec.parse(model).settings)
    except ConfigError:  # a store may hold anything
        return {}


@dataclass(frozen=True)
class Condition:
    """What one study measures: a width of the bottleneck of a model."""

    latent_dim: int
    model: str
    """With its settings, if it has any: ``vae beta=0.1``."""

    @property
    def order(self) -> tuple[int, str, tuple[float, ...]]:
        """Sort key of conditions: latent_dim, then the settings as numbers."""
        values = tuple(model_settings(self.model).values())
        return self.latent_dim, model_family(self.model) if values else self.model, values

    def __str__(self) -> str:
        settings = self.model.partition(" ")[2]
        return f"d={self.latent_dim} {settings}" if settings else f"d={self.latent_dim}"
