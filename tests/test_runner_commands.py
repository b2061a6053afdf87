"""The commands that a run's description in MLflow has on its sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from ae_sweep.locations import open_at
from ae_sweep.runner.commands import stored_commands
from ae_sweep.runner.request import SweepRequest, make_request

if TYPE_CHECKING:
    from pathlib import Path


def request(tmp_path: Path, **options: Any) -> SweepRequest:
    return make_request(
        "own",
        {"dataset": "shapes", "dims": "2"},
        store=open_at(tmp_path / "store"),
        now=time.localtime(),
        announce=lambda _line: None,
        **options,
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "--workers 1 "),
        ({"share_cores": True}, "--resume --store"),
        ({"workers": 3}, "--workers 3 "),
        ({"device": "cpu"}, "--device cpu "),
        ({"image_memory": 0.25}, "--image-memory 0.25 "),
    ],
    ids=str,
)
def test_the_command_that_completes_it_is_that_of_an_interruption(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    made = request(tmp_path, **options)
    (command,) = [each for each in stored_commands(made).values() if "--resume" in each]
    assert expected in command
    assert command == made.resume_command


def test_all_commands_that_read_images_name_their_directory(tmp_path: Path) -> None:
    made = request(tmp_path, data_dir=tmp_path / "images")
    named = [each for each in stored_commands(made).values() if f"--data-dir {tmp_path}" in each]
    assert [each.split()[1] for each in named] == ["report", "reconstruct", "run"]
