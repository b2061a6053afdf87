"""References: other codes of the test images, measured once for a data set."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from blobs import blob_dataset

from ae_sweep import inspection
from ae_sweep.analysis.byte_distortion import byte_distortion
from ae_sweep.analysis.rate_curve import CurveKind
from ae_sweep.codec import ans
from ae_sweep.data import image_codecs
from ae_sweep.errors import ConfigError
from ae_sweep.inspection import linear_references, references
from ae_sweep.inspection.linear_references import LinearReferences, lowest_level
from ae_sweep.inspection.reference_cache import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.analysis.rate_curve import RateCurve

LINEAR = ("pca", "gaussian", "zero")
QUICK = ("pca", "gaussian", "jpeg", "zero")


class Lines(list[str]):
    """Announced lines."""

    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse ladders, so that a test is quick."""
    monkeypatch.setattr(linear_references, "STEPS", 4)
    monkeypatch.setattr(image_codecs, "LOSSY", tuple(map(_short, image_codecs.LOSSY)))


def _short(codec: image_codecs.ImageCodec) -> image_codecs.ImageCodec:
    return dataclasses.replace(codec, qualities=codec.qualities[2:4], single_images=5)


def named(curves: tuple[RateCurve, ...], name: str) -> RateCurve:
    return next(curve for curve in curves if curve.name == name)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("shape", [(1, 8, 10), (3, 9, 7)])
