"""Settings of a sweep: what is given, else what is stored, else the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args

from ae_sweep.config import (
    AUTO,
    AUTO_SETTINGS,
    CURRENT_RECIPE,
    DEFAULT_RETRIES,
    IMAGE_OPTIONS,
    MODEL_SETTINGS,
    PARAMETERS,
    UNWRITTEN_RECIPE,
    AutoDims,
    DimQuestion,
    ImageOptions,
    ModelSetting,
    QuestionKind,
    RecipeVersion,
    SearchSpace,
    SweepConfig,
    names_own_images,
)
from ae_sweep.config.parsing import (
    parse_domain,
    parse_setting,
    parse_sweep_dims,
)
from ae_sweep.errors import ConfigError, ConflictError, StoreError
from ae_sweep.messages import option_name, shorten
from ae_sweep.runner.schedule import UNTIL_KNOWN
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.config import MethodName, PrunerName, SamplerName
    from ae_sweep.locations import Store

DEFAULTS: Mapping[str, str] = {
    "dims": "2 8 32 128 1024",
    **{name: parameter.search for name, parameter in PARAMETERS.items()},
    "trials": "3",
    "repeats": "0",
    "retries": str(DEFAULT_RETRIES),
    "seed": "0",
    "dataset": "mnist",
    "train_limit": "None",
    **dict.fromkeys(AUTO_SETTINGS, "None"),
    "model": "conv",
    "sampler": "tpe",
    "pruner": "median",
    "method": "separate",
}
"""As texts, the form in which a sweep's settings are stored."""
NESTED_DEFAULTS: Mapping[str, str] = {
    **DEFAULTS,
    **{name: parameter.nested for name, parameter in PARAMETERS.items()},
    "trials": "1",
    "pruner": "none",
}
"""Those of ``--method nested``, which has nothing to search."""
TARGETS = {"target_psnr": QuestionKind.PSNR, "target_mse": QuestionKind.MSE}
DIMS_OF_CODEBOOKS = "2 8 32 128"
"""Default dims of models that make tokens: each holds several numbers."""
GRID, GRID_OF_CODEBOOKS = f"{AUTO} 1:1024", f"{AUTO} 1:128"
"""Default grids of dims that are chosen, of which an image with fewer numbers leaves some out."""


def make_config(
    name: str,
    given: Mapping[str, Any],
    stored: Mapping[str, str],
    *,
    announce: Callable[[str], None],
) -> SweepConfig:
    """Make a sweep's configuration.

    Parameters
    ----------
    name
        Of the sweep.
    given
        By option name; None and empty lists were not given.
    stored
        The settings of the sweep that is resumed; empty for a new one.
    announce
        Called with a line where a setting has no effect.

    Raises
    ------
    ConfigError
        If a value is invalid.
    ConflictError
        If what is stored would be left out, or is a setting that this version does not know.
    """
    texts, space, settings = _chosen(given, stored)
    _check_known(name, stored, settings)
    dims = parse_sweep_dims(texts["dims"].split())
    for dim in dims.repeated:
        announce(f"latent dimension {dim} is given more than once; it runs once")
    config = SweepConfig(
        name=name,
        dims=dims.dims,
        space=space,
        trials=_whole("trials", texts, name),
        repeats=_whole("repeats", texts, name),
        retries=_whole("retries", texts, name),
        seed=_whole("seed", texts, name),
        dataset=texts["dataset"],
        images=_images(given, stored),
        train_limit=(
            None if texts["train_limit"] == "None" else _whole("train_limit", texts, name)
        ),
        model=texts["model"],
        settings=settings,
        sampler=cast("SamplerName", texts["sampler"]),
        pruner=cast("PrunerName", texts["pruner"]),
        method=cast("MethodName", texts["method"]),
        auto=_auto(texts, name) if dims.auto else None,
        recipe=_recipe(name, stored),
    )
    if not dims.auto:
        _refuse_auto_settings(given)
    _check_trials(config, given.get("trials"), announce)
    _check_growth(config, stored)
    return config


