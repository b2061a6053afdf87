"""A loaded data set: images in three parts, their labels if there are classes, and its card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ae_sweep.data.idx import Bytes
    from ae_sweep.records import DatasetCard

    Labels: TypeAlias = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """Images N×C×H×W, unsigned bytes, in three parts; their labels, if there are classes.

    The arrays of a named data set are writable, contiguous copies of their own, so that
    ``torch.from_numpy`` can share them; those of own images are read-only maps of files.
    """

    card: DatasetCard
    train_NCHW: Bytes = field(repr=False)
    val_NCHW: Bytes = field(repr=False)
    test_NCHW: Bytes = field(repr=False)
    train_labels_N: Labels | None = field(repr=False)
    """Indices into ``class_names``; None where there are no classes."""
    val_labels_N: Labels | None = field(repr=False)
    test_labels_N: Labels | None = field(repr=False)
    class_names: tuple[str, ...] = ()
