"""Conversion of every picture and array to images of one size, on all cores and in little memory.

Pictures are decoded by threads: Pillow's decoders and SHA-256 let other threads run. On two cores
threads read 3,786 pictures of 64×64 in 2.5 s, where new processes needed 3.9 s, most of it for
their start; large JPEGs take the same time in both. Threads also need no importable main module.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ae_sweep.container import usable_cores, usable_memory_bytes
from ae_sweep.data.decode import (
    BrokenPictureError,
    OversizedPictureError,
    Picture,
    convert_array,
    quiet_pillow,
    read_picture,
)
from ae_sweep.data.own.conditions import broken_lines
from ae_sweep.data.own.pixel_file import HASH_BYTES, luma, pixel_hash
from ae_sweep.errors import DataError
from ae_sweep.messages import counted, in_words, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ae_sweep.config import ImageOptions
    from ae_sweep.data.arrays import Part
    from ae_sweep.data.idx import Bytes
    from ae_sweep.data.own.listing import ListedFile
    from ae_sweep.data.own.pixel_file import PixelFile

    Announce = Callable[[str], None]

SECONDS_BETWEEN_LINES = 3.0
MOST_THREADS = 16
PICTURE_BYTES = 500_000_000
"""What a large picture takes while it is decoded."""
CHUNK_BYTES = 4 << 20
"""Of an array at a time, as stored or as converted."""


class ArrayImages(Protocol):
    """Images of an array file, in order."""

    @property
    def part(self) -> Part | None:
        """The part that they belong to; None if the split is to be made."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels as stored, of the first one."""
        ...

    def chunks(self, images: int = 1024) -> Iterator[Bytes]:
        """Read them as N×H×W×C; the shapes of chunks may differ."""
        ...


@dataclass(kw_only=True)
class Converted:
    """What is known of images that lie in a scratch file; filled by several threads."""

    count: int
    hashes_N: Bytes = field(init=False)
    """SHA-256 of each image's pixels, N×32."""
    good_N: NDArray[np.bool_] = field(init=False)
    """Whether the image could be read."""
    broken: dict[int, str] = field(default_factory=dict)
    """Number of each that could not be read, and the reason."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Height and width before any resizing."""
    modes: Counter[str] = field(default_factory=Counter)
    coloured: int = 0
    transparent: int = 0
    resized: int = 0
    sixteen_bits: int = 0
    animated: int = 0

    def __post_init__(self) -> None:
        self.hashes_N = np.zeros((self.count, HASH_BYTES), np.uint8)
        self.good_N = np.zeros(self.count, np.bool_)
        self._lock = threading.Lock()

    def add(self, number: int, picture: Picture, digest: bytes) -> None:
        """Record a picture."""
        self.hashes_N[number] = np.frombuffer(digest, np.uint8)
        self.good_N[number] = True
        with self._lock:
            self.sizes[picture.native_size] += 1
            self.modes[picture.mode] += 1
            self.coloured += not picture.grey
            self.transparent += picture.transparent
            self.resized += picture.native_size != picture.pixels_HWC.shape[:2]
            self.sixteen_bits += picture.sixteen_bits
            self.animated += picture.frames > 1

    def add_all(self, first: int, hashes_N: Bytes, *, size: tuple[int, int], mode: str) -> None:
        """Record consecutive images of an array, which need no conversion."""
        count = len(hashes_N)
        self.hashes_N[first : first + count] = hashes_N
        self.good_N[first : first + count] = True
        self.sizes[size] += count
        self.modes[mode] += count


class Progress:
    """Lines about a long reading: one at the start, then one every few seconds."""

    def __init__(self, count: int, what: str, announce: Announce | None) -> None:
        self._count, self._what, self._announce = count, what, announce
        self._began = self._last = time.perf_counter()

    def begin(self, place: str) -> None:
        """Announce the start."""
        if self._announce:
            self._announce(f"reading {counted(self._count, self._what)} of {place}")

    def report(self, done: int) -> None:
        """Announce how many are done, unless that was announced a moment ago."""
        now = time.perf_counter()
        if self._announce is None or not done or now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        left = (now - self._began) / done * (self._count - done)
        of_all = counted(self._count, self._what)
        self._announce(f"{done:,} of {of_all}, about {in_words(left)} left")


def read_pictures(
    files: Sequence[ListedFile],
    options: ImageOptions,
    *,
    pixels: PixelFile,
    progress: Progress,
) -> Converted:
    """Decode pictures in full, and collect those of the right size in a scratch file.

    Without a size in ``options`` it is that of the first picture. Pictures of other sizes are
    counted, and left out of the scratch file.

    Raises
    ------
    DataError
        If no picture can be read, or with ``options.strict`` the first that cannot.
    """
    converted = Converted(count=len(files))
    first, picture = _first_good(files, options, converted)
    height, width = picture.pixels_HWC.shape[:2]
    pixels.shape = (1 if options.colour == "grey" else 3, height, width)
    keep = partial(_keep, converted=converted, pixels=pixels, options=options)
    keep(first, picture)
    numbers = iter(range(first + 1, len(files)))
    stop = threading.Event()

    def drain() -> None:
        for number in numbers:  # shared by all threads
            if stop.is_set():
                return
            try:
                picture = _read(files[number], options)
            except BrokenPictureError as error:
                converted.broken[number] = str(error)
                if options.strict:
                    stop.set()
            else:
                keep(number, picture)

    _run_on_all_cores(drain, stop, lambda: progress.report(_done(converted)))
    if options.strict and converted.broken:
        raise first_broken(files, converted)
    return converted


