"""``ae-sweep data`` on own images: a table of facts, their spectrum, refusals with a way out."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from own_sources import images, write_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in range(3):
        write_pictures(tmp_path / "set" / f"class{label}", images(40, channels=4, seed=label))
    return tmp_path / "set"


def test_own_images_are_described(cli: Callable[..., Any], folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    done = cli("data", str(folder), "--background", "white")
    assert done.code == 0
    facts = dict(line.split(maxsplit=1) for line in done.out.splitlines()[1:13])
    assert facts["images"].strip() == "120"
    assert facts["shape"].strip() == "4×4, colour"
    assert facts["modes"].strip() == "RGBA (120)"
    assert facts["classes"].strip() == "class0 (40), class1 (40), class2 (40)"
    assert re.search(r"^ +0 +0\.0% +0\.\d{5}$", done.out, re.MULTILINE)
    assert "reading 120 pictures of " in done.err
    assert "1 other file skipped: 1 .txt" in done.err


def test_the_second_time_says_the_same_and_reads_nothing(
    cli: Callable[..., Any], folder: Path
) -> None:
    (folder / "notes.txt").write_text("")
    first = cli("data", str(folder), "--background", "white")
    second = cli("data", str(folder), "--background", "white")
    assert second.out == first.out
    assert "reading" not in second.err
    assert "1 other file skipped: 1 .txt" in second.err


def test_json_holds_facts_digest_and_spectrum(cli: Callable[..., Any], folder: Path) -> None:
    done = cli("data", str(folder), "--background", "black", "--image-size", "8x6", "--json")
    document = json.loads(done.out)
    assert document["facts"]["image_shape"] == [3, 8, 6]
    assert document["facts"]["transparent"] == 120
    assert re.fullmatch("[0-9a-f]{16}", document["digest"])
    assert document["spectrum"]["components"][:3] == [1, 2, 4]


def test_the_advice_of_a_refusal_works(cli: Callable[..., Any], folder: Path) -> None:
    write_pictures(folder / "class0", images(5, side=8), prefix="large")
    refused = cli("data", str(folder))
    assert refused.code == 2
    assert "2 sizes: the commonest is 4×4, and 5 of 125 differ" in refused.err
    assert "transparent pixels in 120 of 125" in refused.err
    advice = re.findall(r"give (--\S+ \w+)", refused.err)
    assert cli("data", str(folder), *shlex.split(" ".join(advice))).code == 0


def test_no_size_is_advised_that_would_be_refused_or_take_hours(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    write_pictures(tmp_path / "wide", np.zeros((25, 2, 5000), np.uint8))
    write_pictures(tmp_path / "wide", images(5), prefix="small")
    refused = cli("data", str(tmp_path / "wide"))
    assert "the commonest is 2×5000, and 5 of 30 differ; give --image-size 64, or" in refused.err


def test_forget_removes_what_is_prepared_and_nothing_else(
    cli: Callable[..., Any], folder: Path
) -> None:
    cli("data", str(folder), "--background", "white")
    assert "removed 1 prepared set" in cli("data", str(folder), "--forget").err
    assert json.loads(cli("data", str(folder), "--forget", "--json").out) == {"removed": 0}
    assert len(list(folder.rglob("*.png"))) == 120


def test_forget_takes_the_path_of_a_folder_that_is_gone(
    cli: Callable[..., Any], folder: Path
) -> None:
    cli("data", "set", "--background", "white")
    shutil.rmtree(folder)
    assert "removed 1 prepared set" in cli("data", "set", "--forget").err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["shapes", "--image-size", "8"], "only own images are converted"),
        (["shapes", "--forget"], "--forget is for own images"),
        (["./set", "--forget", "--colour", "rgb"], "leave out --colour"),
        (["./set", "--data-dir", "x"], "leave it out"),
        (["./set", "--image-size", "8x"], "image-size must be"),
        (["./set", "--fit", "squeeze"], "there is no fit 'squeeze'"),
        (["./set", "--fit", "pad"], "give --image-size, or leave out --fit"),
        (["./set", "--background", "red"], "background must be"),
        ([""], "there is no data set ''"),
        (["floats.npy"], "give --scale"),
        (["https://example.org/set"], "is an address"),
    ],
)
def test_a_wrong_option_is_refused(
    words: list[str], reason: str, cli: Callable[..., Any], folder: Path
) -> None:
    np.save(folder.parent / "floats.npy", np.zeros((30, 4, 4)))
    done = cli("data", *words)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err


def test_a_path_that_is_missing_has_exit_code_3(cli: Callable[..., Any]) -> None:
    done = cli("data", "./nothing")
    assert done.code == 3
    assert "does not exist" in done.err


def test_a_relative_path_and_an_absolute_one_are_the_same_images(
    cli: Callable[..., Any], folder: Path
) -> None:
    first = cli("data", "set", "--background", "white", "--json")
    for path in (str(folder), "set/", "set/../set", f"{folder}/class0/.."):
        again = cli("data", path, "--background", "white", "--json")
        assert json.loads(first.out)["directory"] == json.loads(again.out)["directory"]
