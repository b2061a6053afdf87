"""Coded files back to images, and what is known of a file.

Shapes: N images, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep import tracking
from ae_sweep.api.models import load_model
from ae_sweep.codec import ans, artifact, codec_file, storage
from ae_sweep.codec.codec_file import FRAME_BYTES
from ae_sweep.errors import DataError, NotStoredError, StoreError
from ae_sweep.inspection import kept_rates
from ae_sweep.inspection.encoding import decoded_batches
from ae_sweep.inspection.model_coding import codec_digest
from ae_sweep.inspection.run_codecs import check_codec
from ae_sweep.locations import open_at
from ae_sweep.messages import visible
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ae_sweep.codec.artifact import Codec
    from ae_sweep.codec.codec_file import CodecFile
    from ae_sweep.locations import Store
    from ae_sweep.models import TrainedAutoencoder
    from ae_sweep.tracking import TrackingStore

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class CodecOrigin:
    """The run whose codec a file was coded with."""

    sweep: str
    run_id: str
    latent_dim: int
    model: str
    """With its setting, if it has one: ``vae beta=0.1``."""
    setting: str
    """The operating point: ``step 0.5, 32 clusters``."""


@dataclass(frozen=True, kw_only=True)
class InspectedFile:
    """What a coded file says of itself, and where its model is."""

    path: Path
    version: int
    images: int
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    digest: str
    """Of the codec: half of its SHA-256, hexadecimal."""
    point: int
    """Number of the operating point."""
    file_bytes: int
    payload_bytes: int
    origin: CodecOrigin | None
    """None where the store has no such model."""
    problem: str | None
    """Why the file cannot be decoded here; None if nothing is known against it."""

    @property
    def bits(self) -> float:
        """Bits an image of the payload, as rates are reported."""
        return 8 * self.payload_bytes / self.images

    @property
    def bpp(self) -> float:
        """Bits per pixel, height times width."""
        _, height, width = self.image_shape
        return self.bits / (height * width)


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedFile:
    """A file whose stream was found whole; its images are decoded as they are asked for."""

    images: int
    origin: CodecOrigin
    _file: CodecFile = field(repr=False)
    _codec: Codec = field(repr=False)
    _model: TrainedAutoencoder = field(repr=False)

    def batches(self) -> Iterator[Array]:
        """Yield the images in order, uint8 B×C×H×W, in bounded memory."""
        return decoded_batches(self._model, self._codec, self._file)

    def array(self) -> Array:
        """Return all images, uint8 N×C×H×W."""
        return np.concatenate(list(self.batches()))


def decode_file(
    path: Path | str,
    *,
    store: Path | str | None = None,
    announce: Callable[[str], None] | None = None,
) -> DecodedFile:
    """Open a coded file with the model that it names, found in the store by the codec's digest.

    The stream is decoded to its end at once, without the network, so that damage is found before
    the first image.

    Parameters
    ----------
    store
        See `ae_sweep.load_sweep`.

    Raises
    ------
    DataError
        If the file is not a coded file, damaged, or of another image shape or operating point than
        its model has.
    NotStoredError
        If the store has no such model.
    StoreError
        If the store cannot be read.
    EntropyCoderError
        If constriction is not installed.
    """
    path = Path(path)
    file = codec_file.read(path)
    ans.require_coder()
    place = open_at(store, announce=announce)
    found = _find(file, path, place)
    try:
        _check(file, found)
        for _ in ans.decode_blocks(
            file.payload, found.codec.points[file.point].tables, file.images
        ):
            pass
    except DataError as error:
        raise DataError(f"{visible(path)}: {error}") from error
    loaded = load_model(found.runs, found.run_id)
    check_codec(found.codec, loaded.model, sha256=loaded.sha256, run_id=found.run_id)
    return DecodedFile(
        images=file.images,
        origin=_origin(file, found),
        _file=file,
        _codec=found.codec,
        _model=loaded.model,
    )


def inspect_file(
    path: Path | str,
    *,
    store: Path | str | None = None,
    announce: Callable[[str], None] | None = None,
) -> InspectedFile:
    """Return what a coded file says of itself, and which run's model it needs.

    Raises
    ------
    DataError
        If it is not a coded file, or damaged.
    StoreError
        If the store cannot be read.
    """
    path = Path(path)
    file = codec_file.read(path)
    origin, problem = None, None
    try:
        found = _find(file, path, open_at(store, announce=announce))
        _check(file, found)
        origin = _origin(file, found)
    except (NotStoredError, DataError) as error:
        problem = str(error)
    return InspectedFile(
        path=path,
        version=codec_file.VERSION,
        images=file.images,
        image_shape=file.image_shape,
        digest=file.digest_half.hex(),
        point=file.point,
        file_bytes=FRAME_BYTES + len(file.payload),
        payload_bytes=len(file.payload),
        origin=origin,
        problem=problem,
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    runs: TrackingStore
    run_id: str
    sweep: str
    codec: Codec
    digest: bytes


def _find(file: CodecFile, path: Path, place: Store) -> _Found:
    """Find the codec that a file names: with its run, else in the user cache."""
    digest = file.digest_half.hex()
    unknown = NotStoredError(
        f"{visible(path)} was encoded with the codec {digest}, which no run in "
        f"{visible(place.runs_place)} has; name the store that holds its model with --store"
    )
    try:
        runs = tracking.open_for_reading(place)
    except NotStoredError:
        raise unknown from None
    damaged: StoreError | None = None
    for run_id, sweep, content in _candidates(runs, digest):
        if content is None or codec_digest(content) != digest:
            damaged = StoreError(
                f"{names.CODEC_FILE} of run {run_id} is gone or damaged, and {visible(path)} needs "
                "it; restore it"
            )
            continue
        return _Found(
            runs=runs,
            run_id=run_id,
            sweep=sweep,
            codec=storage.from_bytes(content),
            digest=artifact.digest(content),
        )
    raise damaged or unknown


def _candidates(runs: TrackingStore, digest: str) -> Iterator[tuple[str, str, bytes | None]]:
    for run_id, sweep in runs.runs_with_codec(digest):
        yield run_id, sweep, runs.run_file(run_id, names.CODEC_FILE)
    for kept in kept_rates.cached_of_codec(digest):
        try:
            sweep = runs.sweep_of(kept.run_id)
        except NotStoredError:
            continue  # of another store
        yield kept.run_id, sweep, kept_rates.cached_codec(kept)


def _check(file: CodecFile, found: _Found) -> None:
    codec_file.check_model(file, found.digest, points=len(found.codec.points))
    codec_file.check_shape(file, found.codec.image_shape)


def _origin(file: CodecFile, found: _Found) -> CodecOrigin:
    parameters = found.runs.parameters(found.run_id)
    try:
        latent_dim = int(parameters["latent_dim"])
        model = parameters["model"]
    except (KeyError, ValueError):
        raise StoreError(
            f"run {found.run_id} does not say what it trained; restore its parameters"
        ) from None
    return CodecOrigin(
        sweep=found.sweep,
        run_id=found.run_id,
        latent_dim=latent_dim,
        model=model,
        setting=found.codec.points[file.point].name,
    )
