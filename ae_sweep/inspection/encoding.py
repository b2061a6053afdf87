"""Images to one coded file: the model, the operating point, the file.

Shapes: N images, B batch, C channels, H height, W width, D latents or tokens, K coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep import analysis, data
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.codec import ans, artifact, codec_file
from ae_sweep.codec.codec_file import MOST_IMAGES, CodecFile
from ae_sweep.errors import ConfigError, DataError
from ae_sweep.inspection.rates import finish, iter_rates_of, trial_of
from ae_sweep.inspection.run_codecs import open_codec
from ae_sweep.messages import times

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from ae_sweep.analysis import RatePoint
    from ae_sweep.api import Sweep
    from ae_sweep.codec.artifact import Codec
    from ae_sweep.inspection.rates import MeasuredRates, RateProgress
    from ae_sweep.models import TrainedAutoencoder
    from ae_sweep.records import TrialRecord

Array: TypeAlias = np.ndarray[Any, Any]
Images: TypeAlias = "Array | Sequence[Path | str]"
MOST_SYMBOLS = 2**28
"""Of a file: they are held in memory, two bytes each, since a stack is coded from its end."""
BATCH = 1_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenCodec:
    """A model of a sweep, its codec and one operating point of it."""

    trial: TrialRecord
    point: RatePoint
    """What was measured of the operating point; its ``index`` is the point's number."""
    model: TrainedAutoencoder = field(repr=False)
    codec: Codec = field(repr=False)
    digest: bytes = field(repr=False)
    """SHA-256 of the codec's file."""

    @property
    def index(self) -> int:
        """Number of the operating point."""
        assert self.point.index is not None, "points of a codec have a number"  # noqa: S101
        return self.point.index


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedImages:
    """A coded file and what it holds."""

    content: bytes = field(repr=False)
    """Of the file."""
    images: int
    mse: float
    """Mean squared error of the images decoded from it, rounded to bytes, pixels in [0, 1]."""
    chosen: ChosenCodec

    @property
    def bits(self) -> float:
        """Bits an image of the whole file, its 45 bytes of header and checksum included."""
        return 8 * len(self.content) / self.images

    @property
    def psnr(self) -> float | None:
        """10·log10(1 / mse) in dB; None if all images are perfect."""
        return analysis.psnr_db(self.mse)


def check_choice(
    *,
    latent_dim: int | None = None,
    run_id: str | None = None,
    bits: float | None = None,
    psnr: float | None = None,
) -> None:
    """Refuse a choice of a model and an operating point that nothing can meet.

    Parameters
    ----------
    latent_dim, run_id
        See `rates_to_choose_from`.
    bits, psnr
        See `choose_codec`.

    Raises
    ------
    ConfigError
        With the value, before anything is measured.
    """
    if latent_dim is not None and run_id is not None:
        raise ConfigError("--dim and --run both choose the model; give one of them")
    if bits is not None and psnr is not None:
        raise ConfigError("--bits and --psnr both choose the operating point; give one of them")
    if bits is not None and not bits > 0:
        raise ConfigError(f"--bits must be a positive number, got {bits:g}")
    if psnr is not None:
        analysis.mse_of_psnr(psnr)


def rates_to_choose_from(
    sweep: Sweep, *, latent_dim: int | None = None, run_id: str | None = None
) -> Generator[RateProgress, None, MeasuredRates]:
    """Measure, or read back, the rates of the models that a file can be coded with.

    Parameters
    ----------
    latent_dim
        That of the model; all of the sweep if left out.
    run_id
        A finished trial's run, whether it is the best or not, in place of a dim.

    Raises
    ------
    ConfigError
        If both are given.
    NotStoredError
        If there is no such model.
    """
    check_choice(latent_dim=latent_dim, run_id=run_id)
    if run_id is not None:
        return iter_rates_of(sweep, [trial_of(sweep, run_id)])
    points = sweep.points(None if latent_dim is None else [latent_dim])
    return iter_rates_of(sweep, [trial_of(sweep, point.run_id) for point in points])


def choose_codec(
    sweep: Sweep,
    rates: MeasuredRates,
    *,
    bits: float | None = None,
    psnr: float | None = None,
) -> ChosenCodec:
    """Choose a model and an operating point by their measurements on validation images.

    Parameters
    ----------
    rates
        Of the models to choose from.
    bits
        The point of the least error with at most that many bits per image.
    psnr
        The point of the fewest bits that reaches that PSNR in dB. Without either, the point of
        the fewest bits within 0.5 dB of the best.

    Raises
    ------
    ConfigError
        If both are given, one cannot be reached by any code, no point fits, or the models cannot
        be coded.
    EntropyCoderError
        If constriction is not installed.
    StoreError, NotStoredError, DataError
        If the model or its codec cannot be read, or they do not belong together.
    """
    ans.require_coder()
    check_choice(bits=bits, psnr=psnr)
    curves = [model.coded for model in rates.models if model.coded is not None]
    if not curves:
        raise ConfigError("; ".join(rates.findings) or "no model has a codec")
    point = analysis.choose_point(curves, bits=bits, psnr=psnr)
    if isinstance(point, NotApplicable):
        raise ConfigError(f"{point.reason}; give another --bits, --psnr or --dim")
    measured = next(model for model in rates.models if model.trial.run_id == point.run_id)
    model, codec, content = open_codec(sweep, measured)
    return ChosenCodec(
        trial=measured.trial,
        point=point,
        model=model,
        codec=codec,
        digest=artifact.digest(content),
    )


