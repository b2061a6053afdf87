"""Preparation of own images: read, checked, split, ordered and stored in the cache, once."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep.data.own import cache, output
from ae_sweep.data.own.arrangement import PARTS, arrange, arrange_like_mnist, identity
from ae_sweep.data.own.collecting import collect
from ae_sweep.data.own.conditions import check_convertible, check_counts
from ae_sweep.data.own.facts import LISTED, NAME_LENGTH, ImageFacts
from ae_sweep.data.own.idx_folder import FOLDER
from ae_sweep.data.own.listing import LINKED_FOLDER
from ae_sweep.data.own.pixel_file import PIXELS, PixelFile
from ae_sweep.data.own.sources import find_source
from ae_sweep.data.split import layout_digest
from ae_sweep.errors import DataError
from ae_sweep.messages import counted, visible

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.own.arrangement import Arranged
    from ae_sweep.data.own.cache import Prepared
    from ae_sweep.data.own.collecting import Collected
    from ae_sweep.data.own.facts import Counts, Split

    Announce = Callable[[str], None]

OTHERS_SHOWN = 5
"""Endings of other files in one line."""


def prepare(
    path: Path, *, options: ImageOptions, cache_dir: Path, announce: Announce | None = None
) -> Prepared:
    """Return the prepared images of a path; read and store them if they are new or have changed.

    While names, sizes and times of the files are those of the last time, none is opened.

    Parameters
    ----------
    path
        An absolute path: a folder of pictures or of IDX files, a file of arrays, or a directory
        that ``from_memory`` has made.
    announce
        Called with a line about what is done, every few seconds, and one for each finding.

    Raises
    ------
    ConfigError
        If the images need an option that is not given, or are too few, or it is unclear what they
        are.
    DataError
        If they cannot be read, or the cache cannot be written.
    """
    if path.parent == cache.images_dir(cache_dir):
        return _open_from_memory(path)
    found = find_source(path)
    target = cache.place(path, options, cache_dir)
    prepared = cache.open_prepared(target)
    if prepared is not None and prepared.fingerprint == found.fingerprint:
        _check_strict(prepared, options, place=visible(path))
        _announce_findings(prepared, announce)
        return prepared
    began = time.perf_counter()
    with (
        enough_memory(visible(path)),
        cache.making(cache_dir) as scratch,
        PixelFile(scratch / PIXELS) as pixels,
    ):
        collected = collect(found, options, pixels=pixels, announce=announce)
        prepared = store(
            collected,
            pixels,
            options,
            name=visible(path.name, NAME_LENGTH),
            place=visible(path),
            scratch=scratch,
            target=target,
            fingerprint=found.fingerprint,
            began=began,
        )
    _announce_findings(prepared, announce)
    return prepared


@contextmanager
def enough_memory(place: str) -> Iterator[None]:
    """Translate a lack of memory while images are prepared.

    Raises
    ------
    DataError
        In place of a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        reason = f" ({visible(error)})" if str(error) else ""
        raise DataError(
            f"there is not enough memory to prepare {place}{reason}; close other programs, or take "
            "fewer or smaller images"
        ) from error


def store(
    collected: Collected,
    pixels: PixelFile,
    options: ImageOptions,
    *,
    name: str,
    place: str,
    scratch: Path,
    target: Path | None,
    fingerprint: str | None,
    began: float,
) -> Prepared:
    """Check, split, order and write collected images.

    Parameters
    ----------
    name
        Names the images in their card.
    place
        Names them in messages.
    target
        The directory to be made; None names it after the images themselves.
    """
    check_convertible(collected.converted, options, place=place)
    arranged = _arranged(collected)
    counts = {part: len(arranged.images[part]) for part in PARTS}
    check_counts(counts, place=place)
    grey = options.colour == "grey" or (
        options.colour == "auto" and not collected.converted.coloured
    )
    shape = (1 if grey else 3, *pixels.shape[1:])
    names = output.write_arrays(scratch, arranged, pixels, channels=shape[0])
    if collected.files:
        output.write_files(scratch, collected.files, arranged)
    facts = _facts(
        collected,
        arranged,
        shape,
        name=name,
        place=place,
        seconds=time.perf_counter() - began,
    )
    identified = _identified(collected, arranged, shape)
    if target is None:
        target = cache.place_in_memory(identified["digest"], collected.class_names, scratch.parent)
        stored = cache.open_prepared(target)
        if stored is not None:  # perhaps in use
            return stored
    manifest = identified | {
        "fingerprint": fingerprint,
        "class_names": collected.class_names if collected.classes_N is not None else None,
        "options": options.written,
        "facts": facts.document(),
    }
    pixels.path.unlink()
    return cache.publish(scratch, target, manifest=manifest, arrays=names)


