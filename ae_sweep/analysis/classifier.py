"""A small classifier of images: its answers on reconstructions, compared with those on originals.

A code may lose what distinguishes classes at an error that looks small, and keep it at one that
looks large. The agreement is the share of test images on whose reconstruction the classifier gives
the answer that it gives on the original, whether that is right or not.

Shapes: N images, C channels, H height, W width, P numbers that it sees, M hidden units, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep.analysis.gallery import evenly_spaced, images_within
from ae_sweep.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array: TypeAlias = np.ndarray[Any, Any]

SIDE = 32
"""Larger images are averaged over blocks to at most this height and width."""
HIDDEN = 128
EPOCHS = 12
MOST_IMAGES = 20_000
"""Training images at most, evenly spaced: twice as many change MNIST's accuracy by 1 %."""
SEED = 0
CHUNK_NUMBERS = 2**24
"""Numbers of the images that are classified at a time."""
ARRAYS = ("hidden_PM", "hidden_bias_M", "output_MK", "output_bias_K", "classes_K")
MOST_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A network with one hidden layer of rectified linear units (scikit-learn's MLPClassifier)."""

    image_shape: tuple[int, int, int]
    hidden_PM: Array
    hidden_bias_M: Array
    output_MK: Array
    output_bias_K: Array
    classes_K: Array
    """The labels, ascending."""

    def predict(self, x_NCHW: Array) -> Array:
        """Return the label of each image, N.

        Parameters
        ----------
        x_NCHW
            Bytes.

        Raises
        ------
        ConfigError
            For images of another shape or type.
        """
        if x_NCHW.dtype != np.uint8 or x_NCHW.shape[1:] != self.image_shape:
            wanted = "×".join(map(str, self.image_shape))
            raise ConfigError(
                f"the classifier needs bytes N×{wanted}, got {x_NCHW.dtype} of shape {x_NCHW.shape}"
            )
        step = images_within(CHUNK_NUMBERS, x_NCHW.shape)
        chosen = [
            self._scores(seen_pixels(x_NCHW[first : first + step])).argmax(axis=1)
            for first in range(0, len(x_NCHW), step)
        ]
        labels_N: Array = self.classes_K[np.concatenate(chosen)]
        return labels_N

    def _scores(self, seen_NP: Array) -> Array:
        hidden_NM = np.maximum(seen_NP @ self.hidden_PM + self.hidden_bias_M, 0)
        scores_NK: Array = hidden_NM @ self.output_MK + self.output_bias_K
        return scores_NK

    def arrays(self) -> dict[str, Array]:
        """Return its numbers by name, for a file."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], *, image_shape: tuple[int, int, int]
    ) -> Classifier | None:
        """Return the classifier of some arrays; None if they are not one of such images."""
        if set(arrays) != set(ARRAYS):
            return None
        numbers = math.prod(_seen_shape(image_shape))
        classes = len(arrays["classes_K"]) if arrays["classes_K"].ndim == 1 else 0
        shapes = {
            "hidden_PM": (numbers, HIDDEN), "hidden_bias_M": (HIDDEN,),
            "output_MK": (HIDDEN, classes), "output_bias_K": (classes,), "classes_K": (classes,),
        }  # fmt: skip
        if not 2 <= classes <= MOST_CLASSES or any(
            arrays[name].shape != shape for name, shape in shapes.items()
        ):
            return None
        kinds = {name: "i" if name == "classes_K" else "f" for name in ARRAYS}
        if any(arrays[name].dtype.kind != kind for name, kind in kinds.items()):
            return None
        if not all(np.isfinite(arrays[name]).all() for name in ARRAYS):
            return None
        return cls(image_shape=image_shape, **arrays)


def fit_classifier(x_NCHW: Array, labels_N: Array) -> Classifier:
    """Train a classifier on training images; the same one for the same images.

    Parameters
    ----------
    x_NCHW
        Bytes, at least one image of each class; at most 20,000 are used.
    labels_N
        Their classes, at least two different ones.

    Raises
    ------
    ConfigError
        If all images are of one class.
    """
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 - seconds to import

    chosen_N = evenly_spaced(len(x_NCHW), count=MOST_IMAGES)
    labels_N = np.asarray(labels_N)[chosen_N].astype(np.int64)
    classes_K = np.unique(labels_N)
    if len(classes_K) < 2:
        raise ConfigError(
            f"a classifier needs images of two classes, and all {len(labels_N):,} are of one"
        )
    seen_NP = seen_pixels(np.asarray(x_NCHW[chosen_N]))
    network = MLPClassifier(
        (HIDDEN,), batch_size=min(200, len(seen_NP)), learning_rate_init=1e-3, random_state=SEED
    )
    # One pass of shuffled batches each; `fit` would warn that it has not converged.
    for _ in range(EPOCHS):
        network.partial_fit(seen_NP, labels_N, classes=classes_K)
    (hidden_PM, output_MK), (hidden_bias_M, output_bias_K) = network.coefs_, network.intercepts_
    if len(classes_K) == 2:
        # One output, whose sign decides, becomes the difference of two.
        output_MK = np.hstack([-output_MK / 2, output_MK / 2])
        output_bias_K = np.concatenate([-output_bias_K / 2, output_bias_K / 2])
    channels, height, width = map(int, x_NCHW.shape[1:])
    return Classifier(
        image_shape=(channels, height, width),
        hidden_PM=hidden_PM,
        hidden_bias_M=hidden_bias_M,
        output_MK=output_MK,
        output_bias_K=output_bias_K,
        classes_K=classes_K,
    )


def agreement(of_originals_N: Array, of_rebuilt_N: Array) -> float:
    """Return the share of images with the same label in both."""
    return float((np.asarray(of_originals_N) == np.asarray(of_rebuilt_N)).mean())


def seen_pixels(x_NCHW: Array) -> Array:
    """Return images as the classifier sees them: floats in [0, 1], N×P, large ones averaged."""
    channels, height, width = x_NCHW.shape[1:]
    down, across = _block(height), _block(width)
    high, wide = height // down, width // across
    # What is left over of a side that is not a multiple is cut off.
    cut = x_NCHW[:, :, : high * down, : wide * across]
    blocks = cut.reshape(len(x_NCHW), channels, high, down, wide, across)
    seen_NP: Array = blocks.mean(axis=(3, 5), dtype=np.float32).reshape(len(x_NCHW), -1)
    return seen_NP / np.float32(255)


def _block(side: int) -> int:
    return -(-side // SIDE)


def _seen_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = image_shape
    return channels, height // _block(height), width // _block(width)
