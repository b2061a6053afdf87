"""What the cache holds: named data sets, verified again, and prepared images of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.data.own.cache import images_dir
from ae_sweep.data.registry import IMAGE_SETS
from ae_sweep.data.verify import MissingFileError, read_all
from ae_sweep.errors import DataError
from ae_sweep.messages import counted, visible
from ae_sweep.records import Finding, Status

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.data.image_set import ImageSet

CHECK = "data sets"
GIGABYTE = 10**9


def check_cached(cache_dir: Path) -> list[Finding]:
    """Verify the data sets in the cache, and measure what is prepared; nothing is fetched."""
    found = [_state(image_set, cache_dir) for image_set in IMAGE_SETS.values()]
    sizes = [
        sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        for folder in sorted(images_dir(cache_dir).glob("*-*"))
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    what = f"{counted(len(sizes), 'prepared set')} of own images, {sum(sizes) / GIGABYTE:.2g} GB"
    return [*found, Finding(check=CHECK, status=Status.OK, what=what)]


def _state(image_set: ImageSet, cache_dir: Path) -> Finding:
    command = f"`ae-sweep data {image_set.name}`"
    for directory in (image_set.layout(cache_dir), *image_set.system_dirs):
        try:
            read_all(image_set, directory)
        except MissingFileError:
            continue
        except DataError as error:
            what = f"{image_set.name} is damaged: {visible(error)}"
            remedy = f"fetch it again: {command}"
            return Finding(check=CHECK, status=Status.WARN, what=what, remedy=remedy)
        what = f"{image_set.name} in {visible(directory)}, every file verified"
        return Finding(check=CHECK, status=Status.OK, what=what)
    what = f"{image_set.name} is fetched when it is needed first; {command} does it now"
    return Finding(check=CHECK, status=Status.OK, what=what)
