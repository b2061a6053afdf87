"""A sweep of own images, trained, exported and imported by the command line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from own_images import draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Done

pytestmark = pytest.mark.slow

SWEEP = ("--dims", "2", "4", "--trials", "2", "--epochs", "1", "--lr", "1e-3", "4e-3")
OF_ONE_STORE = ("run_id", "seed_run_ids")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An array of pictures in a directory whose name is nobody's business."""
    folder = tmp_path / "secret project" / "x"
    folder.mkdir(parents=True)
    x_NCHW, _ = draw(300, (1, 16, 16), classes=5)
    np.save(folder / "discs.npy", x_NCHW[:, 0])
    return folder / "discs.npy"


def curve(cli: Callable[..., Done], store: Path) -> Any:
    done = cli("frontier", "discs", "--json", "--store", str(store))
    assert done.code == 0, done.err
    document = json.loads(done.out)
    for point in document["points"]:
        for key in OF_ONE_STORE:
            point.pop(key, None)
    return document


@pytest.mark.usefixtures("no_probe")
def test_what_is_imported_is_shown_reported_resumed_and_extended_as_the_original(
    cli: Callable[..., Done], images: Path, tmp_path: Path
) -> None:
    def command(*words: str) -> Done:
        done = cli(*words)
        assert done.code == 0, done.err
        return done

    there = tmp_path / "secret project" / "store"
    own = ("--dataset", str(images))
    command("run", "--name", "discs", *own, *SWEEP, "--store", str(there))
    command("reconstruct", "discs", *own, "--out", "a.png", "--store", str(there))
    exported = tmp_path / "exported"
    command("export", "discs", str(exported), "--store", str(there))
    for path in exported.rglob("*"):
        assert not path.is_file() or b"secret project" not in path.read_bytes(), path
    assert {path.suffix for path in exported.rglob("*")} >= {
        ".png",
        ".json",
        ".csv",
        ".safetensors",
    }

    here = tmp_path / "here"
    command("import", str(exported), "--store", str(here))
    shutil.rmtree(exported)
    assert curve(cli, here) == curve(cli, there)

    pages = []
    for store in (there, here):
        out = tmp_path / f"{store.parent.name}.html"
        command("report", "discs", *own, "--out", str(out), "--store", str(store))
        pages.append(out.read_text())
    assert "Not available" not in pages[1]
    assert pages[1].count("<img ") == pages[0].count("<img ") > 3

    resume = ("run", "--name", "discs", "--resume", *own)
    planned = command(*resume, "--dry-run", "--json", "--store", str(here))
    assert json.loads(planned.out)["trials_to_train"] == 0
    for store in (there, here):
        command(*resume, "--dims", "2", "4", "8", "--store", str(store))
    grown = curve(cli, here)
    assert [point["latent_dim"] for point in grown["points"]] == [2, 4, 8]
    assert without_seconds(grown) == without_seconds(curve(cli, there))


def without_seconds(document: Any) -> Any:
    for point in document["points"]:
        point.pop("train_seconds", None)
    return document["points"]
