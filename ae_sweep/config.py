"""Owns the settings: frozen values that cannot be wrong once they exist."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, get_args

from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

Number = TypeVar("Number", int, float)
SamplerName = Literal["tpe", "random", "grid", "gp"]
PrunerName = Literal["median", "hyperband", "none"]
MethodName = Literal["separate", "nested"]

MAX_SEED = 2**31 - 1
MAX_COUNT = 100_000
"""Of epochs, of trials and of repeats: more is a slip of the finger, and would fill the memory."""
MAX_PORT = 65_535
MAY_GROW = ("dims", "beta", "codebook", "trials", "repeats")
"""Settings that may change under one name; all others tell whether it is the same sweep."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

PASSWORD_PATTERN = re.compile(r"(://[^/@:]*:)[^/@]*@")
"""In an address, as in ``https://user:password@host``."""


@dataclass(frozen=True)
class Choices(Generic[Number]):
    """A finite set of values to choose from; one value is fixed."""

    values: tuple[Number, ...]

    def __post_init__(self) -> None:
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
        if not self.low < self.high:
            raise ConfigError(
                f"the range {self.low:g}:{self.high:g} is empty; write the smaller bound first"
            )

    def __str__(self) -> str:
        return f"{self.low!r}:{self.high!r}"


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The nuisance parameters, which each study tunes away."""

    lr: Choices[float] | Range[float]
    """Peak learning rate; a range is log-uniform."""
    epochs: Choices[int] | Range[int]
    """Passes over the training images; a range is uniform over its integers."""

    def __post_init__(self) -> None:
        for lr in _bounds(self.lr):
            _check_lr(lr)
        for epochs in _bounds(self.epochs):
            check_count("epochs", epochs)

    @property
    def max_epochs(self) -> int:
        """The longest training this space allows, in epochs."""
        return max(_bounds(self.epochs))

    @property
    def size(self) -> int | None:
        """How many distinct (lr, epochs) there are; None where lr is a continuous range."""
        if isinstance(self.lr, Range):
            return None
        epochs = self.epochs
        counts = epochs.high - epochs.low + 1 if isinstance(epochs, Range) else len(epochs.values)
        return len(self.lr.values) * counts


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


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """All that decides the result of one training, given the data."""

    latent_dim: int
    """Width of the bottleneck: the scientific parameter."""
    lr: float
    """Peak learning rate."""
    epochs: int
    """Passes over the training images."""
    seed: int = 0
    """Seeds initial weights and the order of the images."""
    model: str = "conv"
    """A name of the model registry, with its setting if it has one: ``vae beta=0.1``."""

    def __post_init__(self) -> None:
        if self.latent_dim < 1:
            raise ConfigError(f"latent_dim must be at least 1, got {self.latent_dim}")
        check_count("epochs", self.epochs)
        _check_lr(self.lr)
        _check_seed(self.seed)

    @property
    def condition(self) -> Condition:
        """What its study measures."""
        return Condition(self.latent_dim, self.model)


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """One call of ``ae-sweep run``: a family of studies, one per condition."""

    name: str
    """Names the sweep in MLflow and Optuna."""
    dims: tuple[int, ...]
    """The latent dimensions to measure, ascending and distinct."""
    space: SearchSpace
    """What each study may choose from."""
    trials: int
    """Trials per study."""
    repeats: int = 0
    """How often the best configuration of each study is trained again, with other seeds."""
    seed: int = 0
    """Seeds suggestions and trainings."""
    dataset: str = "mnist"
    """A name of the data set registry."""
    train_limit: int | None = None
    """Train on this many images only; None takes all."""
    model: str = "conv"
    """A name of the model registry."""
    setting: ModelSetting | None = None
    """The values of what only this model has."""
    sampler: SamplerName = "tpe"
    """How a study chooses."""
    pruner: PrunerName = "median"
    """How a study stops what is not promising."""
    method: MethodName = "separate"
    """Whether each dim has trainings of its own, or one nested network is trained for all."""

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ConfigError(
                f"{shorten(self.name)} cannot name a sweep; use up to 100 letters, digits, '.', "
                "'_' and '-', and begin with a letter or a digit"
            )
        if not self.dims:
            raise ConfigError("dims is empty; give at least one latent dimension")
        for dim in self.dims:
            if dim < 1:
                raise ConfigError(f"a latent dimension must be at least 1, got {dim}")
        if list(self.dims) != sorted(set(self.dims)):
            raise ConfigError(f"dims must be ascending and distinct, got {self.dims}")
        check_count("trials", self.trials)
        check_count("repeats", self.repeats, least=0)
        if self.train_limit is not None:
            check_count("train-limit", self.train_limit, most=None)
        _check_seed(self.seed)
        if self.seed + self.repeats > MAX_SEED:
            raise ConfigError(
                f"seed {self.seed} leaves no room for the seeds of {self.repeats} repeats; "
                f"give at most {MAX_SEED - self.repeats}"
            )
        _check_one_of("sampler", self.sampler, get_args(SamplerName))
        _check_one_of("pruner", self.pruner, get_args(PrunerName))
        _check_one_of("method", self.method, get_args(MethodName))
        if self.method == "nested" and self.space.size != 1:
            raise ConfigError(
                "the nested method trains all dims at once, so that none can have an lr or epochs "
                f"of its own: got lr {self.space.lr} and epochs {self.space.epochs}; give one "
                "value each"
            )
        if self.sampler == "grid" and self.space.size is None:
            raise ConfigError(
                f"the grid sampler needs choices, and lr is the range {self.space.lr}; list the "
                "values (--lr 1e-3 4e-3) or take another sampler"
            )
        if self.sampler == "grid" and isinstance(self.space.epochs, Range):
            raise ConfigError(
                f"the grid sampler needs choices, and epochs is the range {self.space.epochs}; "
                "list the values (--epochs 2 4 8) or take another sampler"
            )

    @property
    def models(self) -> tuple[str, ...]:
        """The model with each value of its setting."""
        return (self.model,) if self.setting is None else self.setting.models(self.model)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the studies measure, one each: every dim of every model."""
        return tuple(Condition(dim, model) for dim in self.dims for model in self.models)

    @property
    def wanted_trials(self) -> int:
        """Trials per study that can be had: no more than there are distinct configurations."""
        size = self.space.size
        if size is None:
            return self.trials
        return size if self.sampler == "grid" else min(self.trials, size)

    def identity(self) -> dict[str, str]:
        """Return what may not change under one name, as texts."""
        flat = as_flat_dict(self)
        return {key: text for key, text in flat.items() if key not in ("name", *MAY_GROW)}


