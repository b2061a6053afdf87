"""A model's name with its setting, and the condition that one study measures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ae_sweep.errors import ConfigError


@dataclass(frozen=True)
class ModelSetting:
    """What only some models have, a VAE's beta or a tokenizer's codebook: one model for each value.

    It decides what is measured, as the latent dimension does, and so is not tuned away.
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
        return " ".join(f"{value:.12g}" for value in self.values)

    def models(self, name: str) -> tuple[str, ...]:
        """Return a model's name with each value, as in ``vae beta=0.1``."""
        return tuple(f"{name} {self.name}={value:.12g}" for value in self.values)


def model_family(model: str) -> str:
    """Return the name of a model in the registry: ``vae`` of ``vae beta=0.1``."""
    return model.partition(" ")[0]


def model_setting(model: str) -> tuple[str, str]:
    """Return the setting in a model's name: ``beta``, ``0.1`` of ``vae beta=0.1``; else empty."""
    name, _, value = model.partition(" ")[2].partition("=")
    return name, value


@dataclass(frozen=True)
class Condition:
    """What one study measures: a width of the bottleneck of a model."""

    latent_dim: int
    model: str
    """With its setting, if it has one: ``vae beta=0.1``."""

    @property
    def order(self) -> tuple[int, str, float]:
        """By what conditions are put in a row: latent_dim, then the setting as a number."""
        _, value = model_setting(self.model)
        try:
            return self.latent_dim, model_family(self.model), float(value or 0)
        except ValueError:
            return self.latent_dim, self.model, math.inf  # a store may hold anything

    def __str__(self) -> str:
        name, value = model_setting(self.model)
        return f"d={self.latent_dim} {name}={value}" if name else f"d={self.latent_dim}"
