"""Configuration of a trial and of a sweep, as frozen values that are checked when they are made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ae_sweep.config.dims import AUTO, AUTO_SETTINGS, LEAST_GRID, AutoDims, first_dims
from ae_sweep.config.hyperparameters import PARAMETERS, Hyperparameters
from ae_sweep.config.images import MEMORY_PREFIX, ImageOptions, check_no_options
from ae_sweep.config.model import Condition, ModelSetting, all_models
from ae_sweep.config.values import MAX_SEED, Range, check_count, check_seed
from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ae_sweep.config.space import SearchSpace

SamplerName = Literal["tpe", "random", "grid", "gp"]

PrunerName = Literal["median", "hyperband", "none"]

MethodName = Literal["separate", "nested"]

MAY_GROW = ("dims", "trials", "repeats", "retries", *AUTO_SETTINGS)
"""What may change under one name, with the values of the model's settings; all others decide
whether it is the same sweep."""

DEFAULT_RETRIES = 2

RecipeVersion = Literal["2", "3"]
CURRENT_RECIPE: RecipeVersion = "3"
UNWRITTEN_RECIPE: RecipeVersion = "2"
"""Of sweeps that were stored when there was no other."""

MEMORY_NAME = "array"
"""Names such images where results are shown."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """All that decides the result of one training, given the data."""

    latent_dim: int
    """Width of the bottleneck: the scientific parameter."""
    hyperparameters: Hyperparameters
    """The nuisance parameters."""
    seed: int = 0
    """Seeds initial weights and the order of the images."""
    model: str = "conv"
    """A name of the model registry, with its settings if it has any: ``vae beta=0.1``."""
    recipe: RecipeVersion = CURRENT_RECIPE
    """How it is trained, apart from all this."""

    def __post_init__(self) -> None:
        if self.latent_dim < 1:
            raise ConfigError(f"latent_dim must be at least 1, got {self.latent_dim}")
        check_seed(self.seed)

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
    """The latent dimensions to measure, ascending and distinct; with ``auto``, the grid of those
    that may be."""
    space: SearchSpace
    """What each study may choose from."""
    trials: int
    """Trials per study."""
    repeats: int = 0
    """How often the best configuration of each study is trained again, with other seeds."""
    retries: int = DEFAULT_RETRIES
    """How often a resumed sweep tries a trial again that has failed."""
    seed: int = 0
    """Seeds suggestions and trainings."""
    dataset: str = "mnist"
    """A name of the data set registry, or the absolute path of the user's own images."""
    images: ImageOptions = field(default_factory=ImageOptions)
    """How the user's own images are converted."""
    train_limit: int | None = None
    """Train on this many images only; None takes all."""
    model: str = "conv"
    """A name of the model registry."""
    settings: tuple[ModelSetting, ...] = ()
    """Values of the settings that only this model has; each combination is a model."""
    sampler: SamplerName = "tpe"
    """How a study chooses."""
    pruner: PrunerName = "median"
    """How a study stops what is not promising."""
    method: MethodName = "separate"
    """Whether each dim has trainings of its own, or one nested network is trained for all."""
    auto: AutoDims | None = None
    """How dims are chosen among ``dims`` while the sweep runs; None measures all of them."""
    recipe: RecipeVersion = CURRENT_RECIPE
    """How trials are trained, apart from all this; a resumed sweep keeps the one it began with."""

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
        check_count("retries", self.retries, least=0)
        if not self.own_images:
            check_no_options(self.dataset, self.images)
        if self.train_limit is not None:
            check_count("train-limit", self.train_limit, most=None)
        check_seed(self.seed)
        if self.seed + self.repeats > MAX_SEED:
            raise ConfigError(
                f"seed {self.seed} leaves no room for the seeds of {self.repeats} repeats; "
                f"give at most {MAX_SEED - self.repeats}"
            )
        _check_one_of("sampler", self.sampler, get_args(SamplerName))
        _check_one_of("pruner", self.pruner, get_args(PrunerName))
        _check_one_of("method", self.method, get_args(MethodName))
        _check_one_of("recipe", self.recipe, get_args(RecipeVersion))
        if self.method == "nested" and self.space.size != 1:
            raise ConfigError(
                "the nested method trains all dims at once, so that none can have hyperparameters "
                f"of its own: got {self.space}; give one value each"
            )
        if self.sampler == "grid":
            _check_grid(self.space)
        if self.auto is not None:
            _check_auto(self, self.auto)

    @property
    def own_images(self) -> bool:
        """Whether the data set is a path."""
        return names_own_images(self.dataset)

    @property
    def models(self) -> tuple[str, ...]:
        """The model with each combination of its settings' values."""
        return all_models(self.model, self.settings)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the studies measure, one each: every dim of every model."""
        return tuple(Condition(dim, model) for dim in self.dims for model in self.models)

    @property
    def wanted_trials(self) -> int:
        """Trials per study, at most as many as there are distinct configurations."""
        size = self.space.size
        if size is None:
            return self.trials
        return size if self.sampler == "grid" else min(self.trials, size)

    @property
    def trainings_per_dim(self) -> int:
        """Trials and repeats of one latent dimension."""
        return len(self.models) * (self.wanted_trials + self.repeats)

    @property
    def most_dims(self) -> int:
        """Of how many of the dims trainings are made, at most."""
        if self.auto is None:
            return len(self.dims)
        if self.auto.trainings is None:
            return max(len(self.dims) // 2, len(first_dims(self.dims)))
        return min(self.auto.trainings // self.trainings_per_dim, len(self.dims))

    def identity(self) -> dict[str, str]:
        """Return what may not change under one name, as texts.

        Own images are identified by the data set's digest alone, wherever they lie. The recipe is
        missing: its name in an identity depends on more.
        """
        left_out = {"name", "recipe", *MAY_GROW, *(setting.name for setting in self.settings)}
        left_out |= self.images.written.keys() | ({"dataset"} if self.own_images else set())
        return {key: text for key, text in as_flat_dict(self).items() if key not in left_out}


def names_own_images(dataset: str) -> bool:
    """Return whether a sweep's data set is the path of a user's own images."""
    return Path(dataset).is_absolute()


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
    now = dict(wanted)
    for name in was.keys() | now.keys():
        if name in PARAMETERS and PARAMETERS[name].default is not None:
            fixed = str(PARAMETERS[name].default)  # it is left out where it is written nowhere
            was.setdefault(name, fixed)
            now.setdefault(name, fixed)
    if "dataset" in now:
        was.setdefault("dataset", "a path")  # which does not identify own images
    words = {"dataset_digest": "the images' digest"}
    return [
        f"{words.get(key, key.replace('_', '-'))} is {_said(was.get(key))}, not {_said(text)}"
        for key, text in sorted(now.items())
        if was.get(key) != text
    ]


def changed_options(stored: Mapping[str, str], images: ImageOptions) -> list[str]:
    """Say, by option, how own images are converted otherwise than those of a stored sweep."""
    was = {field.name: str(field.default) for field in dataclasses.fields(ImageOptions)}
    now = was | images.written
    was |= {name: stored[name] for name in was if name in stored}
    return [
        f"{name.replace('_', '-')} is {_said(was[name])}, not {_said(text)}"
        for name, text in now.items()
        if text != was[name]
    ]


def dataset_title(dataset: str) -> str:
    """Return a data set's name, or the last part of the path of own images."""
    path = Path(dataset)
    if path.name.startswith(MEMORY_PREFIX):
        return MEMORY_NAME
    return path.name if path.is_absolute() and path.name else dataset


