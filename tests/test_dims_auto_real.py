"""Real trainings choose their dims, also where the process is killed or interrupted meanwhile."""

from __future__ import annotations

import dataclasses
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
import shared
from commands import Done
from sweep_support import empty_store, read_until

import ae_sweep
from ae_sweep.config import half_octaves

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Server

pytestmark = pytest.mark.slow

GRID = half_octaves(1, 64)
MOST = 8
"""Two more than half: below some dim these learn nothing, and such a jump takes longer to find."""
WORDS = (
    "run", "--dataset", "shapes", "--train-limit", "1024", "--model", "mlp", "--trials", "1",
    "--epochs", "2", "--name", "some", "--store", "store", "--dims", "auto", "1:64",
    "--target-psnr", "14.5", "--trainings", str(MOST),
)  # fmt: skip
RESUMED = ("run", "--name", "some", "--resume", "--store", "store")


def trained(store: Path) -> dict[int, float]:
    """Test MSE by dim of a sweep, in the order of the trainings."""
    sweep = ae_sweep.load_sweep("some", store=store)
    finished = [trial for trial in sweep.trials if trial.test_mse is not None]
    assert len({trial.point.key for trial in finished}) == len(finished), "none is trained twice"
    return {trial.point.latent_dim: trial.test_mse or 0.0 for trial in finished}


@pytest.fixture(scope="module")
def undisturbed(process: Callable[..., Done]) -> Path:
    def make(place: Path) -> dict[str, Any]:
        empty_store(place)
        done = process(*WORDS, cwd=place, known_speed=True)
        assert done.code == 0, done.err
        return dataclasses.asdict(done)

    place, done = shared.made_once("dims that are chosen", make)
    assert "answer: 14.5 dB: d=" in Done(**done).err
    return place / "store"


def test_the_answer_is_that_of_all_dims_with_fewer_trainings(
    undisturbed: Path, process: Callable[..., Done], tmp_path: Path
) -> None:
    chosen = trained(undisturbed)
    assert len(chosen) <= MOST < len(GRID)
    answer = ae_sweep.load_sweep("some", store=undisturbed).answer
    assert answer is not None
    assert answer.settled
    empty_store(tmp_path)
    at = WORDS.index("--dims")
    listed = (*WORDS[:at], "--dims", *map(str, GRID))  # without a question
    assert process(*listed, cwd=tmp_path, known_speed=True).code == 0
    whole = trained(tmp_path / "store")
    assert chosen.items() <= whole.items(), "the same trainings give the same numbers"
    reached = [dim for dim, mse in sorted(whole.items()) if mse <= 10 ** (-1.45)]
    assert answer.dim == reached[0]


@pytest.mark.parametrize(
    ("marker", "number"),
    [
        (r"d=6 trial 0: epoch 0\.5", signal.SIGKILL),
        (r"\[4/at most 8\]", signal.SIGKILL),
        (r"\[4/at most 8\]", signal.SIGINT),
    ],
    ids=["killed in the first grid", "killed as a dim is chosen", "interrupted as one is chosen"],
)
def test_a_sweep_that_is_cut_off_comes_to_the_same_dims_and_numbers(
    server: Server,
    process: Callable[..., Done],
    undisturbed: Path,
    tmp_path: Path,
    marker: str,
    number: int,
) -> None:
    empty_store(tmp_path)
    with server.start(*WORDS, cwd=tmp_path, known_speed=True) as running:
        read_until(running, marker)
        running.send_signal(number)
        running.communicate()
    resumed = process(*RESUMED, cwd=tmp_path, known_speed=True)
    assert resumed.code == 0, resumed.err
    assert trained(tmp_path / "store") == trained(undisturbed)
    again = process(*RESUMED, cwd=tmp_path, known_speed=True)
    assert not re.search(r"trial 0: lr", again.err), "nothing is left to train"
    assert "no further dim is needed" in again.err


def test_two_workers_choose_two_at_a_time_and_agree_with_one(
    undisturbed: Path, process: Callable[..., Done], tmp_path: Path
) -> None:
    empty_store(tmp_path)
    done = process(*WORDS, "--workers", "2", cwd=tmp_path, known_speed=True)
    assert done.code == 0, done.err
    one, two = (
        ae_sweep.load_sweep("some", store=store).answer
        for store in (undisturbed, tmp_path / "store")
    )
    assert one is not None
    assert two is not None
    assert (two.dim, two.settled) == (one.dim, True)
