"""Split, order and identity of own images: functions of pixels and classes, not of names.

Shapes: N images; a hash is 32 bytes, also seen as four big-endian numbers of 64 bits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.config import digest
from ae_sweep.data.split import HELD_OUT, split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from ae_sweep.data.arrays import Part
    from ae_sweep.data.idx import Bytes

    Numbers = NDArray[np.int64]

IDENTITY_VERSION = 1
"""Part of the digest of own images: with another split or order they are another data set."""
PARTS: tuple[Part, ...] = ("train", "val", "test")
GIVEN = {None: -1, "train": 0, "val": 1, "test": 2}
"""Numbers of the parts in an array of given parts; -1 where the split is to be made."""
THRESHOLD = np.uint64(2**64 // HELD_OUT)
"""A number of 64 bits below it: one image in twelve."""


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """The images of each part, in order."""

    images: Mapping[Part, Numbers]
    """Numbers of the images in the scratch file."""
    hashes_N: Bytes
    """Of all images, N×32."""
    classes_N: Numbers | None
    """Of all images."""

    def hashes(self, part: Part) -> Bytes:
        """Return the hashes of a part's images, N×32."""
        return self.hashes_N[self.images[part]]

    def classes(self, part: Part) -> Numbers | None:
        """Return the classes of a part's images."""
        return None if self.classes_N is None else self.classes_N[self.images[part]]

    @property
    def duplicates(self) -> int:
        """How many images equal another one of their part."""
        return sum(
            len(chosen_N) - len(np.unique(_as_texts(self.hashes_N[chosen_N])))
            for chosen_N in self.images.values()
        )

    @property
    def leaks(self) -> int:
        """How many validation images equal a training image, and test images one of either."""
        train, val, test = (_as_texts(self.hashes(part)) for part in PARTS)
        earlier = np.concatenate((train, val))
        return int(np.isin(val, train).sum() + np.isin(test, earlier).sum())


def arrange(
    hashes_N: Bytes, *, good_N: NDArray[np.bool_], given_N: Numbers, classes_N: Numbers | None
) -> Arranged:
    """Divide images into parts where that is not given, and put each part in order of its hashes.

    A hash decides alone: an added image moves no other, equal images are in one part. Where no
    part is given, one twelfth is for testing and one twelfth of the rest for validation; given test
    images leave the second step to be done, given validation images the first.
    """
    part_N = given_N.copy()
    has = {part: bool((given_N == number).any()) for part, number in GIVEN.items()}
    words_N4 = _words(hashes_N)
    open_N = given_N <= 0  # to be divided: training images may become others
    if not has["test"]:
        part_N[open_N & (words_N4[:, 0] < THRESHOLD)] = GIVEN["test"]
    rest_N = open_N & (part_N <= 0)
    part_N[rest_N] = GIVEN["train"]
    if not has["val"]:
        part_N[rest_N & (words_N4[:, 1] < THRESHOLD)] = GIVEN["val"]
    rank_N = _class_ranks(hashes_N, np.where(good_N, part_N, -1), classes_N)
    order_N = np.lexsort((rank_N, *words_N4.T[::-1]))
    order_N = order_N[good_N[order_N]]
    return Arranged(
        images={part: order_N[part_N[order_N] == GIVEN[part]] for part in PARTS},
        hashes_N=hashes_N,
        classes_N=classes_N,
    )


def arrange_like_mnist(hashes_N: Bytes, *, train: int, classes_N: Numbers | None) -> Arranged:
    """Divide images as the named sets are: the last ones are for testing, the rest is shuffled."""
    train_N, val_N = split(train)
    return Arranged(
        images={
            "train": train_N.astype(np.int64),
            "val": val_N.astype(np.int64),
            "test": np.arange(train, len(hashes_N)),
        },
        hashes_N=hashes_N,
        classes_N=classes_N,
    )


def identity(
    image_shape: tuple[int, int, int],
    hashes: Mapping[Part, Bytes],
    classes: Mapping[Part, NDArray[np.integer] | None],
) -> str:
    """Hash the pixels of all parts, and which images are of one class, to 16 digits.

    Classes are numbered as they first appear: their names do not matter.
    """
    content: dict[str, object] = {
        "own_images": IDENTITY_VERSION,
        "image_shape": list(image_shape),
    }
    for part in PARTS:
        content[part] = _sha256(hashes[part]).hexdigest()
    labels = [found for part in PARTS if (found := classes[part]) is not None]
    if labels:
        _, first_N, inverse_N = np.unique(
            np.concatenate(labels), return_index=True, return_inverse=True
        )
        number_K = np.argsort(np.argsort(first_N))
        content["classes"] = _sha256(number_K[inverse_N].astype(">u4")).hexdigest()
    return digest(content)


def _class_ranks(hashes_N: Bytes, part_N: Numbers, classes_N: Numbers | None) -> Numbers:
    """Rank classes by their images alone, to order equal images of several classes."""
    if classes_N is None:
        return np.zeros(len(hashes_N), np.int64)
    names_K, class_N = np.unique(classes_N, return_inverse=True)
    rows = np.column_stack((part_N.astype(np.uint8), hashes_N))
    contents = [
        _sha256(np.sort(_as_texts(rows[(class_N == index) & (part_N >= 0)]))).digest()
        for index in range(len(names_K))
    ]
    order = sorted(range(len(contents)), key=contents.__getitem__)
    rank_K = np.empty(len(contents), np.int64)
    rank_K[order] = np.arange(len(contents))
    return rank_K[class_N]


def _sha256(array: NDArray[Any]) -> hashlib._Hash:
    return hashlib.sha256(np.ascontiguousarray(array).data)


def _words(hashes_N: Bytes) -> NDArray[np.uint64]:
    return np.ascontiguousarray(hashes_N).view(">u8").astype(np.uint64)


def _as_texts(rows_N: Bytes) -> NDArray[np.void]:
    """View each row as one value that can be compared."""
    rows_N = np.ascontiguousarray(rows_N)
    return rows_N.view(f"V{rows_N.shape[1]}")[:, 0]