def _chosen(
    given: Mapping[str, Any], stored: Mapping[str, str]
) -> tuple[dict[str, str], SearchSpace, tuple[ModelSetting, ...]]:
    """Return each option's text, what is searched, and the settings of the model."""
    nested = _text(given.get("method"), stored.get("method", "")) == "nested"
    defaults = dict(NESTED_DEFAULTS if nested else DEFAULTS)
    if not nested and names_own_images(_text(given.get("dataset"), stored.get("dataset", ""))):
        defaults |= UNTIL_KNOWN

    def text(option: str) -> str:
        return _text(given.get(option), stored.get(option, defaults[option]))

    # What needs no more than reading comes first: finding the model's settings takes seconds.
    space = SearchSpace(
        **{
            name: parse_domain(parameter, text(name).split())
            for name, parameter in PARAMETERS.items()
        }
    )
    dims = parse_sweep_dims(text("dims").split())
    settings = _settings(text("model"), given, stored)
    if any(setting.name == "codebook" for setting in settings):
        defaults["dims"] = GRID_OF_CODEBOOKS if dims.auto else DIMS_OF_CODEBOOKS
    elif dims.auto:
        defaults["dims"] = GRID
    texts = {option: text(option) for option in defaults}
    if dims.auto and not dims.dims:  # the word alone
        grid = stored.get("dims", "")
        texts["dims"] = grid if grid.startswith(AUTO) else defaults["dims"]
    if any(given.get(name) is not None for name in TARGETS):  # another question than before
        texts |= {name: _text(given.get(name), "None") for name in TARGETS}
    return texts, space, settings


def _auto(texts: Mapping[str, str], name: str) -> AutoDims:
    """Make the question and the budget of dims that are chosen.

    Raises
    ------
    ConfigError
        If both targets are given, or a value is invalid.
    """
    targets = {
        kind: _decimal(option, texts, name)
        for option, kind in TARGETS.items()
        if texts[option] != "None"
    }
    if len(targets) > 1:
        raise ConfigError(
            "--target-psnr and --target-mse are two questions, and --dims auto answers one; give "
            "one of them"
        )
    kind, value = next(iter(targets.items()), (QuestionKind.KNEE, None))
    return AutoDims(
        question=DimQuestion(kind=kind, value=value),
        trainings=None if texts["trainings"] == "None" else _whole("trainings", texts, name),
        minutes=None if texts["minutes"] == "None" else _decimal("minutes", texts, name),
    )


def _refuse_auto_settings(given: Mapping[str, Any]) -> None:
    for option in AUTO_SETTINGS:
        if given.get(option) is not None:
            raise ConfigError(
                f"{option_name(option)} has no effect without --dims auto; add that, or leave it "
                "out"
            )


def _check_known(name: str, stored: Mapping[str, str], settings: tuple[ModelSetting, ...]) -> None:
    """Refuse stored settings that this version would leave out of what it trains."""
    known = {"name", "recipe", *DEFAULTS, *IMAGE_OPTIONS, *MODEL_SETTINGS}
    known |= {setting.name for setting in settings}
    unknown = sorted(
        each
        for each in stored.keys() - known
        # The parameters of a run whose tag was lost stand in for it, versions and all.
        if not (each.endswith("_version") or each.startswith("git_"))
    )
    if unknown:
        raise ConflictError(
            f"the sweep {name} is stored with {shorten(', '.join(unknown))}, which ae-sweep "
            f"{__version__} does not know: a newer version began it; upgrade ae-sweep to resume "
            "it, or choose another --name"
        )


def _recipe(name: str, stored: Mapping[str, str]) -> RecipeVersion:
    """Return the recipe of a new sweep, or the one that a stored sweep began with."""
    if not stored:
        return CURRENT_RECIPE
    version = stored.get("recipe", UNWRITTEN_RECIPE)
    if version not in get_args(RecipeVersion):
        raise ConflictError(
            f"the sweep {name} is stored with recipe {shorten(version)}, which ae-sweep "
            f"{__version__} does not know: a newer version began it; upgrade ae-sweep to resume "
            "it, or choose another --name"
        )
    return cast("RecipeVersion", version)


