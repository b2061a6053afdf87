"""What a folder's sub-folders mean: a given split, classes, or nothing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.data.own.facts import NAME_LENGTH
from ae_sweep.errors import ConfigError
from ae_sweep.messages import counted, shorten, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ae_sweep.data.arrays import Part
    from ae_sweep.data.own.listing import ListedFile, Listing

SPLIT_FOLDERS: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Exact names of top folders that are parts of a given split."""
MAX_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Part and class of each picture of a listing, in its order."""

    parts: list[Part | None]
    """None where the split is to be made."""
    classes: list[int] | None
    """Indices into ``class_names``; None where there are no classes."""
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def read_layout(listing: Listing) -> Layout:
    """Find out which parts and classes a folder's sub-folders stand for.

    Raises
    ------
    ConfigError
        If it cannot be known whether they are a split.
    """
    notes: list[str] = []
    split = _split_folders(listing, notes)
    below = 1 if split else 0
    parts = [split[file.parts[0]] if split else None for file in listing.pictures]
    folders = _class_folders(listing.pictures, below, notes)
    empty = _empty_folders(listing, below)
    if empty:
        notes.append(
            f"{counted(len(empty), 'folder')} without pictures: "
            f"{', '.join(visible('/'.join(names), 60) for names in empty[:5])}"
            f"{', ...' if len(empty) > 5 else ''}"
        )
    if folders is None:
        return Layout(parts=parts, classes=None, class_names=(), notes=tuple(notes))
    names = sorted(folders, key=natural_order)
    number = {name: index for index, name in enumerate(names)}
    return Layout(
        parts=parts,
        classes=[number[file.parts[below]] for file in listing.pictures],
        class_names=printable_names(names),
        notes=tuple(notes),
    )


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return the key that sorts "2" before "10"."""
    return tuple(
        (0, int(piece), "") if piece.isascii() and piece.isdigit() else (1, 0, piece)
        for piece in re.split(r"([0-9]+)", name[:4000])
    )


def printable_names(names: Iterable[str]) -> tuple[str, ...]:
    """Make class names printable, on one line, and still distinct."""
    taken: dict[str, int] = {}
    for name in names:
        shown = visible(name, NAME_LENGTH)
        if shown in taken or not shown:
            shown = f"{shown} ({len(taken) + 1})".strip()
        taken[shown] = len(taken)
    return tuple(taken)


def _split_folders(listing: Listing, notes: list[str]) -> dict[str, Part]:
    """Return the top folders that are parts of a given split; none if the split is to be made."""
    found = Counter(file.parts[0] for file in listing.pictures if len(file.parts) > 1)
    beside = len(listing.pictures) - found.total()
    given = {name: SPLIT_FOLDERS[name] for name in found if name in SPLIT_FOLDERS}
    others = [name for name in found if name not in SPLIT_FOLDERS]
    place = visible(listing.root)
    if others and len(found) > 1 and {name.lower() for name in found} <= SPLIT_FOLDERS.keys():
        wrong = ", ".join(shorten(name) for name in others)
        raise ConfigError(
            f"{place} has the folders {', '.join(map(shorten, found))}: the folders of a split are "
            f"named train, val and test, in lower case; rename {wrong}"
        )
    if len(set(given.values())) < len(given):
        raise ConfigError(
            f"{place} has more than one folder of validation images ({', '.join(given)}); keep one"
        )
    if "train" in given and (len(given) > 1 or not (others or beside)):
        _check_no_part_empty(listing, given)
        if others or beside:
            loose = [shorten(name) for name in others] + [counted(beside, "picture")] * bool(beside)
            raise ConfigError(
                f"{place} has the folders {', '.join(given)} of a split, and beside them "
                f"{', '.join(loose[:5])}{', ...' if len(loose) > 5 else ''}, which belong to no "
                "part; move them into one of the folders, or elsewhere"
            )
        return given
    if given and not others and not beside:
        raise ConfigError(
            f"{place} has only {', '.join(given)} of a split; name the folder with the training "
            "images train"
        )
    if given:
        notes.append(
            f"the folder {', '.join(given)} is read as a class, since others are beside it"
        )
    return {}


def _check_no_part_empty(listing: Listing, given: dict[str, Part]) -> None:
    folders = {folder[0] for folder in listing.folders}
    empty = sorted(folders & SPLIT_FOLDERS.keys() - given.keys())
    if empty:
        raise ConfigError(
            f"{visible(listing.root)} has a folder {', '.join(empty)} of a split, which holds no "
            "pictures; put them there, or remove it, and training images are taken instead"
        )


def _class_folders(pictures: Sequence[ListedFile], below: int, notes: list[str]) -> set[str] | None:
    """Return the names of the folders that are classes; None if there are no classes."""
    folders = {file.parts[below] for file in pictures if len(file.parts) > below + 1}
    flat = sum(len(file.parts) == below + 1 for file in pictures)
    if len(folders) < 2 and not flat:
        return None  # one folder for all says nothing of the images
    if flat:
        if folders:
            notes.append(
                f"no classes: {counted(flat, 'picture')} of {len(pictures):,} "
                f"{'is' if flat == 1 else 'are'} in no class folder; move them into one to have "
                "classes"
            )
        return None
    if len(folders) > MAX_CLASSES:
        notes.append(
            f"no classes: the pictures are in {len(folders):,} folders, and a set has at most "
            f"{MAX_CLASSES:,} classes"
        )
        return None
    return folders


def _empty_folders(listing: Listing, below: int) -> list[tuple[str, ...]]:
    """Return the folders at the level of the classes, and of the parts, that hold no picture."""
    filled = {file.parts[:depth] for file in listing.pictures for depth in range(1, below + 2)}
    return sorted(
        folder for folder in listing.folders if len(folder) <= below + 1 and folder not in filled
    )
