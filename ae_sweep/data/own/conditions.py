"""Refusals of own images that cannot become a data set, with the option that would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.data.arrays import MAX_IMAGES
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.messages import counted, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.arrays import Part
    from ae_sweep.data.own.listing import ListedFile
    from ae_sweep.data.own.reading import Converted

LEAST_IMAGES = 24
LARGE_SIDE = 256
"""Longest side that is advised; larger images take a sweep hours."""
ADVISED_SIDE = 64
"""What is advised instead."""
BROKEN_SHARE = 100
"""One picture in this many may be broken, and one at least."""
BROKEN_LISTED = 5


def check_amount(count: int, *, place: str) -> None:
    """Refuse more images than a set may have, before anything is allocated for them.

    Raises
    ------
    DataError
        If there are more than ``MAX_IMAGES``.
    """
    if count > MAX_IMAGES:
        raise DataError(
            f"{place} claims {count:,} images, and a set has at most {MAX_IMAGES:,}; keep a part "
            "of them"
        )


def check_broken(files: Sequence[ListedFile], converted: Converted, *, place: str) -> None:
    """Refuse a folder of which too many pictures cannot be read.

    Raises
    ------
    DataError
        If there are more than one in a hundred.
    """
    broken, most = len(converted.broken), max(1, len(files) // BROKEN_SHARE)
    if broken <= most:
        return
    raise DataError(
        f"{broken:,} of {len(files):,} pictures of {place} cannot be read, and "
        f"{counted(most, 'broken one')} would be left out; mend or remove them:"
        f"{broken_lines(files, converted)}"
    )


def broken_lines(files: Sequence[ListedFile], converted: Converted) -> str:
    """List the first pictures that cannot be read, each on a line of its own after a break."""
    lines = [
        f"\n  {visible(files[number].path)} {reason}"
        for number, reason in sorted(converted.broken.items())
    ]
    return "".join(lines[:BROKEN_LISTED]) + "\n  ..." * (len(lines) > BROKEN_LISTED)


def check_convertible(converted: Converted, options: ImageOptions, *, place: str) -> None:
    """Refuse pictures that need an option which is not given.

    Raises
    ------
    ConfigError
        If sizes differ without a size, or pixels are transparent without a background; all that
        is missing is in one message.
    """
    read = converted.sizes.total()
    needed: list[str] = []
    if options.image_size is None and len(converted.sizes) > 1:
        (height, width), most = max(
            converted.sizes.items(), key=lambda each: (each[1], -each[0][0] * each[0][1])
        )
        size = advised_size(height, width)
        needed.append(
            f"have {len(converted.sizes):,} sizes: the commonest is {height}×{width}, and "
            f"{read - most:,} of {read:,} differ; give --image-size {size}, or another size, and "
            "they are resized"
        )
    if options.background is None and converted.transparent:
        needed.append(
            f"have transparent pixels in {converted.transparent:,} of {read:,}; give --background "
            "white, black or a colour such as #ff8000, to show through them"
        )
    if needed:
        raise ConfigError(f"the images of {place} {'. They also '.join(needed)}")


def advised_size(height: int, width: int) -> str:
    """Return the value of ``--image-size`` to advise for images of this size."""
    if max(height, width) > LARGE_SIDE:
        return str(ADVISED_SIDE)
    return str(height) if height == width else f"{height}x{width}"


def check_counts(counts: Mapping[Part, int], *, place: str) -> None:
    """Refuse too few images.

    Raises
    ------
    ConfigError
        If there are fewer than 24 in all, or a part is empty.
    """
    parts = ", ".join(f"{count:,} for {name}" for name, count in counts.items())
    if sum(counts.values()) < LEAST_IMAGES:
        raise ConfigError(
            f"{place} has {counted(sum(counts.values()), 'image')} ({parts}); at least "
            f"{LEAST_IMAGES} are needed, better some hundreds"
        )
    empty = [name for name, count in counts.items() if not count]
    if empty:
        raise ConfigError(
            f"{place} leaves no images for {' and '.join(empty)} ({parts}); add images, "
            "or divide them yourself, into folders train, val and test or arrays x_train, x_val, "
            "x_test"
        )
