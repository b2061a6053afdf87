"""Settings of a sweep in Python, and the request that they make, as the command line's do."""

from __future__ import annotations

import difflib
import operator
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from ae_sweep.cluster.settings import make_cluster
from ae_sweep.config import IMAGE_OPTIONS, MODEL_SETTINGS, PARAMETERS, ImageOptions
from ae_sweep.config.parsing import parse_workers
from ae_sweep.errors import ConfigError
from ae_sweep.locations import cache_dir, data_dir_at, open_at
from ae_sweep.messages import ignore

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.cluster.settings import ClusterConfig
    from ae_sweep.config import (
        Choices,
        Colour,
        Fit,
        MethodName,
        PrunerName,
        Range,
        SamplerName,
    )
    from ae_sweep.runner.engine import Announce, EngineFactory
    from ae_sweep.runner.request import SweepRequest

Values: TypeAlias = "float | str | Iterable[float] | Range[Any] | Choices[Any]"
"""One value is fixed, several are a choice, ``Range(lo, hi)`` or ``"LO:HI"`` is a range."""
COUNTS = ("trials", "repeats", "retries", "seed", "train_limit", "trainings")
"""Settings that are one whole number."""
NUMBERS = ("target_psnr", "target_mse", "minutes")
"""Settings that are one number."""


class SweepSettings(TypedDict, total=False):
    """Settings of a sweep, named as the command line's options are.

    What is left out has its default, or for a resumed sweep its stored value.
    """

    dims: Values
    """Latent dimensions, or numbers of tokens; or "auto", alone or before a grid ("auto 1:512",
    ("auto", 1, 2, 4, 8, 16)): they are chosen among its dims while the sweep runs."""
    target_psnr: float
    """With chosen dims: find the smallest that reaches this PSNR in dB; else the knee is sought."""
    target_mse: float
    """With chosen dims: find the smallest with at most this error."""
    trainings: int
    """With chosen dims: at most that many trainings, repeats and stored ones included; half of
    those of the grid if left out."""
    minutes: float
    """With chosen dims: beyond the first grid, begin no dim that is expected to end later than
    this after the start of the run."""
    lr: Values
    """Peak learning rates to choose from, or a log-uniform range."""
    epochs: Values
    """Numbers of epochs to choose from, or a range."""
    batch_size: Values
    """Images per optimiser step: sizes to choose from, or a log-uniform range."""
    weight_decay: Values
    """Weight decays to choose from, or a log-uniform range."""
    trials: int
    """Trials per study."""
    repeats: int
    """How often the best configuration of each study is trained again, with other seeds."""
    retries: int
    """How often a resumed sweep tries a trial again that has failed."""
    seed: int
    """Seeds suggestions and trainings."""
    dataset: Any
    """Name of a data set, or own images: a path, an array N×H×W or N×H×W×C of bytes, or a data set
    of torch with images or pairs of image and label."""
    image_size: int | str | tuple[int, int]
    """Height and width of own images in pixels: 32, "32x48" or (32, 48)."""
    fit: Fit
    """How own pictures of another shape fill that size."""
    colour: Colour
    """Whether own images have three channels or one; auto is grey only if every picture is."""
    background: str
    """What shows through transparent pixels of own pictures: white, black or #rrggbb."""
    scale: bool
    """Whether own arrays of floats in [0, 1] are accepted."""
    strict: bool
    """Whether the first own picture that cannot be read ends everything."""
    train_limit: int
    """Train on this many images only."""
    model: str
    """Name of a model."""
    beta: Values
    """Of vae: weights of the rate, one study each for every dim."""
    codebook: Values
    """Of vqvae and fsq: sizes of the codebook, one study each for every dim."""
    lmbda: Values
    """Of ntc: squared errors of an image that are worth a bit, one study each for every dim."""
    sampler: SamplerName
    """How a study chooses."""
    pruner: PrunerName
    """How a study stops what is not promising."""
    method: MethodName
    """Whether each dim has trainings of its own, or one nested network is trained for all."""
    data_dir: Path | str
    """Directory of the data set's files; the user cache if left out."""
    device: str
    """auto, cpu, cuda, cuda:N or mps."""
    workers: int | Literal["auto"]
    """Trials at a time, each in a process if there are several; of a cluster auto if left out."""
    cluster: str
    """Train on the nodes of a Ray cluster, of which this machine is one: HOST:PORT of its head, or
    local for a cluster of this machine. Needs the extra ae-sweep[cluster]."""
    cpus_per_trial: int
    """Of a cluster: processor cores of each trial, and the threads it computes with."""
    gpus_per_trial: float
    """Of a cluster: GPUs of each trial, 0 to 1."""
    data_on_nodes: Path | str
    """Of a cluster: where every node finds the images by itself; they are sent there if left
    out."""
    image_memory: float
    """GB of memory that the images may take in each process; half of what there is if left out."""
    resume: bool
    """Complete the stored sweep of this name; its settings hold."""
    take_over: bool
    """With ``resume``: take the sweep over from a process on another machine, which must have
    ended."""
    engine: EngineFactory
    """Trains the trials in place of this machine's engines."""


