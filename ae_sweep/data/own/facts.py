"""Facts about own images, found while they are read: counts, sizes, modes, what was left out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Counts: TypeAlias = tuple[tuple[str, int], ...]
"""Names and how often each occurs, the commonest first."""

Form = Literal["folder", "npz", "npy", "idx", "memory"]
Split = Literal["given", "made", "partly given", "MNIST's"]

NAME_LENGTH = 100
"""Longest name of a set or of a class, in characters."""
LISTED = 20
"""Names that are listed at most, where there may be very many."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What was found in own images when they were prepared."""

    name: str
    source: str
    form: Form
    split: Split
    image_shape: tuple[int, int, int]
    """Channels, height, width of every image."""
    train_images: int
    val_images: int
    test_images: int
    size_count: int
    """How many sizes the pictures have."""
    sizes: Counts
    """Height×width before any resizing, the 20 commonest."""
    modes: Counts
    """Pillow's modes, or type and shape of an array."""
    formats: Counts
    """Endings of the names of the pictures' files."""
    classes: Counts
    """In the order of the labels; empty where there are none."""
    duplicates: int
    """Images that equal another one of their part."""
    leaks: int
    """Validation images that equal a training image, and test images that equal one of either."""
    transparent: int
    """Pictures with transparent pixels, laid on the background."""
    resized: int
    sixteen_bits: int
    """Pictures of 16 bits, scaled by 257."""
    animated: int
    """Pictures with several frames, of which the first was taken."""
    broken: tuple[tuple[str, str], ...]
    """Pictures that were left out, and why."""
    others: Counts
    """Files that are not pictures, by ending."""
    notes: tuple[str, ...]
    """What else there is to know, one line each."""
    seconds: float
    """Time that it took to prepare them."""

    @property
    def counts(self) -> dict[str, int]:
        """Images of each part."""
        return {"train": self.train_images, "val": self.val_images, "test": self.test_images}

    def document(self) -> dict[str, Any]:
        """Return the facts as a JSON-able value."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ImageFacts:
        """Read facts from what ``document`` returned.

        Raises
        ------
        TypeError, ValueError
            If it is something else.
        """
        return cls(**{key: _as_tuple(value) for key, value in document.items()})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value
