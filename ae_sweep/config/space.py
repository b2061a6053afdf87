"""The search space of a study: the values that each hyperparameter may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ae_sweep.config.hyperparameters import PARAMETERS
from ae_sweep.config.values import Choices, Range, bounds
from ae_sweep.errors import ConfigError
from ae_sweep.messages import unknown_name

if TYPE_CHECKING:
    from ae_sweep.config.hyperparameters import Hyperparameters

Domain: TypeAlias = Choices[Any] | Range[Any]


@dataclass(frozen=True, init=False)
class SearchSpace:
    """The nuisance parameters, which each study tunes away.

    Parameters
    ----------
    domains
        Values by name of a hyperparameter; one that is left out is fixed at its default.
    """

    domains: tuple[tuple[str, Domain], ...]

    def __init__(self, **domains: Domain) -> None:
        for name in domains:
            if name not in PARAMETERS:
                raise unknown_name("hyperparameter", name, PARAMETERS)
        full = []
        for name, parameter in PARAMETERS.items():
            if name not in domains and parameter.default is None:
                raise ConfigError(f"the space lacks {parameter.words}; give its values")
            domain = domains.get(name) or Choices((parameter.default,))
            for value in bounds(domain):
                parameter.check(value)
            if isinstance(domain, Range) and parameter.scale == "log" and domain.low <= 0:
                raise ConfigError(
                    f"the range {domain} of {parameter.words} is log-uniform and must begin above "
                    "0; list 0 as one of several choices"
                )
            full.append((name, domain))
        object.__setattr__(self, "domains", tuple(full))

    def __getitem__(self, name: str) -> Domain:
        return dict(self.domains)[name]

    @property
    def written(self) -> dict[str, Domain]:
        """What identifies the space and what studies choose: all but what is at its default."""
        return {name: domain for name, domain in self.domains if not self.is_default(name)}

    def values_of(self, hyperparameters: Hyperparameters) -> dict[str, int | float]:
        """Return the values that a study of this space chooses, by name."""
        return {name: getattr(hyperparameters, name) for name in self.written}

    def is_default(self, name: str) -> bool:
        """Return whether a hyperparameter is fixed at its default."""
        default = PARAMETERS[name].default
        return default is not None and self[name] == Choices((default,))

    @property
    def max_epochs(self) -> int:
        """The longest training this space allows, in epochs."""
        return int(max(bounds(self["epochs"])))

    @property
    def size(self) -> int | None:
        """Number of distinct configurations; None where a parameter is a continuous range."""
        count = 1
        for name, domain in self.domains:
            if isinstance(domain, Choices):
                count *= len(domain.values)
            elif PARAMETERS[name].kind is int:
                count *= domain.high - domain.low + 1
            else:
                return None
        return count

    def __str__(self) -> str:
        return ", ".join(f"{PARAMETERS[name].words} {each}" for name, each in self.written.items())