def request_of(
    name: str | None, store: Path | str | None, settings: SweepSettings, *, announce: Announce
) -> SweepRequest:
    """Check settings and return the request that they make.

    Raises
    ------
    AeSweepError
        If a setting is wrong, or the store cannot be used.
    TypeError
        If there is no setting of a name.
    """
    from ae_sweep.runner.request import DEFAULT_DEVICE, make_request, new_name

    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    _check_names(given)
    now = time.localtime()
    if _use_images(given, announce=announce) and name is None:
        name = new_name("images", now)
    data_dir, workers = given.pop("data_dir", None), given.pop("workers", None)
    cluster = _cluster(given)
    return make_request(
        name,
        store=open_at(store, announce=None if announce is ignore else announce),
        now=now,
        announce=announce,
        resume=given.pop("resume", False),
        take_over=given.pop("take_over", False),
        data_dir=data_dir_at(data_dir),
        device=given.pop("device", DEFAULT_DEVICE),
        workers=parse_workers(
            None if workers is None else str(workers), on_cluster=cluster is not None
        ),
        cluster=cluster,
        engine=given.pop("engine", None),
        image_memory=_image_memory(given.pop("image_memory", None)),
        given={key: _value(key, value) for key, value in given.items()},
    )


def _check_names(given: dict[str, Any]) -> None:
    names = {**SweepSettings.__annotations__, **PARAMETERS, **MODEL_SETTINGS}
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"a sweep has no setting {key!r}, only {', '.join(names)}{hint}")


def _use_images(given: dict[str, Any], *, announce: Announce) -> bool:
    """Store images that are given in memory in the user cache, and put their path in their place.

    Returns
    -------
    bool
        Whether images are given in memory.

    Raises
    ------
    ConfigError
        If they are not images, or an option of own images is wrong.
    """
    dataset = given.get("dataset")
    if dataset is None or isinstance(dataset, str | os.PathLike):
        return False
    from ae_sweep import data

    texts = {name: _value(name, given.pop(name)) for name in IMAGE_OPTIONS if name in given}
    options = ImageOptions.from_texts({name: text for name, text in texts.items() if text})
    given["dataset"] = str(
        data.from_memory(dataset, options=options, cache_dir=cache_dir(), announce=announce)
    )
    return True


def _value(key: str, value: Any) -> Any:
    """Return a setting as the command line gives it: counts as integers, the rest as text."""
    if key in ("scale", "strict"):
        return "True" if value else None
    if key == "image_size" and isinstance(value, tuple):
        return "x".join(map(str, value))
    if key in COUNTS:
        try:
            return operator.index(value)
        except TypeError:
            raise ConfigError(f"{key} must be a whole number, got {value!r}") from None
    if key in NUMBERS:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{key} must be a number, got {value!r}") from None
    if isinstance(value, Iterable) and not isinstance(value, str):
        return " ".join(map(str, value))
    return str(value)


def _cluster(given: dict[str, Any]) -> ClusterConfig | None:
    """Take the settings of a cluster out of what is given.

    Raises
    ------
    ConfigError
        If one is wrong, or given without a cluster.
    """
    gpus, cpus = given.pop("gpus_per_trial", None), given.pop("cpus_per_trial", None)
    address, at = given.pop("cluster", None), given.pop("data_on_nodes", None)
    try:
        gpus = None if gpus is None else float(gpus)
        cpus = None if cpus is None else operator.index(cpus)
    except (TypeError, ValueError):
        raise ConfigError(
            f"gpus_per_trial must be a number and cpus_per_trial a whole one, got {gpus!r} and "
            f"{cpus!r}"
        ) from None
    return make_cluster(
        None if address is None else str(address),
        cpus_per_trial=cpus,
        gpus_per_trial=gpus,
        data_on_nodes=None if at is None else str(at),
    )


def _image_memory(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"image_memory must be a number of GB, got {value!r}") from None