def as_flat_dict(config: SweepConfig) -> dict[str, str]:
    """Return a sweep's whole configuration as parameter names and texts."""
    flat = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    flat.pop("space")
    if config.retries == DEFAULT_RETRIES:  # as in stores of versions that knew none
        flat.pop("retries")
    flat |= flat.pop("images").written
    settings: tuple[ModelSetting, ...] = flat.pop("settings")
    flat |= {setting.name: setting for setting in settings}
    flat |= config.space.written
    if config.recipe == UNWRITTEN_RECIPE:
        flat.pop("recipe")
    auto: AutoDims | None = flat.pop("auto")
    flat |= {} if auto is None else auto.written
    flat["dims"] = " ".join(map(str, config.dims if auto is None else (AUTO, *config.dims)))
    return {key: str(value) for key, value in flat.items()}


def digest(content: object) -> str:
    """Hash a JSON-able value to 16 hexadecimal digits, the same in every process."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _said(text: str | None) -> str:
    return "not given" if text in (None, "None") else str(text)


def _check_grid(space: SearchSpace) -> None:
    for name, domain in space.domains:
        if isinstance(domain, Range):
            parameter = PARAMETERS[name]
            raise ConfigError(
                f"the grid sampler needs choices, and {parameter.words} is the range {domain}; "
                f"list the values ({parameter.option} {parameter.examples[0]}) or take another "
                "sampler"
            )


def _check_auto(config: SweepConfig, auto: AutoDims) -> None:
    """Refuse settings that do not go with dims that are chosen while the sweep runs."""
    if config.method == "nested":
        raise ConfigError(
            "--dims auto trains a dim after another, and --method nested one network for all of "
            "them; list the dims, or leave --method out"
        )
    if len(config.models) > 1:
        raise ConfigError(
            f"--dims auto answers a question about one curve, and {', '.join(config.models)} have "
            "one each; give one value of the setting"
        )
    if len(config.dims) < LEAST_GRID:
        raise ConfigError(
            f"--dims auto chooses among {LEAST_GRID} latent dimensions or more, got "
            f"{', '.join(map(str, config.dims))}; list them without auto"
        )
    first = len(first_dims(config.dims)) * config.trainings_per_dim
    if auto.trainings is not None and auto.trainings < first:
        raise ConfigError(
            f"--trainings {auto.trainings} are fewer than the first grid needs, which is "
            f"d={', '.join(map(str, first_dims(config.dims)))} with {config.trainings_per_dim} "
            f"each; give at least --trainings {first}, or a smaller grid"
        )


def _check_one_of(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise unknown_name(what, name, names)
