"""Owns what is known of a data set beforehand: its files, their shapes and hashes, its sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from ae_sweep.data import idx

if TYPE_CHECKING:
    from pathlib import Path

Form = Literal["raw", "gz"]


class Source(Protocol):
    """A place on the network that has the files of a data set."""

    @property
    def name(self) -> str:
        """What it is called in messages and on the data set's card."""
        ...

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        """Put the files somewhere below ``scratch`` and tell the directory they are in.

        What it brings is verified by the caller.

        Raises
        ------
        SourceError
            With the reason why it could not.
        """
        ...


class SourceError(Exception):
    """Why one source did not bring the files; never leaves ``ae_sweep.data``."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One file, and the hash that it must have."""

    name: str
    """Its name without ``.gz``."""
    shape: tuple[int, ...]
    """N×H×W of images, N of labels."""
    sha256: str
    """In hexadecimal, of the file in the form below."""
    form: Form = "raw"
    """``raw``: the hash is of the IDX content, so the file may be compressed by anybody.
    ``gz``: only the compressed file's hash is known, so that very file is needed."""

    @property
    def size(self) -> int:
        """Bytes of the uncompressed file."""
        return idx.size(self.shape)

    @property
    def pinned_name(self) -> str:
        """The name of the file in the form that the hash is of, which is also how it is kept."""
        return self.name if self.form == "raw" else f"{self.name}.gz"

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """The names under which it can be verified, the best first."""
        return (self.name, f"{self.name}.gz") if self.form == "raw" else (f"{self.name}.gz",)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set of four IDX files."""

    name: str
    folder: str
    """Its class in ``torchvision.datasets``, and so its folder in torchvision's layout."""
    train_images: Resource
    train_labels: Resource
    test_images: Resource
    test_labels: Resource
    system_dirs: tuple[Path, ...] = ()
    """Where packages of operating systems install it."""
    sources: tuple[Source, ...] = ()
    """Where to fetch it from, in this order."""
    hint: str = ""
    """Another way to get it, told when all have failed."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All four files."""
        return (self.train_images, self.train_labels, self.test_images, self.test_labels)

    def layout(self, root: Path) -> Path:
        """Return the directory of the files below ``root`` in torchvision's layout."""
        return root / self.folder / "raw"