def findings(facts: ImageFacts) -> list[str]:
    """Return a line for each fact of which a user should know before images are used."""
    lines = list(facts.notes)
    if facts.broken:
        lines.append(f"{counted(len(facts.broken), 'broken picture')} left out:")
        lines += [f"  {path} {reason}" for path, reason in facts.broken[:LISTED]]
    if facts.others:
        lines.append(_skipped(facts.others))
    for count, text in (
        (facts.resized, "resized"),
        (facts.sixteen_bits, "scaled from 16 bits to 8 (of colour, the upper 8 are kept)"),
        (facts.animated, "animated: only the first frame is used"),
        (facts.duplicates, "equal to another one of the same part"),
        (facts.leaks, "of validation or test equal to an image of training or validation"),
    ):
        if count:
            lines.append(f"{counted(count, 'image')} {text}")
    return lines


def _skipped(others: Counts) -> str:
    listed = [
        counted(count, ending) if ending in {FOLDER, LINKED_FOLDER} else f"{count:,} {ending}"
        for ending, count in others[:OTHERS_SHOWN]
    ]
    if left := sum(count for _, count in others[OTHERS_SHOWN:]):
        listed.append(f"{left:,} of other endings")
    total = sum(count for _, count in others)
    return f"{counted(total, 'other file')} skipped: {', '.join(listed)}"


def _arranged(collected: Collected) -> Arranged:
    converted = collected.converted
    if collected.idx is not None:
        return arrange_like_mnist(
            converted.hashes_N,
            train=collected.idx.train_images.shape[0],
            classes_N=collected.classes_N,
        )
    return arrange(
        converted.hashes_N,
        good_N=converted.good_N,
        given_N=collected.given_N,
        classes_N=collected.classes_N,
    )


def _identified(
    collected: Collected, arranged: Arranged, shape: tuple[int, int, int]
) -> dict[str, Any]:
    """Return the digest, and the hashes of IDX files if it is made of them."""
    if collected.idx is None:
        hashes = {part: arranged.hashes(part) for part in PARTS}
        classes = {part: arranged.classes(part) for part in PARTS}
        return {"digest": identity(shape, hashes, classes), "content_sha256": []}
    content_sha256 = [file.content_sha256() for file in collected.idx.files]
    train_images = len(arranged.images["train"])
    return {
        "digest": layout_digest(content_sha256, train_images=train_images),
        "content_sha256": content_sha256,
    }


def _facts(
    collected: Collected,
    arranged: Arranged,
    shape: tuple[int, int, int],
    *,
    name: str,
    place: str,
    seconds: float,
) -> ImageFacts:
    converted = collected.converted
    counts = {part: len(arranged.images[part]) for part in PARTS}
    return ImageFacts(
        name=name,
        source=f"own images in {place}",
        form=collected.form,
        split=_split(collected),
        image_shape=shape,
        train_images=counts["train"],
        val_images=counts["val"],
        test_images=counts["test"],
        size_count=len(converted.sizes),
        sizes=tuple(
            (f"{height}×{width}", count)
            for (height, width), count in converted.sizes.most_common(LISTED)
        ),
        modes=_counts(converted.modes),
        formats=_counts(collected.formats),
        classes=_class_counts(collected),
        duplicates=arranged.duplicates,
        leaks=arranged.leaks,
        transparent=converted.transparent,
        resized=converted.resized,
        sixteen_bits=converted.sixteen_bits,
        animated=converted.animated,
        broken=tuple(
            (visible("/".join(collected.files[number].parts)), reason)
            for number, reason in sorted(converted.broken.items())
        ),
        others=_counts(collected.others),
        notes=collected.notes,
        seconds=seconds,
    )


def _split(collected: Collected) -> Split:
    if collected.idx is not None:
        return "MNIST's"
    given = set(collected.given_N.tolist())
    if given in ({-1}, {0}):
        return "made"
    return "given" if {0, 1, 2} <= given else "partly given"


def _class_counts(collected: Collected) -> Counts:
    if collected.classes_N is None:
        return ()
    used_N = collected.classes_N[collected.converted.good_N]
    counts_K = np.bincount(used_N, minlength=len(collected.class_names))
    return tuple((name, int(counts_K[index])) for index, name in enumerate(collected.class_names))


def _counts(found: Counter[str]) -> Counts:
    named = [(visible(name, 60), count) for name, count in found.most_common()]
    left = sum(count for _, count in named[LISTED:])
    return (*named[:LISTED], *([("more", left)] if left else []))


def _check_strict(prepared: Prepared, options: ImageOptions, *, place: str) -> None:
    if options.strict and prepared.facts.broken:
        name, reason = prepared.facts.broken[0]
        raise DataError(f"{place}/{name} {reason}; mend or remove it, or leave out --strict")


def _announce_findings(prepared: Prepared, announce: Announce | None) -> None:
    if announce:
        for line in findings(prepared.facts):
            announce(line)


def _open_from_memory(path: Path) -> Prepared:
    prepared = cache.open_prepared(path)
    if prepared is None:
        raise DataError(
            f"{visible(path)} holds no prepared images, or they are damaged; give the images "
            "themselves again"
        )
    return prepared
