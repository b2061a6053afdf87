"""Whether a network copies, told from what it makes of images it was not trained for."""

from __future__ import annotations

import numpy as np
import pytest

from ae_sweep import analysis

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