def read_arrays(
    sources: Sequence[ArrayImages],
    options: ImageOptions,
    *,
    pixels: PixelFile,
    progress: Progress,
) -> Converted:
    """Read arrays piece by piece into a scratch file, converted where they need it."""
    converted = Converted(count=sum(source.count for source in sources))
    size = options.image_size or sources[0].image_shape[:2]
    pixels.shape = (1 if options.colour == "grey" else 3, *size)
    first = 0
    with ThreadPoolExecutor(_threads()) as pool:
        for source in sources:
            height, width, channels = source.image_shape
            largest = max(height * width * channels, 3 * size[0] * size[1])
            for chunk in source.chunks(max(1, CHUNK_BYTES // largest)):
                if chunk.shape[3] in {1, 3} and chunk.shape[1:3] == size:
                    _keep_plain(first, chunk, converted, pixels)
                else:
                    pictures = pool.map(partial(convert_array, options=options), chunk)
                    for number, picture in enumerate(pictures, first):
                        _keep(number, picture, converted, pixels, options)
                first += len(chunk)
                progress.report(first)
    if first != converted.count:
        raise DataError(f"an array ended after {first:,} of {converted.count:,} images")
    return converted


def first_broken(files: Sequence[ListedFile], converted: Converted) -> DataError:
    """Make the error for the first picture that cannot be read."""
    number = min(converted.broken)
    return DataError(
        f"{visible(files[number].path)} {converted.broken[number]}; mend or remove it, or leave "
        "out --strict, and up to 1 % of the pictures may be broken"
    )


def _read(file: ListedFile, options: ImageOptions) -> Picture:
    try:
        return read_picture(os.fsencode(file.path), options)
    except OversizedPictureError as error:
        # Not broken, so it is not left out either.
        raise DataError(
            f"{visible(file.path)} {error}; make it smaller, or move it out of the folder"
        ) from error
    except (OSError, MemoryError) as error:
        # Not broken either: another time it may be read.
        reason, advice = "there is not enough memory", "free some"
        if isinstance(error, OSError):
            reason, advice = error.strerror or str(error), "mend that"
        raise DataError(
            f"{visible(file.path)} cannot be read ({reason}); {advice}, or move it out of the "
            "folder"
        ) from error


def _first_good(
    files: Sequence[ListedFile], options: ImageOptions, converted: Converted
) -> tuple[int, Picture]:
    for number, file in enumerate(files):
        try:
            return number, _read(file, options)
        except BrokenPictureError as error:
            converted.broken[number] = str(error)
            if options.strict:
                raise first_broken(files, converted) from error
    listed = broken_lines(files, converted)
    raise DataError(f"none of the {len(files):,} pictures can be read:{listed}")


def _keep(
    number: int, picture: Picture, converted: Converted, pixels: PixelFile, options: ImageOptions
) -> None:
    """Hash a picture, write it to the scratch file if it has the right size, record it."""
    pixels_CHW = picture.pixels_HWC.transpose(2, 0, 1)
    if options.colour == "grey" and not picture.grey:
        pixels_CHW = luma(pixels_CHW, axis=0)
    digest = pixel_hash(pixels_CHW[:1] if picture.grey else pixels_CHW)
    if pixels_CHW.shape[1:] == pixels.shape[1:]:
        pixels.write(number, pixels_CHW[: pixels.shape[0]])
    converted.add(number, picture, digest)


def _keep_plain(first: int, chunk: Bytes, converted: Converted, pixels: PixelFile) -> None:
    """Do the same for images of one or three channels that have the right size."""
    _, height, width, channels = chunk.shape
    if channels == 3:
        grey_N = (chunk[..., :1] == chunk[..., 1:]).all(axis=(1, 2, 3))
        if pixels.shape[0] == 1:
            chunk = luma(chunk, axis=3)
    else:
        grey_N = np.ones(len(chunk), np.bool_)
    if chunk.shape[3] < pixels.shape[0]:
        chunk = np.broadcast_to(chunk, (*chunk.shape[:3], 3))
    pixels_NCHW = np.ascontiguousarray(chunk.transpose(0, 3, 1, 2))
    digests = [
        pixel_hash(image_CHW[:1] if grey else image_CHW)
        for image_CHW, grey in zip(pixels_NCHW, grey_N, strict=True)
    ]
    pixels.write(first, pixels_NCHW)
    converted.coloured += int((~grey_N).sum())
    converted.add_all(
        first,
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES),
        size=(height, width),
        mode=f"uint8 {height}×{width}×{channels}",
    )


def _done(converted: Converted) -> int:
    return int(converted.good_N.sum()) + len(converted.broken)


def _run_on_all_cores(
    work: Callable[[], None], stop: threading.Event, report: Callable[[], None]
) -> None:
    threads = _threads()
    with quiet_pillow(), ThreadPoolExecutor(threads) as pool:  # each puts back the same
        running = {pool.submit(work) for _ in range(threads)}
        try:
            while running:
                finished, running = wait(running, timeout=0.5, return_when="FIRST_COMPLETED")
                for each in finished:
                    each.result()
                report()
        finally:
            stop.set()


def _threads() -> int:
    most = min(MOST_THREADS, usable_cores(), usable_memory_bytes() // PICTURE_BYTES)
    return max(1, most)