def test_all_references_are_measured_on_images_of_any_shape(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    pytest.importorskip("pillow_jxl")
    found = references(blob_dataset(shape), dims=[3, 1, 999], cache=tmp_path)
    assert [curve.name for curve in found.curves] == [
        "PCA + coder", "Gaussian",
        *(f"{name}, {how}" for name in ("JPEG", "WebP", "AVIF", "JPEG XL", "PNG, lossless",
                                        "WebP, lossless", "JPEG XL, lossless")
          for how in ("mosaic", "singly")),
        "Mean image",
    ]  # fmt: skip
    assert found.notes == ()
    for curve in found.curves:
        bits = [point.bits for point in curve.points]
        assert bits == sorted(set(bits))
        assert curve.image_shape == shape
        single = curve.name.endswith("singly") and "lossless" not in curve.name
        assert curve.images == (5 if single else 40)
        lossless = "lossless" in curve.name
        assert all((point.mse == 0) == lossless for point in curve.points)
        assert curve.kind is (CurveKind.BOUND if curve.name == "Gaussian" else CurveKind.CODED)
    assert named(found.curves, "Gaussian").description == (
        "a Gaussian source of this covariance; an upper bound on R(D), and codecs may lie below it"
    )
    assert [point.latent_dim for point in found.pca] == [1, 3, 999]
    assert found.pca[0].mse > found.pca[1].mse > found.pca[2].mse == 0


@pytest.mark.slow
def test_components_rebuild_images_as_scikit_learns_do() -> None:
    from sklearn.decomposition import PCA

    dataset = blob_dataset()
    points = LinearReferences(dataset, [1, 4, 16]).pca_points()
    x_NP, test_NP = (
        x_NCHW.reshape(len(x_NCHW), -1) / 255 for x_NCHW in (dataset.train_NCHW, dataset.test_NCHW)
    )
    for point in points:
        theirs = PCA(point.latent_dim, svd_solver="full").fit(x_NP)
        rebuilt_NP = theirs.inverse_transform(theirs.transform(test_NP))
        bytes_NP = np.clip(np.rint(rebuilt_NP * 255), 0, 255)
        assert point.mse == pytest.approx(np.square(bytes_NP / 255 - test_NP).mean(), rel=1e-6)


def test_the_coded_components_cost_what_was_decoded_and_approach_the_components() -> None:
    dataset = blob_dataset()
    linear = LinearReferences(dataset, [999])
    curve = linear.coded()
    errors = [point.mse for point in curve.points]
    assert errors == sorted(errors, reverse=True)
    zero = linear.mean_image().points[0]
    assert 0.5 * zero.mse < errors[0] <= 1.1 * zero.mse
    assert errors[-1] < 2 * linear_references.FINEST_MSE
    assert curve.header_bytes == 45
    most = max(point.latent_dim or 0 for point in curve.points)
    assert curve.decoder_bytes == 4 * 80 * (most + 1)


@pytest.mark.usefixtures("few_steps")
def test_without_a_coder_the_lengths_are_marked_as_estimates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coded = references(blob_dataset(), ["pca"], cache=tmp_path)
    monkeypatch.setattr(ans, "is_available", lambda: False)
    found = references(blob_dataset(), ["pca"], cache=tmp_path)
    assert found.curves[0].kind is CurveKind.ESTIMATED
    assert "constriction is not installed" in found.notes[0]
    for one, other in zip(coded.curves[0].points, found.curves[0].points, strict=True):
        assert one.mse == other.mse
        # A stream ends in whole words: at most 64 bits over 40 images.
        assert 0 <= one.bits - other.bits <= 64 / 40


def test_the_gaussian_bound_is_the_closed_form_where_all_components_are_active(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linear = LinearReferences(blob_dataset((1, 2, 2)))
    variance_K = linear.components.variance_K
    monkeypatch.setattr(linear_references, "BOUND_MSE", variance_K[-1] / 2)
    point = linear.gaussian().points[-1]
    assert point.latent_dim == 4
    expected = 0.5 * np.log2(variance_K / point.mse).sum()
    assert point.bits == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mse", [1e-4, 1e-3, 1e-2])
def test_water_rises_until_it_adds_up_to_the_error(mse: float) -> None:
    components = LinearReferences(blob_dataset()).components
    level = lowest_level(components, mse)
    assert np.minimum(components.variance_K, level).sum() == pytest.approx(80 * mse, rel=1e-9)
    assert lowest_level(components, 9.0) == components.variance_K[0]


def test_components_that_are_left_out_bound_the_level() -> None:
    whole = LinearReferences(blob_dataset()).components
    few = dataclasses.replace(
        whole, variance_K=whole.variance_K[:3], components_KP=whole.components_KP[:3]
    )
    assert lowest_level(few, 1e-6) == few.variance_K[-1]


def test_dims_change_no_curve_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_references, "EXACT_NUMBERS", 79)
    monkeypatch.setattr(linear_references, "MOST_COMPONENTS", 5)
    dataset = blob_dataset()
    without, beyond = LinearReferences(dataset), LinearReferences(dataset, [9, 999])
    few, all_ = beyond.pca_points()
    assert few.mse > all_.mse == 0
    assert beyond.coded() == without.coded()
    assert beyond.gaussian() == without.gaussian()
    assert max(point.latent_dim or 0 for point in without.coded().points) == 5
    rest = without.components.rest_variance
    assert rest > 0
    assert min(point.mse for point in without.gaussian().points) >= rest / 80


def test_all_components_of_small_images_are_used() -> None:
    assert len(LinearReferences(blob_dataset((1, 28, 28))).components.variance_K) == 784


def test_the_mean_image_takes_no_bits() -> None:
    dataset = blob_dataset()
    curve = LinearReferences(dataset).mean_image()
    mean_CHW = np.rint(dataset.train_NCHW.mean(axis=0)).astype(np.uint8)
    expected = byte_distortion(dataset.test_NCHW, np.stack([mean_CHW] * 40))
    assert (curve.points[0].bits, curve.points[0].mse) == (0, expected.mse)


@pytest.mark.usefixtures("few_steps")
def test_the_second_time_nothing_is_measured(tmp_path: Path) -> None:
    lines = Lines()
    first = references(blob_dataset(), QUICK, dims=[2], cache=tmp_path, announce=lines)
    assert len(lines) == 4
    assert references(blob_dataset(), QUICK, dims=[2], cache=tmp_path, announce=lines) == first
    # A part is recalled by itself, and other dims measure nothing but the dims.
    references(blob_dataset(), ["jpeg"], cache=tmp_path, announce=lines)
    assert len(lines) == 4
    references(blob_dataset(), ["pca"], dims=[3], cache=tmp_path, announce=lines)
    assert lines[4:] == [lines[0]]


@pytest.mark.usefixtures("few_steps")
def test_other_images_and_other_versions_are_measured_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = Lines()

    def measure(digest: str = "b") -> None:
        references(blob_dataset(digest=digest), ["jpeg"], cache=tmp_path, announce=lines)

    measure()
    measure("other")
    assert len(lines) == 2
    monkeypatch.setattr(image_codecs, "versions", lambda codec: {"pillow": "99"})
    measure()
    assert len(lines) == 3


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"[" * 100_000,
        lambda content: b"\xff" * 9,
        lambda content: b" " * (5 << 20),
        lambda content: content.replace(b'"bits"', b'"bytes"'),
        lambda content: content.replace(b'"points": [', b'"points": [3, '),
        lambda content: content.replace(b'"coded"', b'"guessed"'),
        lambda content: content.replace(b'"bits": ', b'"bits": -'),
        lambda content: content.replace(b'"results": [', b'"results": [null, '),
        lambda content: content.replace(b'"document": {', b'"document": null, "other": {'),
        lambda content: content.replace(b'"version": 1', b'"version": 2'),
    ],
)
def test_a_damaged_cache_is_made_anew(damage: Any, tmp_path: Path) -> None:
    first = references(blob_dataset(), ["jpeg"], cache=tmp_path)
    (path,) = (tmp_path / FOLDER).iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert path.read_bytes() != content
    lines = Lines()
    assert references(blob_dataset(), ["jpeg"], cache=tmp_path, announce=lines) == first
    assert len(lines) == 1
    assert path.read_bytes() == content


