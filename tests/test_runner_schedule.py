"""Default epochs of own images follow from their number, and are stored with the sweep."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from fakes import sweep_config

import ae_sweep
from ae_sweep import data
from ae_sweep.cli.plan_text import plan_lines
from ae_sweep.config import Choices, Range, SearchSpace
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.locations import open_at
from ae_sweep.runner import schedule
from ae_sweep.runner.request import make_request
from ae_sweep.runner.schedule import CHOSEN, schedule_text, with_schedule
from ae_sweep.runner.settings import stored_settings

if TYPE_CHECKING:
    from ae_sweep.config import SweepConfig
    from ae_sweep.runner.request import SweepRequest


def scheduled(train_images: int, **changes: Any) -> SweepConfig:
    return with_schedule(sweep_config(**changes), chosen=CHOSEN, train_images=train_images)


@pytest.mark.parametrize(
    ("train_images", "epochs", "batch_size"),
    [
        (20, (215, 430), 20),
        (450, (15, 30), 32),
        (999, (7, 14), 32),
        (1_000, (14, 28), 32),
        (3_171, (4, 8), 32),
        (4_999, (3, 6), 32),
        (5_000, (6, 12), 32),
        (19_999, (1, 2), 32),
        (20_000, (3, 6), 128),
        (55_000, (1, 2), 128),
        (100_000, (1, 2), 128),
        (10**7, (1, 2), 128),
    ],
)
def test_few_images_get_more_epochs_in_smaller_batches(
    train_images: int, epochs: tuple[int, int], batch_size: int
) -> None:
    space = scheduled(train_images).space
    assert space["epochs"] == Choices(epochs)
    assert space["batch_size"] == Choices((batch_size,))
    assert space["lr"] == sweep_config().space["lr"]


@pytest.mark.parametrize("train_images", [*range(1_000, 5_000, 97), *range(20_000, 60_000, 997)])
def test_the_longer_schedule_has_as_many_steps_as_mnist(train_images: int) -> None:
    space = scheduled(train_images).space
    steps = space.max_epochs * schedule.steps_per_epoch(space, train_images=train_images)
    assert 570 <= steps <= 1_130


@pytest.mark.parametrize("train_images", range(5_000, 20_000, 997))
def test_many_images_in_small_batches_get_twice_as_many_steps(train_images: int) -> None:
    space = scheduled(train_images).space
    steps = space.max_epochs * schedule.steps_per_epoch(space, train_images=train_images)
    assert 1_180 <= steps <= 2_250  # an epoch of 19,000 images is 594
    large = with_schedule(
        sweep_config(space=SearchSpace(**dict(space.domains) | {"batch_size": Choices((128,))})),
        chosen={"epochs"},
        train_images=train_images,
    ).space
    assert large.max_epochs * (train_images // 128) <= 940


@pytest.mark.parametrize("train_images", range(24, 1_000, 61))
def test_few_images_get_half_as_many_steps(train_images: int) -> None:
    space = scheduled(train_images).space
    steps = space.max_epochs * schedule.steps_per_epoch(space, train_images=train_images)
    assert 400 <= steps <= 460


def test_a_nested_sweep_gets_one_number_of_epochs() -> None:
    one = SearchSpace(lr=Choices((4e-3,)), epochs=Choices((4,)))
    space = scheduled(3_171, method="nested", pruner="none", space=one).space
    assert space["epochs"] == Choices((17,))
    assert space.size == 1


def test_what_is_given_stays_and_decides_the_rest() -> None:
    given = sweep_config(
        space=SearchSpace(lr=Choices((4e-3,)), epochs=Choices((5,)), batch_size=Range(16, 64))
    )
    assert with_schedule(given, chosen=(), train_images=1_600) == given
    space = with_schedule(given, chosen={"epochs"}, train_images=1_600).space
    assert space["batch_size"] == Range(16, 64)
    assert space["epochs"] == Choices((4, 8))
    space = with_schedule(given, chosen={"batch_size"}, train_images=1_600).space
    assert (space["epochs"], space["batch_size"]) == (Choices((5,)), Choices((32,)))


def test_the_plan_says_what_was_chosen_and_why() -> None:
    assert schedule_text(scheduled(3_171), chosen=CHOSEN, train_images=3_171) == (
        "epochs 4 or 8, batch size 32: 3,171 training images make 99 steps of 32 an epoch"
    )
    assert schedule_text(scheduled(32), chosen={"epochs"}, train_images=32).endswith(
        ": 32 training images make 1 step of 32 an epoch"
    )


def request(tmp_path: Path, *, resume: bool = False, **given: Any) -> SweepRequest:
    return make_request(
        "own",
        {"dataset": str(tmp_path / "pictures"), "dims": "2", **given},
        store=open_at(tmp_path / "store"),
        now=time.localtime(),
        announce=lambda _line: None,
        resume=resume,
    )


@pytest.mark.parametrize(
    ("given", "unsettled"),
    [
        ({}, {"epochs", "batch_size"}),
        ({"epochs": [], "batch_size": None}, {"epochs", "batch_size"}),
        ({"epochs": ["3"]}, {"batch_size"}),
        ({"batch_size": "64"}, {"epochs"}),
        ({"epochs": "2:8", "batch_size": ["64"]}, set()),
        ({"dataset": "shapes"}, set()),
        ({"method": "nested"}, {"epochs", "batch_size"}),
        ({"sampler": "grid", "lr": "4e-3"}, {"epochs", "batch_size"}),
    ],
    ids=lambda value: " ".join(sorted(map(str, value))) or "nothing",
)
def test_only_what_is_not_given_of_own_images_waits_for_their_number(
    tmp_path: Path, given: dict[str, Any], unsettled: set[str]
) -> None:
    assert request(tmp_path, **given).unsettled == unsettled


def test_a_wrong_setting_is_refused_before_the_images_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--epochs 'many' is not a whole number or a range"):
        request(tmp_path, epochs="many")
    assert request(tmp_path, trials=5, lr="4e-3").config.wanted_trials == 2


@pytest.fixture
def own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of 64 images, which need no file; schedules of four and eight steps."""
    drawn = data.load("shapes", cache_dir=tmp_path, train_limit=64)
    small = dataclasses.replace(
        drawn,
        card=dataclasses.replace(drawn.card, image_shape=(1, 7, 7), val_images=20, test_images=20),
        train_NCHW=drawn.train_NCHW[..., ::4, ::4].copy(),
        val_NCHW=drawn.val_NCHW[:20, :, ::4, ::4].copy(),
        val_labels_N=drawn.val_labels_N[:20],
        test_NCHW=drawn.test_NCHW[:20, :, ::4, ::4].copy(),
        test_labels_N=drawn.test_labels_N[:20],
    )
    monkeypatch.setattr(data, "load", lambda *_, **__: small)
    monkeypatch.setattr(schedule, "STEPS", 8)
    return str(tmp_path / "pictures")


