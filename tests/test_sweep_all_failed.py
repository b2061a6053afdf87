"""A sweep of which no trial could be trained says why, and draws nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import tracking_support as support
from store_reader import parent_of, read_runs, trials_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done


@pytest.mark.slow
@pytest.mark.usefixtures("no_probe", "plain_pictures")
def test_a_sweep_in_which_every_trial_failed_exits_with_3_and_the_reasons_and_draws_nothing(
    cli: Callable[..., Done], tmp_path: Path
) -> None:
    support.fresh_store(tmp_path, name="store")
    done = cli(
        "run", "--dataset", "shapes", "--train-limit", "256", "--dims", "2", "4", "--trials", "1",
        "--epochs", "1", "--lr", "1e18", "--store", "store", "--name", "dead",
    )  # fmt: skip
    assert done.code == 3, done.err
    assert done.out == ""
    *_, message, reason = done.err.strip().splitlines()
    assert message.startswith("error: none of the 2 trials has finished")
    assert re.fullmatch(r"\s+- 2 × validation loss nan at step 1 of 2 with lr 6.67e\+17 .*", reason)
    assert not list((tmp_path / "store").rglob("frontier.*"))
    assert not (tmp_path / "store" / "running" / "dead" / "checkpoints").exists()
    told = read_runs(str(tmp_path / "store"))
    assert parent_of(told)["status"] == "FAILED"
    assert len(trials_of(told, "failed")) == 2
