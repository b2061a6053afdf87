"""Reading of own images of any form into a scratch file, with the part and class of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.data.arrays import open_arrays
from ae_sweep.data.own.arrangement import GIVEN
from ae_sweep.data.own.conditions import advised_size, check_amount, check_broken
from ae_sweep.data.own.layout import MAX_CLASSES, read_layout
from ae_sweep.data.own.reading import Progress, read_arrays, read_pictures
from ae_sweep.errors import ConfigError
from ae_sweep.messages import times, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.arrays import ArrayPart
    from ae_sweep.data.own.arrangement import Numbers
    from ae_sweep.data.own.facts import Form
    from ae_sweep.data.own.idx_folder import IdxFolder
    from ae_sweep.data.own.listing import ListedFile, Listing
    from ae_sweep.data.own.pixel_file import PixelFile
    from ae_sweep.data.own.reading import ArrayImages, Converted
    from ae_sweep.data.own.sources import Found

    Announce = Callable[[str], None]
    Labels = Sequence[NDArray[np.integer[Any]] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Collected:
    """Images that lie in a scratch file, with the part and class of each."""

    form: Form
    converted: Converted
    given_N: Numbers
    """Number of the part that each belongs to; -1 where the split is to be made."""
    classes_N: Numbers | None
    class_names: tuple[str, ...]
    formats: Counter[str]
    notes: tuple[str, ...] = ()
    files: Sequence[ListedFile] = ()
    """The file of each image, where each has its own."""
    others: Counter[str] = field(default_factory=Counter)
    idx: IdxFolder | None = None
    """Set if parts, order and identity are to be those of the named sets."""


def collect(
    found: Found, options: ImageOptions, *, pixels: PixelFile, announce: Announce | None
) -> Collected:
    """Read and convert all images of a path into a scratch file.

    Raises
    ------
    ConfigError
        If it is unclear what they are.
    DataError
        If they cannot be read.
    """
    if found.listing is not None:
        return _collect_pictures(found.listing, options, pixels=pixels, announce=announce)
    if found.idx is not None:
        return _collect_idx(found, found.idx, options, pixels=pixels, announce=announce)
    return collect_parts(
        open_arrays(found.path, options),
        options,
        form=found.form,
        place=visible(found.path),
        pixels=pixels,
        announce=announce,
    )


def collect_parts(
    parts: Sequence[ArrayPart],
    options: ImageOptions,
    *,
    form: Form,
    place: str,
    pixels: PixelFile,
    announce: Announce | None,
) -> Collected:
    """Read the images and labels of a file of arrays, or of an array in memory."""
    shapes = {part.image_shape for part in parts}
    if len(shapes) > 1 and options.image_size is None:
        listed = ", ".join(times(shape) for shape in sorted(shapes))
        size = advised_size(*parts[0].image_shape[:2])
        raise ConfigError(
            f"the arrays of {place} have images of {listed}; give --image-size {size}, or save "
            "them in one shape"
        )
    collected = collect_arrays(
        parts,
        lambda: [part.labels_N for part in parts],
        options,
        form=form,
        place=place,
        pixels=pixels,
        announce=announce,
    )
    notes = tuple(note for part in parts for note in part.notes)
    return replace(collected, notes=notes + collected.notes)


def collect_arrays(
    sources: Sequence[ArrayImages],
    labels: Callable[[], Labels],
    options: ImageOptions,
    *,
    form: Form,
    place: str,
    pixels: PixelFile,
    announce: Announce | None,
    names: tuple[str, ...] = (),
) -> Collected:
    """Read the images of arrays, and then their labels.

    Parameters
    ----------
    labels
        Returns the labels of each source; called when all images have been read.
    names
        Names of the labels 0, 1, ...; the numbers themselves where there are fewer.
    """
    count = sum(source.count for source in sources)
    check_amount(count, place=place)
    progress = Progress(count, "image", announce)
    progress.begin(place)
    converted = read_arrays(sources, options, pixels=pixels, progress=progress)
    classes_N, class_names, notes = name_classes(labels(), names)
    return Collected(
        form=form,
        converted=converted,
        given_N=np.concatenate(
            [np.full(source.count, GIVEN[source.part], np.int64) for source in sources]
        ),
        classes_N=classes_N,
        class_names=class_names,
        formats=Counter({form: count}),
        notes=notes,
    )


def name_classes(
    labels: Labels, names: tuple[str, ...] = ()
) -> tuple[Numbers | None, tuple[str, ...], tuple[str, ...]]:
    """Assign numbers and names to the distinct labels of all parts.

    Returns
    -------
    tuple
        Indices into the names, the names in order, and notes; no classes if a part has no labels,
        or all labels are equal.
    """
    present = [part_N for part_N in labels if part_N is not None]
    if not present:
        return None, (), ()
    if len(present) < len(labels):
        return None, (), ("no classes: some parts have labels, and others have none",)
    values_K, classes_N = np.unique(np.concatenate(present), return_inverse=True)
    if len(values_K) < 2:
        return None, (), ()
    if len(values_K) > MAX_CLASSES:
        note = (
            f"no classes: the labels have {len(values_K):,} values, and a set has at most "
            f"{MAX_CLASSES:,} classes"
        )
        return None, (), (note,)
    values = values_K.tolist()
    if values[0] >= 0 and values[-1] < len(names):
        return classes_N.astype(np.int64), tuple(names[value] for value in values), ()
    return classes_N.astype(np.int64), tuple(map(str, values)), ()


def _collect_pictures(
    listing: Listing, options: ImageOptions, *, pixels: PixelFile, announce: Announce | None
) -> Collected:
    files = listing.pictures
    check_amount(len(files), place=visible(listing.root))
    layout = read_layout(listing)
    progress = Progress(len(files), "picture", announce)
    progress.begin(visible(listing.root))
    converted = read_pictures(files, options, pixels=pixels, progress=progress)
    check_broken(files, converted, place=visible(listing.root))
    return Collected(
        form="folder",
        converted=converted,
        given_N=np.array([GIVEN[part] for part in layout.parts], np.int64),
        classes_N=None if layout.classes is None else np.array(layout.classes, np.int64),
        class_names=layout.class_names,
        formats=Counter(PurePath(file.parts[-1]).suffix.lower() for file in files),
        notes=layout.notes,
        files=files,
        others=listing.others,
    )


def _collect_idx(
    found: Found,
    idx: IdxFolder,
    options: ImageOptions,
    *,
    pixels: PixelFile,
    announce: Announce | None,
) -> Collected:
    labels_N = idx.labels()
    collected = collect_arrays(
        idx.sources,
        lambda: [labels_N],
        options,
        form="idx",
        place=visible(found.path),
        pixels=pixels,
        announce=announce,
    )
    collected = replace(collected, others=idx.others)
    height, width, _ = idx.sources[0].image_shape
    as_they_are = options.image_size in {None, (height, width)} and options.colour != "rgb"
    if not as_they_are or idx.test_images is None:
        return collected
    return replace(
        collected,
        idx=idx,
        classes_N=labels_N,
        class_names=() if labels_N is None else tuple(map(str, range(int(labels_N.max()) + 1))),
    )
