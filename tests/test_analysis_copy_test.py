"""Whether a network copies, told from what it makes of images it was not trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ae_sweep import analysis
from ae_sweep.analysis.copy_test import _exact_pca

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(1)
X = RNG.integers(0, 256, (300, 1, 4, 4), dtype=np.uint8)
PCA = analysis.fit_pca(X)


def results(network) -> list[analysis.ProbeResult]:
    other = RNG.integers(0, 2, X.shape, dtype=np.uint8) * 255
    return [
        analysis.probe_result(probe, x, network(x / 255), latent_dim=16, pca=PCA)
        for probe, x in analysis.probes(X, others={"other": other}).items()
    ]


def test_the_identity_copies_every_probe_to_the_last_pixel() -> None:
    told = results(lambda x: x)
    assert [result.probe for result in told] == ["test", "inverted", "permuted", "noise", "other"]
    assert {(result.mse, result.psnr, result.exact, result.rebuilt) for result in told} == {
        (0.0, None, 1.0, 1.0)
    }
    assert analysis.verdict(told) == "it copies: 99% of the variance of every probe is rebuilt"
    assert not analysis.linear_is_better(told)


def test_a_network_that_knows_its_images_alone_is_told_as_such() -> None:
    known = {x.tobytes() for x in X / 255}

    def network(x):
        return np.stack([image if image.tobytes() in known else image * 0 + 0.5 for image in x])

    told = analysis.verdict(results(network))
    assert told.startswith("it has learned its images, not to copy: of inverted, permuted, noise")


def test_a_network_that_blurs_copies_in_part_and_one_that_says_grey_not_at_all() -> None:
    blurred = results(lambda x: 0.7 * x + 0.15)
    assert analysis.verdict(blurred).startswith("it copies in part: of ")
    assert analysis.linear_is_better(blurred), "16 components of 16 pixels are the identity"
    grey = results(lambda x: np.full_like(x, 0.5))
    assert "it does not copy: most of the test images" in analysis.verdict(grey)
    assert grey[0].rebuilt == pytest.approx(0, abs=0.01)


def test_the_probes_are_the_test_images_changed_and_the_same_each_time() -> None:
    once, again = analysis.probes(X), analysis.probes(X)
    assert "other" not in once
    np.testing.assert_array_equal(once["inverted"], 255 - X)
    assert not (once["permuted"] == X).all()
    flat, moved = X.reshape(300, -1), once["permuted"].reshape(300, -1)
    columns = {column.tobytes() for column in flat.T}
    assert {column.tobytes() for column in moved.T} == columns, "one permutation for all images"
    assert all((once[probe] == again[probe]).all() for probe in once)


def test_all_principal_components_are_the_identity_and_one_keeps_the_widest_direction() -> None:
    np.testing.assert_allclose(PCA.reconstruct(X, components=16), X / 255, atol=1e-9)
    line = np.zeros((100, 1, 2, 2), np.uint8)
    line[:, 0, 0, 0] = np.arange(100)
    line[:, 0, 1, 1] = RNG.integers(0, 3, 100)
    rebuilt = analysis.fit_pca(line).reconstruct(line, components=1)
    np.testing.assert_allclose(rebuilt[:, 0, 0, 0] * 255, np.arange(100), atol=2)
    assert rebuilt[:, 0, 1, 1].std() < 0.5 / 255


def large(count: int, shape: tuple[int, int, int] = (3, 20, 20), *, rank: int = 6) -> np.ndarray:
    """Make images of more than 1,024 numbers that vary in a few directions, a little elsewhere."""
    numbers = int(np.prod(shape))
    along = RNG.normal(size=(count, rank)) * np.arange(rank, 0, -1)
    flat = along @ RNG.normal(size=(rank, numbers)) * 3 + RNG.normal(size=(count, numbers))
    return (128 + 3 * flat).clip(0, 255).astype(np.uint8).reshape(count, *shape)


@pytest.mark.parametrize("count", [40, 1_500], ids=["fewer images than numbers", "randomized"])
def test_the_leading_components_of_large_images_are_those_of_the_covariance(count: int) -> None:
    x = large(count)
    exact = _exact_pca(x.reshape(count, -1).astype(np.float32) / 255)
    leading = analysis.fit_pca(x, components=6)
    assert leading.components_KP.shape == (6, 1_200)
    errors = [
        analysis.squared_errors(x, pca.reconstruct(x, components=6)).mean()
        for pca in (exact, leading)
    ]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    again = analysis.fit_pca(x, components=6)
    np.testing.assert_array_equal(again.components_KP, leading.components_KP)


def test_more_components_than_images_are_as_many_as_there_are() -> None:
    x = large(30)
    pca = analysis.fit_pca(x, components=1_024)
    assert len(pca.components_KP) == 30
    assert analysis.squared_errors(x, pca.reconstruct(x, components=1_024)).mean() < 1e-6


def test_a_large_mapped_set_is_fitted_on_a_part_of_it(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (70_000, 1, 4, 4))
    x[:] = RNG.integers(0, 256, (70_000, 1, 1, 1), dtype=np.uint8)  # flat: one component
    pca = analysis.fit_pca(np.load(tmp_path / "x.npy", mmap_mode="r"), components=2)
    np.testing.assert_allclose(abs(pca.components_KP[0]), 0.25, atol=1e-6)


def test_images_of_one_flat_colour_are_rebuilt_exactly_or_not_at_all() -> None:
    flat = np.full((20, 1, 4, 4), 51, np.uint8)
    pca = analysis.fit_pca(flat)
    for rebuilt, share in ((flat / 255, 1.0), (flat / 510, 0.0)):
        result = analysis.probe_result("test", flat, rebuilt, latent_dim=2, pca=pca)
        assert result.rebuilt == share
