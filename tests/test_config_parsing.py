"""Lists and ranges, as they are typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_probe")


@pytest.fixture
def plan(cli: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def tell(*words: str) -> dict[str, Any]:
        done = cli("run", "--dataset", "shapes", "--dry-run", "--json", *words)
        assert done.code == 0, done.err
        document: dict[str, Any] = json.loads(done.out)
        return document

    return tell


@pytest.mark.parametrize(
    "words",
    [
        ["--dims", "2", "8", "32"],
        ["--dims", "2", "--dims", "8", "--dims", "32"],
        ["--dims=2", "8", "32"],
        ["--dims=2", "--dims=8", "32"],
        ["--dims", "2 8 32"],
        ["--dims=2 8 32"],
        ["--dims", "2 8", "32"],
        ["--dims", "2", "8", "--seed", "3", "--dims", "32"],
        ["--dims", "32", "8", "2"],
        ["--dims", "2", "8", "32", "--trials", "3"],
    ],
    ids=" ".join,
)
def test_latent_dims_are_read_however_the_list_is_spelled(
    plan: Callable[..., dict[str, Any]], words: list[str]
) -> None:
    assert plan(*words)["dims"] == [2, 8, 32]


@pytest.mark.parametrize(
    ("words", "lr", "epochs"),
    [
        (["--lr", "1e-3", "4e-3", "--epochs", "2", "4", "8"], "0.001 0.004", "2 4 8"),
        (["--lr", "1e-3:1e-2", "--epochs", "2:8"], "0.001:0.01", "2:8"),
        (["--lr", "1e-3", "--epochs", "4"], "0.001", "4"),
        (["--lr=.5", "1", "--epochs=8", "2"], "0.5 1.0", "2 8"),
        (["--lr", "1e-3", "1e-3"], "0.001", "1:2"),
        ([], "0.001:0.01", "1:2"),
    ],
    ids=str,
)
def test_choices_ranges_and_single_values_are_told_apart(
    plan: Callable[..., dict[str, Any]], words: list[str], lr: str, epochs: str
) -> None:
    document = plan("--dims", "2", *words)
    assert (document["lr"], document["epochs"]) == (lr, epochs)


def test_without_dims_the_sweep_has_the_five_of_the_design(
    plan: Callable[..., dict[str, Any]],
) -> None:
    assert plan()["dims"] == [2, 8, 32, 128, 1024]


def test_a_repeated_latent_dim_runs_once_and_is_told(cli: Callable[..., Any]) -> None:
    done = cli("run", "--dataset", "shapes", "--dims", "8", "2", "8", "--dry-run", "--json")
    assert json.loads(done.out)["dims"] == [2, 8]
    assert "latent dimension 8 is given more than once; it runs once" in done.err


def test_grid_covers_the_product_of_the_choices(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(
        "--dims", "2", "8", "--sampler", "grid", "--lr", "1e-3", "4e-3", "--epochs", "1", "2", "3"
    )
    assert (document["trials_per_dim"], document["trials_to_train"]) == (6, 12)


def test_a_dry_run_tells_the_plan_on_stdout_and_stores_nothing(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    words = ["run", "--dataset", "shapes", "--dims", "2", "4", "--repeats", "1", "--dry-run"]
    plain, document = cli(*words), cli(*words, "--json")
    assert plain.code == document.code == 0
    for needle in ("2 studies (d = 2, 4) × 3 trials", "8 to train", "at most 16 epochs", "cpu"):
        assert needle in plain.out
    assert str(tmp_path / "mlruns") in plain.out
    plan = json.loads(document.out)
    assert (plan["trials_to_train"], plan["max_epochs"]) == (8, 16)
    assert 0 < plan["expected_seconds"] <= plan["most_seconds"]
    assert not list(tmp_path.iterdir()), "not even a directory"