@dataclass(frozen=True)
class Store:
    """Where a sweep is kept; all paths are absolute."""

    root: Path
    """The directory that holds the three parts."""
    tracking_override: str | None = None
    """A tracking URI of the user's own, instead of the SQLite file under ``root``."""

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ConfigError(f"the store must be an absolute path, got {self.root}")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_override or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def told_tracking_uri(self) -> str:
        """MLflow's tracking URI as it may be shown: a password in it is not."""
        return PASSWORD_PATTERN.sub(r"\1***@", self.tracking_uri)

    @property
    def runs_place(self) -> str:
        """Where the runs are, to be told: ``root``, or the user's own tracking URI."""
        return self.told_tracking_uri if self.tracking_override else str(self.root)

    @property
    def artifact_root(self) -> Path | None:
        """Where MLflow keeps artifacts; None where the user's own tracking server decides."""
        return None if self.tracking_override else self.root / "artifacts"

    @property
    def optuna_path(self) -> Path:
        """Optuna's SQLite file."""
        return self.root / "optuna.db"


def shorten(text: str, limit: int = 60) -> str:
    """Quote ``text`` for a message: one line, visible characters, at most ``limit`` of them."""
    quoted = ascii(text)
    return quoted if len(quoted) <= limit else f"{quoted[: limit - 5]}...' ({len(text)} characters)"


def visible(text: object, limit: int = 300) -> str:
    """Put foreign text on one line without control characters, at most ``limit`` characters long.

    Paths and the output of other programs may hold newlines and terminal codes; letters of any
    language are left as they are.
    """
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def unknown_name(what: str, name: str, names: Collection[str]) -> ConfigError:
    """Make the error for a name that is not among ``names``, with the nearest of them."""
    # A name is compared, not believed: difflib takes seconds on a very long one.
    near = difflib.get_close_matches(name[:100].lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"there is no {what} {shorten(name)}, only {', '.join(names)}{hint}")


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
    """Refuse what is no number of a port.

    Raises
    ------
    ConfigError
        With the range.
    """
    if not 1 <= port <= MAX_PORT:
        raise ConfigError(f"a port is from 1 to {MAX_PORT}, got {port}; choose one with --port")


def changed_settings(stored: Mapping[str, object], wanted: Mapping[str, str]) -> list[str]:
    """Say, by option, which of the wanted settings are stored otherwise.

    Parameters
    ----------
    stored
        A sweep's identity as it was written once: names may begin with ``space_``, and values need
        not be texts, as in stores of version 0.1.0.
    wanted
        Its identity now.
    """
    was = {key.removeprefix("space_"): str(value) for key, value in stored.items()}
    was.setdefault("method", "separate")  # stores of version 0.1.0 knew no other
    return [
        f"{key.replace('_', '-')} is {_said(was.get(key))}, not {_said(text)}"
        for key, text in sorted(wanted.items())
        if was.get(key) != text
    ]


def digest(content: object) -> str:
    """Hash a JSON-able value to 16 hexadecimal digits, the same in every process."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def as_flat_dict(config: SweepConfig) -> dict[str, str]:
    """Return a sweep's whole configuration as parameter names and texts."""
    flat = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    flat.pop("space")
    setting: ModelSetting | None = flat.pop("setting")
    if setting is not None:
        flat[setting.name] = setting
    flat |= {"lr": config.space.lr, "epochs": config.space.epochs}
    flat["dims"] = " ".join(map(str, config.dims))
    return {key: str(value) for key, value in flat.items()}


def _bounds(values: Choices[Number] | Range[Number]) -> tuple[Number, ...]:
    return values.values if isinstance(values, Choices) else (values.low, values.high)


def _said(text: str | None) -> str:
    return "not given" if text in (None, "None") else str(text)


def _check_lr(lr: float) -> None:
    if not (math.isfinite(lr) and lr > 0):
        raise ConfigError(f"lr must be a positive finite number, got {lr:g}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed must be from 0 to {MAX_SEED}, got {seed}")


def _check_one_of(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise unknown_name(what, name, names)