def _whole(option: str, texts: Mapping[str, str], name: str) -> int:
    """Read a number; one that is given was read before, so that only a stored one can be none."""
    try:
        return int(texts[option])
    except ValueError:
        raise _not_a_number(option, texts, name) from None


def _decimal(option: str, texts: Mapping[str, str], name: str) -> float:
    """Read a number that need not be whole, as `_whole` does."""
    try:
        return float(texts[option])
    except ValueError:
        raise _not_a_number(option, texts, name) from None


def _not_a_number(option: str, texts: Mapping[str, str], name: str) -> StoreError:
    return StoreError(
        f"the store has no number for {option} of {name}, but "
        f"{shorten(texts[option])}: its settings were changed there; give "
        f"{option_name(option)}, or mend the tag config of its run in the MLflow UI"
    )


def _check_growth(config: SweepConfig, stored: Mapping[str, str]) -> None:
    """Refuse to leave out what is stored: it would be forgotten, though it was trained."""
    was_auto = stored.get("dims", "").startswith(AUTO)
    if stored and was_auto != (config.auto is not None):
        raise ConflictError(
            f"the sweep {config.name} is stored with {'' if was_auto else 'listed dims, not '}"
            f"--dims auto; resume it without --dims, or take another --name"
        )
    wanted = {"dims": {AUTO, *map(str, config.dims)}}
    wanted |= {setting.name: set(str(setting).split()) for setting in config.settings}
    for option, values in wanted.items():
        missing = [text for text in stored.get(option, "").split() if text not in values]
        if missing:
            raise ConflictError(
                f"the sweep {config.name} is stored with --{option} {stored[option]}, and resuming "
                f"it without {', '.join(missing)} would forget what was trained; give all of them, "
                f"or none, or take another --name"
            )


def _images(given: Mapping[str, Any], stored: Mapping[str, str]) -> ImageOptions:
    """Return the options of own images: what is given, else what is stored."""
    texts = {name: stored[name] for name in IMAGE_OPTIONS if name in stored}
    texts |= {name: str(given[name]) for name in IMAGE_OPTIONS if given.get(name) is not None}
    return ImageOptions.from_texts(texts)


def _settings(
    model: str, given: Mapping[str, Any], stored: Mapping[str, str]
) -> tuple[ModelSetting, ...]:
    """Make the settings of a model: what is given, else what is stored, else the defaults.

    Raises
    ------
    ConfigError
        If there is no such model, a value is invalid, or another model's setting is given.
    """
    from ae_sweep import models

    defaults = models.default_settings(model)
    own = [option_name(default.name) for default in defaults]
    for name in MODEL_SETTINGS:
        option = option_name(name)
        if given.get(name) and option not in own:
            has = f"only {', '.join(own)}" if own else "it has none"
            raise ConfigError(f"the model {model!r} has no setting {option}; {has}")
    return tuple(
        parse_setting(
            default.name,
            MODEL_SETTINGS[default.name],
            _text(given.get(default.name), stored.get(default.name, str(default))).split(),
        )
        if default.name in MODEL_SETTINGS
        else default  # a model that was added without an option
        for default in defaults
    )


def stored_settings(name: str, store: Store) -> Mapping[str, str]:
    """Read the settings of a stored sweep.

    Raises
    ------
    NotStoredError
        If there is none of that name.
    """
    from ae_sweep import tracking

    return tracking.open_for_reading(store).sweep_settings(name).config


def _text(given: Any, otherwise: str) -> str:
    if given is None or given == []:
        return otherwise
    return (
        " ".join(given)
        if isinstance(given, Sequence) and not isinstance(given, str)
        else str(given)
    )


def _check_trials(config: SweepConfig, given: int | None, announce: Callable[[str], None]) -> None:
    size = config.space.size
    if size is None or given is None or given == config.wanted_trials:
        return
    if config.sampler == "grid":
        raise ConfigError(
            f"--trials {given} does not fit the grid, which has {size} points; leave --trials out"
        )
    announce(f"the space has {size} configurations, so each dim gets {size} trials, not {given}")
