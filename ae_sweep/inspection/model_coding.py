"""Measurement of one model's rate: a codec fitted on training images, run on the others.

Shapes: N images, C channels, H height, W width, D latents or tokens, K coordinates.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ae_sweep import analysis
from ae_sweep.analysis.latent_transform import LatentTransform, step_for_each_latent
from ae_sweep.analysis.quantiser import FINEST_SHARE
from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.codec import ans, artifact, fit, storage
from ae_sweep.codec.codec_file import DIGEST_BYTES, FRAME_BYTES
from ae_sweep.errors import ConfigError
from ae_sweep.inspection.coded_points import Coded, measured_points

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ae_sweep.codec.artifact import Codec
    from ae_sweep.data import ImageDataset
    from ae_sweep.models import TrainedAutoencoder

    Array: TypeAlias = np.ndarray[Any, Any]

TRAIN_IMAGES = 65_536
"""Training images that a codec is fitted on at most, evenly spaced ones of more."""
TEST_IMAGES = 10_000
VAL_IMAGES = 2_500
"""Test and validation images that are coded at most, evenly spaced ones of more. The standard
error of the error is 1.5 % of it with 2,500 images, and nearly the same at all points."""
ENCODED_NUMBERS = 2**25
"""Pixels times channels that are encoded at a time."""
FITTING_SHARE = 0.3
"""Of the time of a measurement, about: encoding, the decoder's metric and the tables."""
DRAWING_SEED = 0
STEPS_AROUND_ONE = tuple(2 ** (half / 2) for half in range(4, -9, -1))
"""Of a model that rounds its latents: 4 to 1/16."""
STEP_PER_LATENT = 0.05
"""Finest step of a latent without a transform, in its standard deviations."""


@dataclass(frozen=True, kw_only=True)
class CodedModel:
    """What the measurement of one model gave."""

    codec: bytes | None
    """The content of ``codec.safetensors``; None where nothing could be coded."""
    curves: tuple[RateCurve, ...]
    """Of its codec, and of a code that is drawn the bound as well. Their names and seeds are those
    of the caller."""
    notes: tuple[str, ...] = ()
    """Why there is no curve of coded points."""

    @property
    def digest(self) -> str | None:
        """The digest by which files name the codec: half of its SHA-256, hexadecimal."""
        return None if self.codec is None else codec_digest(self.codec)


def codec_digest(content: bytes) -> str:
    """Return the first half of the SHA-256 of a codec, hexadecimal, as coded files name it."""
    return artifact.digest(content)[:DIGEST_BYTES].hex()


