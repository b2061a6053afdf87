"""The commands that a run's description in MLflow has on its sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from request_support import request

from ae_sweep.runner.commands import stored_commands

if TYPE_CHECKING:
    from pathlib import Path


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
