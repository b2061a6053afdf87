"""What latents know of classes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ae_sweep import analysis
from ae_sweep.errors import ConfigError

RNG = np.random.default_rng(0)


def clusters(centres: list[tuple[float, ...]], *, each: int = 60) -> tuple[np.ndarray, np.ndarray]:
    z = np.concatenate([np.array(c) + 0.3 * RNG.normal(size=(each, len(c))) for c in centres])
    return z.astype(np.float32), np.repeat(np.arange(len(centres)), each).astype(np.uint8)


def by(labels, fit_z, fit_labels) -> analysis.Labels:
    names = [str(label) for label in range(int(max(labels)) + 1)]
    return analysis.Labels(test_N=labels, fit_z_ND=fit_z, fit_N=fit_labels, names=names)


def measure(centres: list[tuple[float, ...]]) -> analysis.LatentSpace:
    z, labels = clusters(centres)
    fit_z, fit_labels = clusters(centres)
    return analysis.latent_space(z, by(labels, fit_z, fit_labels))


def test_classes_far_apart_are_told_apart_without_error() -> None:
    space = measure([(0, 0), (9, 0), (0, 9)])
    assert (space.latent_width, space.images) == (2, 180)
    assert (space.knn_accuracy, space.probe_accuracy, space.overlaps) == (1.0, 1.0, ())
    assert space.silhouette > 0.9


def test_two_classes_in_one_place_are_the_first_overlap() -> None:
    space = measure([(0, 0), (9, 0), (0, 0), (0, 9)])
    first = space.overlaps[0]
    assert first.classes == (0, 2)
    assert first.share == pytest.approx(0.5, abs=0.15)
    assert space.knn_accuracy == pytest.approx(0.75, abs=0.08)
    assert space.silhouette < 0.6


def test_an_image_does_not_vote_for_itself() -> None:
    z = np.repeat(np.arange(20, dtype=np.float32), 2)[:, None]  # in pairs of two classes
    labels = np.tile([0, 1], 20)
    space = analysis.latent_space(z, by(labels, z, labels))
    assert space.knn_accuracy < 0.7


def test_a_latent_that_hardly_varies_is_not_active_and_has_no_correlation() -> None:
    z, labels = clusters([(0, 0), (9, 9)])
    z[:, 1] = 5 + z[:, 1] * 1e-3
    still = np.zeros((len(z), 1), np.float32)
    three = np.hstack([z, still])
    space = analysis.latent_space(three, by(labels, three, labels))
    assert space.active_latents == 1
    assert (space.mean_correlation, space.largest_correlation) == (None, None)


def test_latents_that_say_the_same_are_correlated() -> None:
    z, labels = clusters([(0,), (9,)])
    twice = np.hstack([z, -z])
    space = analysis.latent_space(twice, by(labels, twice, labels))
    assert space.mean_correlation == space.largest_correlation == pytest.approx(1)


def test_collapsed_latents_are_measured_as_such() -> None:
    z, labels = np.zeros((40, 3), np.float32), np.repeat([0, 1], 20)
    space = analysis.latent_space(z, by(labels, z, labels))
    assert (space.active_latents, space.probe_accuracy) == (0, 0.5)


def test_too_few_classes_or_images_are_refused() -> None:
    z = np.zeros((8, 2), np.float32)
    with pytest.raises(ConfigError, match="all images are of one class"):
        analysis.latent_space(z, by(np.zeros(8), z, np.zeros(8)))
    labels = np.arange(8) % 2
    with pytest.raises(ConfigError, match="more than 10 test images, got 8"):
        analysis.latent_space(z, by(labels, z, labels))


def test_without_classes_only_the_latents_themselves_are_measured() -> None:
    z, _ = clusters([(0, 0), (9, 9)])
    space = analysis.latent_space(z)
    assert (space.knn_accuracy, space.probe_accuracy, space.silhouette) == (None, None, None)
    assert (space.neighbours, space.overlaps) == (None, ())
    assert (space.active_latents, space.images) == (2, 120)
    assert space.mean_correlation == pytest.approx(1, abs=0.01)


def test_small_classes_are_not_outvoted_by_the_neighbours_of_others() -> None:
    z, labels = clusters([(0, 0), (9, 0), (0, 9), (9, 9)], each=4)
    space = analysis.latent_space(z, by(labels, z, labels))
    assert (space.neighbours, space.knn_accuracy) == (3, 1.0)
    assert measure([(0, 0), (9, 0)]).neighbours == 10


def test_a_thousand_classes_are_measured_and_every_image_may_be_alone_in_its_class() -> None:
    labels = np.repeat(np.arange(1_000), 2)
    z = labels[:, None] * 10.0 + RNG.normal(size=(2_000, 4))
    z[labels == 7] = z[labels == 8]  # two classes in one place
    space = analysis.latent_space(z, by(labels, z[:1_000], labels[:1_000]))
    assert space.knn_accuracy is not None
    assert space.knn_accuracy > 0.9
    assert [overlap.classes for overlap in space.overlaps][:1] == [(7, 8)]
    assert str(space.overlaps[0]).startswith("7/8 ")
    alone = analysis.latent_space(z[::2], by(labels[::2], z[1::2], labels[1::2]))
    assert (alone.silhouette, alone.knn_accuracy) == (None, 0.0)


def test_the_plane_tells_how_much_it_shows() -> None:
    spread = np.array([1.0, 4.0, 2.0])
    plane = analysis.plane(RNG.normal(size=(20_000, 3)) * spread)
    assert plane.names == ("PC1", "PC2")
    np.testing.assert_allclose(plane.shares, [16 / 21, 4 / 21], rtol=0.05)
    np.testing.assert_allclose(abs(plane.axes_AD), [[0, 1, 0], [0, 0, 1]], atol=0.05)
    same = analysis.plane(RNG.normal(size=(100, 2)))
    z = RNG.normal(size=(5, 2))
    np.testing.assert_array_equal(same.coordinates(z), z)


def test_a_map_by_neighbours_keeps_groups_together_and_repeats() -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    rng = np.random.default_rng(0)
    groups_N = np.repeat([0, 1, 2], 40)
    z_ND = rng.normal(size=(120, 8)) + 20 * groups_N[:, None]
    mapped_N2 = analysis.neighbour_map(z_ND)
    assert mapped_N2.shape == (120, 2)
    distances_NN = np.linalg.norm(mapped_N2[:, None] - mapped_N2[None], axis=-1)
    np.fill_diagonal(distances_NN, np.inf)
    assert (groups_N[distances_NN.argmin(axis=1)] == groups_N).all()
    np.testing.assert_array_equal(mapped_N2, analysis.neighbour_map(z_ND))


def test_a_map_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install 'ae-sweep\[umap\]'"):
        analysis.neighbour_map(np.zeros((20, 3)))
