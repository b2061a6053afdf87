"""Files of a prepared directory: arrays in their final order, and the list of their sources."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from ae_sweep.data.own.arrangement import PARTS
from ae_sweep.data.own.cache import FILES
from ae_sweep.data.own.pixel_file import not_writable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from ae_sweep.data.own.arrangement import Arranged
    from ae_sweep.data.own.listing import ListedFile
    from ae_sweep.data.own.pixel_file import PixelFile

BLOCK_BYTES = 8 << 20


def write_arrays(
    directory: Path, arranged: Arranged, pixels: PixelFile, *, channels: int
) -> list[str]:
    """Write images, hashes and labels of each part, and return the names of the files.

    Raises
    ------
    DataError
        If there is no room.
    """
    names = []
    for part in PARTS:
        try:
            _write_images(directory / f"{part}.npy", arranged.images[part], pixels, channels)
            arrays: dict[str, NDArray[Any] | None] = {
                f"{part}_hashes.npy": arranged.hashes(part),
                f"{part}_labels.npy": _small(arranged.classes(part)),
            }
            for name, array in arrays.items():
                if array is not None:
                    np.save(directory / name, array, allow_pickle=False)
        except OSError as error:
            raise not_writable(directory, error) from error
        names += [f"{part}.npy", *(name for name, array in arrays.items() if array is not None)]
    return names


def write_files(directory: Path, files: Sequence[ListedFile], arranged: Arranged) -> None:
    """Write which file each image is of, one line of JSON each, in the order of the parts.

    Raises
    ------
    DataError
        If there is no room.
    """
    try:
        with (directory / FILES).open("x", encoding="ascii") as out:
            for part in PARTS:
                for number in arranged.images[part].tolist():
                    file = files[number]
                    line = {
                        "part": part,
                        "path": "/".join(file.parts),
                        "size": file.size,
                        "mtime_ns": file.mtime_ns,
                        "pixels_sha256": arranged.hashes_N[number].tobytes().hex(),
                    }
                    out.write(json.dumps(line) + "\n")
    except OSError as error:
        raise not_writable(directory, error) from error


def _write_images(
    path: Path, images_N: NDArray[np.int64], pixels: PixelFile, channels: int
) -> None:
    shape = (len(images_N), channels, *pixels.shape[1:])
    block = max(1, BLOCK_BYTES // math.prod(shape[1:]))
    with path.open("xb") as out:
        np.lib.format.write_array_header_1_0(
            out, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        for first in range(0, len(images_N), block):
            out.write(pixels.read(images_N[first : first + block], channels).data)


def _small(classes_N: NDArray[np.int64] | None) -> NDArray[np.unsignedinteger[Any]] | None:
    """Return class numbers as small unsigned integers."""
    if classes_N is None:
        return None
    return classes_N.astype(np.uint8 if classes_N.max(initial=0) < 256 else np.uint16)
