"""Descriptions of data sets: their files with shapes and hashes, and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from ae_sweep.data import idx

if TYPE_CHECKING:
    from pathlib import Path

Form = Literal["raw", "gz"]


class Source(Protocol):
    """A source on the network for the files of a data set."""

    @property
    def name(self) -> str:
        """Name of the source in messages and in the tracked description of the data set."""
        ...

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        """Store the files below ``scratch`` and return their directory.

        The caller verifies the files.

        Raises
        ------
        SourceError
            With the reason if the files could not be fetched.
        """
        ...


class SourceError(Exception):
    """The reason why one source failed; never leaves ``ae_sweep.data``."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One file and its expected hash."""

    name: str
    """Name of the file without ``.gz``."""
    shape: tuple[int, ...]
    """N×H×W of images, N of labels."""
    sha256: str
    """Hash of the file in the form given by ``form``, in hexadecimal."""
    form: Form = "raw"
    """``raw``: the hash is of the IDX content, so any compression of it is accepted. ``gz``: only
    the compressed file's hash is known, so exactly that file is needed."""

    @property
    def size(self) -> int:
        """Size of the uncompressed file in bytes."""
        return idx.size(self.shape)

    @property
    def pinned_name(self) -> str:
        """Name of the file in the hashed form, under which it is also stored."""
        return self.name if self.form == "raw" else f"{self.name}.gz"

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """The names under which the file is accepted, in order of preference."""
        return (self.name, f"{self.name}.gz") if self.form == "raw" else (f"{self.name}.gz",)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set of four IDX files."""

    name: str
    folder: str
    """Name of its class in ``torchvision.datasets``, and of its folder in torchvision's layout."""
    train_images: Resource
    train_labels: Resource
    test_images: Resource
    test_labels: Resource
    system_dirs: tuple[Path, ...] = ()
    """Directories in which packages of operating systems install it."""
    sources: tuple[Source, ...] = ()
    """Sources to fetch it from, in this order."""
    hint: str = ""
    """Another way to get it, for the message when all sources have failed."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All four files."""
        return (self.train_images, self.train_labels, self.test_images, self.test_labels)

    def layout(self, root: Path) -> Path:
        """Return the directory of the files below ``root`` in torchvision's layout."""
        return root / self.folder / "raw"
