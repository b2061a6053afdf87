"""Settings cannot be wrong once they exist, and identify a sweep and its points for ever."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import sweep_config, trial_config

from ae_sweep.config import (
    AutoDims,
    Choices,
    DimQuestion,
    Hyperparameters,
    ImageOptions,
    ModelSetting,
    QuestionKind,
    Range,
    SearchSpace,
    as_flat_dict,
    changed_settings,
    digest,
    half_octaves,
)
from ae_sweep.errors import ConfigError
from ae_sweep.locations import Store
from ae_sweep.messages import shorten, visible
from ae_sweep.records import TrialIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

SPACE = SearchSpace(lr=Choices((1e-3, 4e-3)), epochs=Choices((2, 4)))
POINT = TrialIdentity(
    dataset_digest="abc",
    model="conv",
    latent_dim=8,
    hyperparameters=Hyperparameters(lr=0.004, epochs=2),
    seed=0,
    recipe="1",
)
PINNED_KEY = "53ca91a1011839fd"


def space(**changes: Any) -> SearchSpace:
    return SearchSpace(**{**dict(SPACE.domains), **changes})


FIXED = SearchSpace(lr=Choices((4e-3,)), epochs=Choices((2,)))
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Choices(()), "no values to choose from"),
    (lambda: Choices((4e-3, 1e-3, 0.004)), "choice 0.004 is given twice"),
    (lambda: Range(8, 2), "the range 8:2 is empty"),
    (lambda: Range(2, 2), "the range 2:2 is empty"),
    (lambda: Range(math.nan, 1.0), "the range nan:1 is empty"),
    (lambda: Range(1e-3, math.nan), "the range 0.001:nan is empty"),
    (lambda: space(lr=Choices((1e-3, 0.0))), "lr .* got 0$"),
    (lambda: space(lr=Choices((-0.25,))), "lr .* got -0.25$"),
    (lambda: space(lr=Choices((math.nan,))), "lr .* got nan$"),
    (lambda: space(lr=Choices((math.inf,))), "lr .* got inf$"),
    (lambda: space(lr=Range(0.0, 1e-3)), "lr .* got 0$"),
    (lambda: space(lr=Range(1e-3, math.inf)), "lr .* got inf$"),
    (lambda: space(epochs=Choices((2, 0))), "epochs .* got 0$"),
    (lambda: space(epochs=Range(-1, 2)), "epochs .* got -1$"),
    (lambda: trial_config(latent_dim=0), "latent_dim .* got 0$"),
    (lambda: trial_config(latent_dim=-3), "latent_dim .* got -3$"),
    (lambda: trial_config(epochs=0), "epochs .* got 0$"),
    (lambda: trial_config(lr=0.0), "lr .* got 0$"),
    (lambda: trial_config(lr=-1.0), "lr .* got -1$"),
    (lambda: trial_config(lr=math.nan), "lr .* got nan$"),
    (lambda: trial_config(lr=-math.inf), "lr .* got -inf$"),
    (lambda: trial_config(seed=-1), "seed .* got -1$"),
    (lambda: trial_config(seed=2**31), "seed .* got 2147483648$"),
    (lambda: sweep_config(dims=()), "dims is empty"),
    (lambda: sweep_config(dims=(0, 2)), "latent dimension .* got 0$"),
    (lambda: sweep_config(dims=(-2, 2)), "latent dimension .* got -2$"),
    (lambda: sweep_config(dims=(8, 2)), r"ascending and distinct, got \(8, 2\)"),
    (lambda: sweep_config(dims=(2, 2)), r"ascending and distinct, got \(2, 2\)"),
    (lambda: sweep_config(trials=0), "trials .* got 0$"),
    (lambda: sweep_config(repeats=-1), "repeats .* got -1$"),
    (lambda: sweep_config(train_limit=0), "train-limit .* got 0$"),
    (lambda: sweep_config(seed=-5), "seed .* got -5$"),
    (lambda: sweep_config(seed=2**31 - 1, repeats=1), "seed 2147483647 .* 1 repeat"),
    (lambda: sweep_config(sampler="tpo"), "there is no sampler 'tpo'"),
    (lambda: sweep_config(pruner="median\n"), r"there is no pruner 'median\\n'"),
    (
        lambda: sweep_config(sampler="grid", space=space(lr=Range(1e-3, 1e-2))),
        "lr is the range 0.001:0.01",
    ),
    (
        lambda: sweep_config(sampler="grid", space=space(epochs=Range(2, 8))),
        "epochs is the range 2:8",
    ),
    (lambda: Store(Path("mlruns")), "absolute path, got mlruns"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_value_that_cannot_be_is_refused_by_name_and_value(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        make()
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)


def test_the_largest_seed_that_leaves_room_for_the_repeats_is_accepted() -> None:
    assert sweep_config(seed=2**31 - 2, repeats=1).seed == 2**31 - 2


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/b",
        "..",
        "../up",
        ".hidden",
        "[bold]",
        "a" * 5_000,
        "🎯",
        "a\nb",
        "a\n",
        "ä",
        "-x",
    ],
)
def test_a_hostile_sweep_name_gets_one_short_line(name: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        sweep_config(name=name)
    message = str(refusal.value)
    assert shorten(name) in message
    assert len(message) < 250
    assert message.isprintable()
    assert message.isascii()


@pytest.mark.parametrize("name", ["a", "7", "mnist-20260101-120000", "v1.2_b", "a" * 100])
def test_an_ordinary_sweep_name_is_accepted(name: str) -> None:
    assert sweep_config(name=name).name == name


def test_a_text_is_shortened_to_what_fits_and_says_how_long_it_was() -> None:
    assert shorten("short") == "'short'"
    assert shorten("x" * 58) == f"'{'x' * 58}'"
    assert shorten("x" * 5_000).endswith("...' (5000 characters)")
    assert len(shorten("\U0001f3af" * 5_000)) < 90


@pytest.mark.parametrize(
    ("lr", "epochs", "size", "longest"),
    [
        (Choices((1e-3,)), Choices((2,)), 1, 2),
        (Choices((1e-3, 4e-3)), Choices((2, 4, 9)), 6, 9),
        (Choices((1e-3, 4e-3)), Range(3, 7), 10, 7),
        (Range(1e-3, 4e-3), Choices((2, 4)), None, 4),
    ],
)
def test_a_space_knows_its_size_and_the_length_of_its_schedules(
    lr: Any, epochs: Any, size: int | None, longest: int
) -> None:
    made = SearchSpace(lr=lr, epochs=epochs)
    assert (made.size, made.max_epochs) == (size, longest)


@pytest.mark.parametrize(
    ("sampler", "trials", "wanted"),
    [("grid", 1, 4), ("grid", 9, 4), ("tpe", 3, 3), ("tpe", 9, 4), ("random", 4, 4)],
)
def test_no_more_trials_are_wanted_than_there_are_configurations(
    sampler: str, trials: int, wanted: int
) -> None:
    assert sweep_config(space=SPACE, sampler=sampler, trials=trials).wanted_trials == wanted


def test_a_continuous_space_has_as_many_trials_as_are_wanted() -> None:
    continuous = space(lr=Range(1e-3, 1e-2))
    assert sweep_config(space=continuous, trials=50).wanted_trials == 50


def test_what_may_grow_is_no_part_of_a_sweeps_identity_and_all_else_is() -> None:
    config = sweep_config()
    grown = {"dims": (2, 8, 32), "trials": 9, "repeats": 2, "retries": 5}
    assert dataclasses.replace(config, **grown).identity() == config.identity()
    others: dict[str, Any] = {
        "space": space(lr=Choices((1e-3,))),
        "seed": 1,
        "dataset": "shapes",
        "train_limit": 100,
        "model": "other",
        "sampler": "random",
        "pruner": "none",
    }
    for key, value in others.items():
        assert dataclasses.replace(config, **{key: value}).identity() != config.identity(), key
    single = dataclasses.replace(config, space=FIXED)
    assert dataclasses.replace(single, method="nested").identity() != single.identity()
    settings = (ModelSetting("beta", (0.1, 1.0)),)
    assert dataclasses.replace(config, settings=settings).identity() == config.identity()
    images = ImageOptions(image_size=(8, 8), fit="pad", colour="rgb", background="white")
    there, elsewhere = (
        dataclasses.replace(config, dataset=path, images=each)
        for path, each in (("/a/b", ImageOptions()), ("/c", images))
    )
    assert there.identity() == elsewhere.identity(), "own images are compared by their digest"
    dims = half_octaves(1, 64)
    for_knee = dataclasses.replace(config, dims=dims, auto=AutoDims())
    for_target = dataclasses.replace(
        for_knee,
        auto=AutoDims(
            question=DimQuestion(kind=QuestionKind.PSNR, value=25.0), trainings=40, minutes=5.0
        ),
    )
    assert for_knee.identity() == for_target.identity(), "another question of the same curve"
    # Its name in an identity, which depends on more, is the set-up's.
    assert dataclasses.replace(config, recipe="2").identity() == config.identity()
    told = {*grown, *others, "name", "method", "settings", "images", "auto", "recipe"}
    unseen = {field.name for field in dataclasses.fields(config)} - told
    assert not unseen, "a new setting must be told to be part of the identity, or not"


def test_a_sweep_stored_before_there_were_methods_is_a_separate_one() -> None:
    wanted = sweep_config().identity()
    stored = {key: text for key, text in wanted.items() if key != "method"}
    assert changed_settings(stored, wanted) == []
    nested = sweep_config(space=FIXED, method="nested").identity()
    assert "method is separate, not nested" in changed_settings(stored, nested)


def test_choices_and_a_range_of_the_same_numbers_are_different_identities() -> None:
    choices = sweep_config(space=space(epochs=Choices((2, 4))))
    span = sweep_config(space=space(epochs=Range(2, 4)))
    assert choices.identity()["epochs"] == "2 4"
    assert span.identity()["epochs"] == "2:4"


def test_a_configuration_is_told_as_texts() -> None:
    flat = as_flat_dict(sweep_config(space=space(lr=Range(1e-3, 1e-2)), train_limit=500))
    assert flat["dims"] == "2 8"
    assert flat["lr"] == "0.001:0.01"
    assert flat["epochs"] == "2 4"
    assert flat["train_limit"] == "500"
    assert "space" not in flat


def test_a_digest_depends_on_content_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 23]) != digest([12, 3])


def test_a_points_key_is_the_same_in_every_process_and_version() -> None:
    # The pinned key stands in users' stores: another one would lose every finished trial.
    assert POINT.key == PINNED_KEY
    code = f"from ae_sweep.config import *; from ae_sweep.records import *; print({POINT!r}.key)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert told.stdout.strip() == PINNED_KEY


def test_a_points_key_differs_with_each_of_its_fields() -> None:
    others: dict[str, Any] = {
        "dataset_digest": "abd",
        "model": "mlp",
        "latent_dim": 9,
        "hyperparameters": Hyperparameters(lr=math.nextafter(0.004, 1), epochs=2),
        "seed": 1,
        "recipe": "2",
    }
    assert others.keys() == dataclasses.asdict(POINT).keys()
    keys = {dataclasses.replace(POINT, **{name: value}).key for name, value in others.items()}
    for name, value in {"lr": 0.0041, "epochs": 3}.items():
        changed = dataclasses.replace(POINT.hyperparameters, **{name: value})
        keys.add(dataclasses.replace(POINT, hyperparameters=changed).key)
    assert len(keys | {POINT.key}) == len(others) + 3


def test_a_store_keeps_all_of_its_parts_under_one_directory() -> None:
    store = Store(Path("/data/mlruns"))
    assert store.tracking_uri == "sqlite:////data/mlruns/mlflow.db"
    assert store.artifact_root == Path("/data/mlruns/artifacts")
    assert store.optuna_path == Path("/data/mlruns/optuna.db")


def test_a_tracking_server_of_the_users_own_moves_the_tracking_alone() -> None:
    store = Store(Path("/data/mlruns"), tracking_override="http://localhost:5000")
    assert store.tracking_uri == "http://localhost:5000"
    assert store.artifact_root is None
    assert store.optuna_path == Path("/data/mlruns/optuna.db")


@pytest.mark.parametrize("count", [100_001, 10**12, 10**30])
def test_counts_that_would_fill_the_memory_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"epochs must be at most 100000, got {count}"):
        SearchSpace(lr=Choices((1e-3,)), epochs=Choices((count,)))
    with pytest.raises(ConfigError, match=f"epochs must be at most 100000, got {count}"):
        trial_config(epochs=count)
    with pytest.raises(ConfigError, match=f"trials must be at most 100000, got {count}"):
        sweep_config(trials=count)
    with pytest.raises(ConfigError, match=f"repeats must be at most 100000, got {count}"):
        sweep_config(repeats=count)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://ada:secret@host:5000/a", "https://ada:***@host:5000/a"),
        ("postgresql://ada:se:cret@host/db", "postgresql://ada:***@host/db"),
        ("https://host:5000/a@b", "https://host:5000/a@b"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
        ("http://[::1", "http://[::1"),
        ("https://dapi-token@host/x", "https://***@host/x"),
        ("postgresql://ada@host/db", "postgresql://ada@host/db"),
        (
            "postgresql://host/db?user=ada&password=se'cret&sslmode=on",
            "postgresql://host/db?user=ada&password=***&sslmode=on",
        ),
        ("s3://b/?X-Amz-Signature=0ab&x=1#y", "s3://b/?X-Amz-Signature=***&x=1#y"),
    ],
)
def test_the_place_of_the_runs_is_told_without_a_password(
    tmp_path: Path, uri: str, told: str
) -> None:
    store = Store(tmp_path, uri)
    assert store.runs_place == store.redacted_tracking_uri == told
    assert store.tracking_uri == uri
    assert Store(tmp_path).runs_place == str(tmp_path)


def test_foreign_text_is_shown_on_one_line_in_visible_characters() -> None:
    assert visible("two\n  lines\x1b[1m, é") == r"two lines\x1b[1m, é"
    assert visible("n" * 400) == "n" * 299 + "…"
    assert visible("n" * 300) == "n" * 300


@pytest.mark.parametrize("name", ["tep", "x" * 100_000])
def test_a_sampler_that_is_none_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no sampler .*, only tpe, random, grid, gp"):
        sweep_config(sampler=name)
