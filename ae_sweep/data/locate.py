"""Search for a data set's files, and storage of fetched ones.

Order: what ``data_dir`` holds, what the cache holds, what the system's packages installed, then the
network. Files that are found are verified; fetched files are verified before they are stored.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.data.image_set import SourceError
from ae_sweep.data.verify import MissingFileError, mode, read_all
from ae_sweep.errors import DataError
from ae_sweep.files import PUBLIC_FILE, write_atomically
from ae_sweep.messages import ignore, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ae_sweep.data.image_set import ImageSet, Source
    from ae_sweep.data.verify import VerifiedFile

    Announce = Callable[[str], None]

SCRATCH_PREFIX = ".ae-sweep-fetch-"
STALE_SECONDS = 24 * 3600
"""Age in seconds from which an unfinished download counts as abandoned."""


@dataclass(frozen=True, kw_only=True)
class LocatedFile:
    """A verified file."""

    path: Path
    """Path of the file; its name ends in ``.gz`` if it is compressed."""
    content_bytes: int
    """Length of the uncompressed content."""
    content_sha256: str
    """Of the uncompressed content, in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """Location of a data set; without files if it is generated."""

    name: str
    source: str
    """Where the files came from: local files, or the source they were just fetched from."""
    files: tuple[LocatedFile, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The verified files of a data set in memory, in the order of its resources."""

    image_set: ImageSet
    source: str
    files: tuple[VerifiedFile, ...]

    def located(self) -> Located:
        """Return the location, without the files' content."""
        files = tuple(
            LocatedFile(
                path=file.path,
                content_bytes=file.resource.size,
                content_sha256=file.content_sha256,
            )
            for file in self.files
        )
        return Located(name=self.image_set.name, source=self.source, files=files)


def find(
    image_set: ImageSet,
    *,
    cache_dir: Path,
    data_dir: Path | None = None,
    announce: Announce | None = None,
) -> Found:
    """Find the four verified files of a data set, or fetch them.

    They are fetched into ``data_dir`` if given, else into the cache. A damaged file in the cache is
    fetched again. One in ``data_dir`` is an error: it belongs to the user and is neither
    overwritten nor skipped.

    Raises
    ------
    DataError
        If a file in ``data_dir`` is damaged, a directory cannot be written, or no source has the
        files; the message then lists each source with its reason.
    """
    say = announce or ignore
    reasons: list[str] = []
    found = _find_locally(image_set, cache_dir, data_dir, reasons, say)
    if found is not None:
        return found
    root = data_dir or cache_dir
    for source in image_set.sources:
        say(f"downloading {image_set.name} from {source.name}")
        try:
            return _fetch(image_set, source, root)
        except SourceError as error:
            reasons.append(f"{source.name}: {error}")
            say(f"{source.name} failed: {error}")
    raise DataError(_nowhere(image_set, root, reasons))


def _find_locally(
    image_set: ImageSet,
    cache_dir: Path,
    data_dir: Path | None,
    reasons: list[str],
    say: Announce,
) -> Found | None:
    own = _places_in(data_dir, image_set)
    for directory in (*own, image_set.layout(cache_dir), *image_set.system_dirs):
        try:
            files, damaged = read_all(image_set, directory)
        except MissingFileError as error:
            reasons.append(f"{visible(directory)}: {error}")
        except DataError as error:
            if directory in own:
                raise DataError(
                    f"{error}; replace or delete that file, or name another data directory"
                ) from error
            reasons.append(str(error))
            say(f"not used: {error}")
        else:
            for problem in damaged:
                say(f"not used: {problem}")
            source = f"local files in {visible(directory)}"
            if own and directory not in own:
                say(f"{visible(data_dir)} does not hold {image_set.name}; using {source}")
            return Found(image_set=image_set, source=source, files=files)
    return None


def _places_in(data_dir: Path | None, image_set: ImageSet) -> tuple[Path, ...]:
    if data_dir is None:
        return ()
    if not stat.S_ISDIR(mode(data_dir) or stat.S_IFDIR):  # a missing directory can be created
        raise DataError(f"{visible(data_dir)} is not a directory; name the one with the files")
    return (image_set.layout(data_dir), data_dir)


def _fetch(image_set: ImageSet, source: Source, root: Path) -> Found:
    directory = image_set.layout(root)
    with _scratch(directory) as scratch:
        try:
            files, _ = read_all(image_set, source.bring(image_set, scratch))
        except MissingFileError as error:
            raise SourceError(f"the download {error}") from error
        except DataError as error:
            raise SourceError(f"the download is not the data set: {error}") from error
        except OSError as error:
            raise SourceError(f"the download cannot be stored ({error.strerror})") from error
        kept = _keep(files, directory, scratch)
    return Found(image_set=image_set, source=source.name, files=kept)


def _keep(
    files: tuple[VerifiedFile, ...], directory: Path, scratch: Path
) -> tuple[VerifiedFile, ...]:
    """Store verified content in ``directory``, each file completely or not at all."""
    try:
        for file in files:
            name = file.resource.pinned_name
            write_atomically(directory / name, file.pinned, scratch=scratch, mode=PUBLIC_FILE)
    except OSError as error:
        raise DataError(_not_writable(directory, error)) from error
    return tuple(replace(file, path=directory / file.resource.pinned_name) for file in files)


@contextlib.contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """Create a directory for downloads beside the final files, on their file system."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(
            prefix=SCRATCH_PREFIX, dir=directory, ignore_cleanup_errors=True
        )
    except (OSError, ValueError) as error:
        raise DataError(_not_writable(directory, error)) from error
    with scratch as path:
        _remove_stale(Path(path))
        yield Path(path)


def _remove_stale(scratch: Path) -> None:
    # Ages are measured by the file system's own clock, because machines may share it.
    now = scratch.stat().st_mtime
    for other in scratch.parent.glob(f"{SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process may be faster
            if now - other.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


def _not_writable(directory: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    return (
        f"cannot write to {visible(directory)} ({reason}); name a data directory that can be "
        "written, or one that holds the files"
    )


def _nowhere(image_set: ImageSet, root: Path, reasons: list[str]) -> str:
    tried = "".join(f"\n  - {reason}" for reason in reasons)
    wanted = ", ".join(resource.pinned_name for resource in image_set.resources)
    return (
        f"the data set {image_set.name} could not be found or fetched. Tried in turn:{tried}\n"
        f"Fix one of these, or put the files ({wanted}) into {visible(image_set.layout(root))}. "
        f"{image_set.hint}The data set 'shapes' needs neither files nor network"
    )
