"""Principal components of images."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ae_sweep import data
from ae_sweep.analysis.principal_components import PrincipalComponents
from ae_sweep.errors import ConfigError
from ae_sweep.locations import cache_dir


def images(count, shape, *, seed=0):
    """Return blurred noise: neighbouring pixels are alike, so that the variances differ."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(count, *shape)).cumsum(axis=-1).cumsum(axis=-2)
    low, high = smooth.min(), smooth.max()
    return np.rint((smooth - low) / (high - low) * 255).astype(np.uint8)


def test_components_equal_those_of_scikit_learn():
    x_NCHW = images(700, (3, 4, 5))
    ours = PrincipalComponents.fit(x_NCHW)
    x_NP = x_NCHW.reshape(700, -1) / 255
    theirs = PCA(svd_solver="full").fit(x_NP)
    np.testing.assert_allclose(ours.mean_P, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(ours.variance_K, theirs.explained_variance_, rtol=1e-6, atol=1e-12)
    assert ours.total_variance == pytest.approx(theirs.explained_variance_.sum(), rel=1e-9)
    signs_K1 = np.sign((ours.components_KP * theirs.components_).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.components_KP, signs_K1 * theirs.components_, atol=1e-6)
    scores_NK = ours.project(x_NCHW[:9], components=7)
    np.testing.assert_allclose(
        scores_NK, signs_K1[:7, 0] * theirs.transform(x_NP[:9])[:, :7], atol=1e-6
    )
    assert (ours.images, ours.image_shape, ours.rest_variance) == (700, (3, 4, 5), 0)


def test_all_components_rebuild_an_image_and_few_of_them_lose_the_other_variances():
    x_NCHW = images(300, (1, 6, 6))
    pca = PrincipalComponents.fit(x_NCHW)
    np.testing.assert_allclose(pca.rebuild(pca.project(x_NCHW)), x_NCHW / 255, atol=1e-9)
    lost = pca.rebuild(pca.project(x_NCHW, components=5)) - x_NCHW / 255
    assert np.square(lost).sum() / 299 == pytest.approx(pca.variance_K[5:].sum())
    few = PrincipalComponents.fit(x_NCHW, components=5)
    np.testing.assert_array_equal(few.components_KP, pca.components_KP[:5])
    assert few.rest_variance == pytest.approx(pca.variance_K[5:].sum())


def test_no_image_keeps_its_shape():
    pca = PrincipalComponents.fit(images(20, (1, 3, 3)))
    scores_NK = pca.project(np.empty((0, 1, 3, 3), np.uint8))
    assert scores_NK.shape == (0, 9)
    assert pca.rebuild(scores_NK).shape == (0, 1, 3, 3)


def test_large_images_have_their_leading_components():
    x_NCHW = images(60, (1, 56, 56))
    ours = PrincipalComponents.fit(x_NCHW, components=8)
    theirs = PCA(svd_solver="full").fit(x_NCHW.reshape(60, -1) / 255)
    np.testing.assert_allclose(ours.variance_K, theirs.explained_variance_[:8], rtol=1e-3)
    assert ours.total_variance == pytest.approx(theirs.explained_variance_.sum(), rel=1e-5)
    assert ours.rest_variance == pytest.approx(theirs.explained_variance_[8:].sum(), rel=1e-2)
    again = PrincipalComponents.fit(x_NCHW, components=8)
    np.testing.assert_array_equal(again.components_KP, ours.components_KP)


@pytest.mark.parametrize(
    ("x_NCHW", "components", "reason"),
    [
        (np.zeros((1, 1, 2, 2), np.uint8), None, "at least 2 images, got 1"),
        (np.zeros((5, 1, 2, 2)), None, "need bytes, N×C×H×W, got float64"),
        (np.zeros((5, 4), np.uint8), None, r"of shape \(5, 4\)"),
        (np.zeros((5, 1, 2, 2), np.uint8), 0, "components must be at least 1, got 0"),
    ],
)
def test_what_has_no_principal_components_is_refused(x_NCHW, components, reason):
    with pytest.raises(ConfigError, match=reason):
        PrincipalComponents.fit(x_NCHW, components=components)


@pytest.mark.slow
def test_spectrum_of_mnist_is_the_one_that_was_measured():
    mnist = data.load("mnist", cache_dir=cache_dir())
    x_NCHW = np.concatenate([mnist.train_NCHW, mnist.val_NCHW])
    pca = PrincipalComponents.fit(x_NCHW)
    assert pca.total_variance == pytest.approx(52.73, abs=0.005)
    shares_K = np.cumsum(pca.variance_K) / pca.total_variance
    assert [int(np.argmax(shares_K >= share)) + 1 for share in (0.9, 0.95)] == [87, 154]
    error = np.square(mnist.test_NCHW.reshape(-1, 784) / 255 - pca.mean_P).mean()
    assert error == pytest.approx(0.0675, abs=0.0002)