def code_model(
    model: TrainedAutoencoder,
    dataset: ImageDataset,
    *,
    model_sha256: str,
    val_mse: float,
    rotate: bool = True,
) -> Generator[float, None, CodedModel]:
    """Fit a model's codec on training images, and code validation and test images with it.

    Parameters
    ----------
    model_sha256
        Of the model's file, hexadecimal.
    val_mse
        Of its float latents, per number of an image; the finest step follows from it.
    rotate
        Without it, latents have a step each instead of a transform: for comparisons alone.

    Yields
    ------
    float
        The share of the work that is done.

    Returns
    -------
    CodedModel
        See `ae_sweep.inspection.measured_rates`.
    """
    curves: list[RateCurve] = []
    notes: list[str] = []
    content = None
    test = _coded(model, dataset.test_NCHW, TEST_IMAGES)
    val = _coded(model, dataset.val_NCHW, VAL_IMAGES)
    yield 0.02
    most = min(TRAIN_IMAGES, fit.MOST_NUMBERS // model.latent_dim)
    train_ND = _latents(model, dataset.train_NCHW, most)
    yield FITTING_SHARE / 3
    try:
        codec = _fit(model, train_ND, model_sha256=model_sha256, val_mse=val_mse, rotate=rotate)
    except ConfigError as error:
        # Latents that are all alike, or a codebook too large for 16 bits.
        notes.append(str(error))
    else:
        content = storage.to_bytes(codec)
        yield FITTING_SHARE
        points: list[RatePoint] = []
        codec = storage.from_bytes(content)
        for found in measured_points(model, codec, test=test, val=val):
            points += found
            yield FITTING_SHARE + (1 - FITTING_SHARE) * len(points) / len(codec.points)
        curves.append(_curve(model, points, images=len(test.images_NCHW)))
    if model.has_posterior:
        curves.append(_bound(model, test=test, val=val))
    return CodedModel(codec=content, curves=tuple(curves), notes=tuple(notes))


def _fit(
    model: TrainedAutoencoder,
    train_ND: Array,
    *,
    model_sha256: str,
    val_mse: float,
    rotate: bool,
) -> Codec:
    if model.codebook is not None:
        return fit.fit_token_codec(
            train_ND, model.codebook, model_sha256=model_sha256, image_shape=model.image_shape
        )
    from ae_sweep.models.coding import coding_threads  # noqa: PLC0415 - torch

    steps, metric_DD = None, np.eye(model.latent_dim)
    if model.rounds_latents:
        # The model has a transform of its own, and its decoder is trained for a step of 1.
        eye_DD = np.eye(model.latent_dim, dtype=np.float32)
        transform = LatentTransform(mean_D=0 * eye_DD[0], forward_DK=eye_DD, inverse_KD=eye_DD)
        squared_error, steps = 1.0, STEPS_AROUND_ONE
    elif rotate:
        transform, metric_DD = None, model.metric(train_ND)
        squared_error = val_mse * float(np.prod(model.image_shape))
    else:
        # Standard deviations have no squared error of an image: the finest step is given instead.
        transform = step_for_each_latent(train_ND)
        squared_error = model.latent_dim / 12 * STEP_PER_LATENT**2 / FINEST_SHARE
    return fit.fit_codec(
        train_ND,
        metric_DD,
        transform=transform,
        steps=steps,
        squared_error=squared_error,
        model_sha256=model_sha256,
        image_shape=model.image_shape,
        threads=coding_threads(),
    )


def _curve(model: TrainedAutoencoder, points: list[RatePoint], *, images: int) -> RateCurve:
    coded = ans.is_available()
    what = "tokens" if model.codebook is not None else "latents in the decoder's metric, uniform"
    return RateCurve(
        name="",
        description=(
            f"{what}, integer count tables of training images, "
            + ("coded together by ANS and decoded again" if coded else "code lengths by them")
        ),
        kind=CurveKind.CODED if coded else CurveKind.ESTIMATED,
        points=tuple(sorted(points, key=lambda point: (point.bits, point.mse))),
        image_shape=model.image_shape,
        images=images,
        header_bytes=FRAME_BYTES,
        decoder_bytes=model.decoder_bytes,
    )


def _bound(model: TrainedAutoencoder, *, test: Coded, val: Coded) -> RateCurve:
    """Return divergence and error of drawn codes: an upper bound, of no code that was run."""
    bits, errors_N = _drawn(model, test.images_NCHW)
    val_bits, val_errors_N = _drawn(model, val.images_NCHW)
    mse = float(errors_N.mean())
    point = RatePoint(
        bits=bits,
        mse=mse,
        psnr=analysis.psnr_db(mse),
        mean_image_psnr=analysis.mean_image_psnr(errors_N),
        setting="drawn codes",
        latent_dim=model.latent_dim,
        val_bits=val_bits,
        val_mse=float(val_errors_N.mean()),
    )
    return RateCurve(
        name="",
        description=(
            "KL divergence from the prior and error of drawn codes: an upper bound on the "
            "rate-distortion function, no code that was run"
        ),
        kind=CurveKind.BOUND,
        points=(point,),
        image_shape=model.image_shape,
        images=len(test.images_NCHW),
        decoder_bytes=model.decoder_bytes,
    )


def _drawn(model: TrainedAutoencoder, images_NCHW: Array) -> tuple[float, Array]:
    bits: list[Array] = []

    def rebuilt() -> Iterator[Array]:
        for bits_B, rebuilt_BCHW in model.draw(images_NCHW, seed=DRAWING_SEED):
            bits.append(bits_B)
            yield rebuilt_BCHW

    errors_N = analysis.byte_errors(images_NCHW, rebuilt())
    return float(np.concatenate(bits).mean()), errors_N


def _coded(model: TrainedAutoencoder, x_NCHW: Array, most: int) -> Coded:
    chosen = analysis.evenly_spaced(len(x_NCHW), count=_count(x_NCHW, most))
    images_NCHW = x_NCHW if len(chosen) == len(x_NCHW) else x_NCHW[chosen]
    return Coded(images_NCHW=images_NCHW, latents_ND=_latents(model, images_NCHW, most))


def _count(x_NCHW: Array, most: int) -> int:
    return min(most, analysis.images_within(analysis.SAMPLE_NUMBERS, x_NCHW.shape))


def _latents(model: TrainedAutoencoder, x_NCHW: Array, most: int) -> Array:
    """Encode evenly spaced images, some at a time: own images are files larger than memory."""
    chosen = analysis.evenly_spaced(len(x_NCHW), count=most)
    size = analysis.images_within(ENCODED_NUMBERS, x_NCHW.shape)
    parts = [
        model.codes(x_NCHW[chosen[start : start + size]]) for start in range(0, len(chosen), size)
    ]
    return np.concatenate(parts)


def renamed(curve: RateCurve, *, name: str, seed: int | None, run_id: str) -> RateCurve:
    """Return a curve with what the caller knows of it."""
    points = tuple(dataclasses.replace(point, run_id=run_id) for point in curve.points)
    return dataclasses.replace(curve, name=name, seed=seed, points=points)