@pytest.mark.usefixtures("no_probe", "plain_pictures")
def test_what_was_chosen_is_stored_and_a_resumed_sweep_keeps_it(
    tmp_path: Path, own_images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = support.fresh_store(tmp_path, name="store").root
    settings: Any = {"dataset": own_images, "dims": [2], "trials": 1, "store": store}
    plan = ae_sweep.plan_sweep("own", **settings)
    assert plan.plan.config.space["epochs"] == Choices((2, 4))
    assert "chosen   epochs 2 or 4, batch size 32: 64 training images make 2 steps of 32" in str(
        plan_lines(plan)
    )
    ae_sweep.run_sweep("own", progress=False, **settings)
    stored = stored_settings("own", open_at(store))
    assert (stored["epochs"], stored["batch_size"]) == ("2 4", "32")

    Path(own_images).mkdir()
    monkeypatch.setattr(schedule, "STEPS", 800)
    resumed = ae_sweep.plan_sweep("own", store=store, resume=True, trials=2)
    assert resumed.trials == 1
    assert resumed.plan.config.space["epochs"] == Choices((2, 4))
    assert not any(line.startswith("chosen") for line in plan_lines(resumed))
    assert resumed.setup.chosen == frozenset()


def test_a_sweep_whose_pictures_were_moved_asks_for_their_new_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = str(tmp_path / "gone")
    monkeypatch.setattr(
        "ae_sweep.runner.request.stored_settings", lambda _name, _store: {"dataset": gone}
    )
    with pytest.raises(DataError, match=r"gone any more; name the place .* with --dataset PATH"):
        make_request(
            "own",
            {},
            store=open_at(tmp_path / "store"),
            now=time.localtime(),
            announce=lambda _line: None,
            resume=True,
        )