@pytest.mark.usefixtures("few_steps")
def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = references(blob_dataset(), ["jpeg"], cache=blocked)
    assert len(found.curves) == 2


@pytest.mark.usefixtures("few_steps")
def test_two_that_measure_at_once_leave_one_complete_file(tmp_path: Path) -> None:
    start = threading.Barrier(2)
    found: list[inspection.References] = []

    def measure() -> None:
        start.wait()
        found.append(references(blob_dataset(), ["jpeg"], cache=tmp_path))

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    (path,) = (tmp_path / FOLDER).iterdir()
    assert json.loads(path.read_bytes())["document"]


@pytest.mark.parametrize("names", [["jpg"], ["all", "jpeg"], ["none", "zero"], ["all", "none"]])
def test_names_that_make_no_sense_are_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"there is no reference 'jpg', only pca|not both"):
        inspection.chosen_references(names)


def test_names_are_put_in_order() -> None:
    assert inspection.chosen_references(["zero", "pca", "zero"]) == ("pca", "zero")
    assert inspection.chosen_references(["all"]) == inspection.REFERENCES
    assert inspection.chosen_references(["none"]) == inspection.chosen_references([]) == ()


@pytest.mark.usefixtures("few_steps")
def test_a_codec_that_is_not_installed_is_noted_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image_codecs, "JXL_MODULE", "not_there_at_all")
    found = references(blob_dataset(), cache=tmp_path)
    assert not any("XL" in curve.name for curve in found.curves)
    assert len(found.curves) == 13
    assert [note.partition(":")[0] for note in found.notes] == [
        "JPEG XL needs an extra that is not installed",
        "JPEG XL, lossless needs an extra that is not installed",
    ]
    with pytest.raises(ConfigError, match=r"pip install 'ae-sweep\[jxl\]'"):
        references(blob_dataset(), ["jxl"], cache=tmp_path)


def test_images_that_are_all_equal_leave_principal_components_out(tmp_path: Path) -> None:
    dataset = blob_dataset()
    equal = dataclasses.replace(dataset, train_NCHW=np.zeros_like(dataset.train_NCHW))
    found = references(equal, LINEAR, cache=tmp_path)
    assert [curve.name for curve in found.curves] == ["Mean image"]
    assert found.notes == ("training images that are all equal have no principal components",)


def test_images_too_wide_for_a_codec_are_noted(tmp_path: Path) -> None:
    found = references(blob_dataset((1, 1, 16_400), train=2, test=1), ["webp"], cache=tmp_path)
    assert (found.curves, len(found.notes)) == ((), 1)
    assert "WebP takes pictures of up to 16,383 pixels a side" in found.notes[0]