def encode_images(
    sweep: Sweep,
    images: Images,
    *,
    latent_dim: int | None = None,
    run_id: str | None = None,
    bits: float | None = None,
    psnr: float | None = None,
) -> EncodedImages:
    """Code images into one file, with a model and an operating point of a sweep.

    The rates of the models are measured first, unless they are kept.

    Parameters
    ----------
    images
        An array N×C×H×W of bytes, or paths of pictures, folders of pictures, npy and npz files.
    latent_dim, run_id
        See `rates_to_choose_from`.
    bits, psnr
        See `choose_codec`.

    Raises
    ------
    ConfigError
        If no model or point fits, there are no images or too many, or an array is not the model's.
    DataError
        If a picture has another size or colour or cannot be read.
    EntropyCoderError
        If constriction is not installed.
    StoreError, NotStoredError
        If a model cannot be read.
    """
    ans.require_coder()
    check_choice(bits=bits, psnr=psnr)
    measuring = rates_to_choose_from(sweep, latent_dim=latent_dim, run_id=run_id)
    rates = finish(measuring, sweep.announce)
    return encode_with(choose_codec(sweep, rates, bits=bits, psnr=psnr), images)


def encode_with(chosen: ChosenCodec, images: Images) -> EncodedImages:
    """Code images of the model's exact size into one file.

    They are encoded once, then decoded from the file's bytes and compared with the images.

    Parameters
    ----------
    images
        An array N×C×H×W of bytes, or paths of pictures, folders of pictures, npy and npz files.

    Raises
    ------
    ConfigError
        If there are no images or too many, or an array has another type or shape.
    DataError
        If a picture has another size or colour or cannot be read.
    EntropyCoderError
        If constriction is not installed.
    """
    batches = _batches(chosen, images)
    symbols_NK = _symbols(chosen, batches())
    file = CodecFile(
        digest_half=chosen.digest[: codec_file.DIGEST_BYTES],
        point=chosen.index,
        images=len(symbols_NK),
        image_shape=chosen.model.image_shape,
        payload=ans.encode(symbols_NK, chosen.codec.points[chosen.index].tables),
    )
    errors, count = 0.0, 0
    decoded = decoded_batches(chosen.model, chosen.codec, file)
    for original_BCHW, rebuilt_BCHW in _side_by_side(batches(), decoded):
        errors += float(analysis.byte_errors(original_BCHW, [rebuilt_BCHW]).sum())
        count += len(rebuilt_BCHW)
    if count != len(symbols_NK):
        raise DataError("the images changed while they were encoded; encode them again")
    return EncodedImages(
        content=codec_file.pack(file), images=count, mse=errors / count, chosen=chosen
    )


def decoded_batches(model: TrainedAutoencoder, codec: Codec, file: CodecFile) -> Iterator[Array]:
    """Yield the images of a file, uint8 B×C×H×W, in order and in bounded memory.

    Raises
    ------
    DataError
        If the stream ran dry, or is not at its end after the last image.
    """
    for codes_BD in codec.decode_blocks(file.payload, file.point, file.images):
        yield from model.decode_to_bytes(codes_BD)


def _symbols(chosen: ChosenCodec, batches: Iterable[Array]) -> Array:
    """Return the symbols of all images; int16, as all symbols of a codec are."""
    parts: list[Array] = []
    count = 0
    for images_BCHW in batches:
        symbols_BK = chosen.codec.quantise(chosen.model.codes(images_BCHW), chosen.index)
        parts.append(symbols_BK.astype(np.int16))
        count += len(symbols_BK)
        if count > MOST_IMAGES or count * symbols_BK.shape[1] > MOST_SYMBOLS:
            most = min(MOST_IMAGES, MOST_SYMBOLS // symbols_BK.shape[1])
            raise ConfigError(
                f"there are more than {most:,} images, and a file of this model holds no more: "
                "encode them into several files"
            )
    if not count:
        raise ConfigError("there is no image to encode; name pictures, folders or arrays")
    return np.concatenate(parts)


def _batches(chosen: ChosenCodec, images: Images) -> Callable[[], Iterator[Array]]:
    """Return what reads the images from the first, each time it is called."""
    if not isinstance(images, np.ndarray):
        paths = [Path(each) for each in images]
        return lambda: data.exact_images(paths, chosen.model.image_shape)
    shape = chosen.model.image_shape
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise ConfigError(
            f"images must be uint8 N×{times(shape)}, got {images.dtype} {times(images.shape)}; "
            "resize them, and round floats to bytes, first"
        )
    array_NCHW = images
    return lambda: (array_NCHW[start : start + BATCH] for start in range(0, len(array_NCHW), BATCH))


def _side_by_side(
    originals: Iterable[Array], rebuilt: Iterable[Array]
) -> Iterator[tuple[Array, Array]]:
    """Yield the two in pairs of equal length, until one of them ends."""
    waiting: Array | None = None
    source = iter(originals)
    for batch in rebuilt:
        rest = batch
        while len(rest):
            if waiting is None or not len(waiting):
                waiting = next(source, None)
                if waiting is None:
                    return
            size = min(len(waiting), len(rest))
            yield waiting[:size], rest[:size]
            waiting, rest = waiting[size:], rest[size:]
