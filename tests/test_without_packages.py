"""What works without constriction, which some platforms lack, and without some image codecs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coded_sweeps import SETTINGS
from PIL import features

import ae_sweep
from ae_sweep import inspection, training
from ae_sweep.analysis import CurveKind
from ae_sweep.runner import setup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two small sweeps; nothing is coded yet."""
    root = tmp_path_factory.mktemp("tiny") / "store"
    speed = training.Speed(epoch_seconds=1.0, validation_seconds=0.1, test_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:  # what is measured beforehand takes seconds
        patch.setattr(training, "measure_speed", lambda *_, **__: speed)
        patch.setattr(setup, "remembered_precision", lambda *_, **__: training.FP32)
        settings = SETTINGS | {"train_limit": 256, "dims": (2,), "model": "mlp"}
        for name in ("coded", "uncoded"):
            ae_sweep.run_sweep(name, store=root, progress=False, **settings)
    return root


@pytest.fixture
def without_constriction(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make every import of constriction fail from then on, as where it is not published."""

    def block() -> None:
        for name in [each for each in sys.modules if each.split(".")[0] == "constriction"]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "constriction", None)
        with pytest.raises(ImportError):
            __import__("constriction")

    return block


def test_all_but_encode_and_decode_works_without_constriction(
    cli: Callable[..., Any],
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_constriction: Callable[[], None],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    at = ("--store", str(store))
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    coded = cli("encode", "x.npy", "-o", "a.aes", "--sweep", "coded", *at)
    assert coded.code == 0, coded.err

    without_constriction()
    for words in (("encode", "x.npy", "-o", "b.aes"), ("decode", "a.aes", "-o", "out")):
        refused = cli(*words, *at)
        assert (refused.code, refused.out) == (3, "")
        assert refused.err.startswith("error: encode and decode need the package constriction")
        assert "pip install 'constriction>=0.5,<0.6'" in refused.err
        assert refused.err.count("\n") == 1
    assert not (tmp_path / "b.aes").exists()
    assert not (tmp_path / "out").exists()

    inspected = cli("inspect", "a.aes", "--json", *at)
    assert inspected.code == 0, inspected.err
    assert json.loads(inspected.out)["images"] == 3

    words = ("frontier", "uncoded", "--rate", "bits", "--references", "pca", "gaussian", "zero")
    shown = cli(*words, "--json", "--out", "bits.png", *at)
    assert shown.code == 0, shown.err
    document = json.loads(shown.out)
    kinds = {each["name"]: each["kind"] for each in document["references"]}
    assert kinds == {"PCA + coder": "estimated", "Gaussian": "bound", "Mean image": "coded"}
    (curve,) = document["sweeps"][0]["curves"]
    assert curve["kind"] == "estimated"
    assert all(point["bits"] > 0 for point in curve["points"])
    notes = [line for line in shown.err.splitlines() if "constriction is not installed" in line]
    assert len(notes) == 2, "of the sweep and of the reference"
    (found,) = inspection.measured_rates(ae_sweep.load_sweep("uncoded", store=store)).curves
    assert found.kind is CurveKind.ESTIMATED

    assert "estimated" in cli(*words, "--csv", *at).out.splitlines()[1]
    report = cli("report", "uncoded", "--out", "page.html", *at)
    assert report.code == 0, report.err
    page = (tmp_path / "page.html").read_text()
    assert "no coder ran" in page
    assert "from which all test images were decoded again" not in page


def test_a_codec_that_pillow_lacks_is_named_with_what_to_install(
    cli: Callable[..., Any], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    check = features.check
    monkeypatch.setattr(features, "check", lambda name: name != "avif" and check(name))
    words = ("frontier", "coded", "--rate", "bits", "--store", str(store), "--references")
    for name, hint in (("avif", "pip install --force-reinstall pillow"),
                       ("jxl", "pip install 'ae-sweep[jxl]'")):  # fmt: skip
        refused = cli(*words, name)
        assert (refused.code, refused.out) == (2, "")
        assert hint in refused.err
        assert refused.err.count("\n") == 1
    found = inspection.references(
        ae_sweep.load_sweep("coded", store=store), ["lossless"], cache=store / "cache"
    )
    assert [note.partition(":")[0] for note in found.notes] == [
        "JPEG XL, lossless needs an extra that is not installed"
    ]
