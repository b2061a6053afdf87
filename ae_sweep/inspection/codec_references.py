"""Curves of image codecs on test images, on a mosaic and singly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ae_sweep import analysis
from ae_sweep.analysis.byte_distortion import byte_distortion
from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.data import image_codecs
from ae_sweep.messages import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from ae_sweep.data.image_codecs import CodedImages, ImageCodec

    Array = np.ndarray[Any, Any]

MOSAIC, SINGLY = "mosaic", "singly"
SINGLE_PIXELS = 2**21
"""Most pixels of the images that are coded singly at each quality."""


def begin_codec_curves(
    pool: ThreadPoolExecutor, x_NCHW: Array, codec: ImageCodec
) -> Callable[[], tuple[RateCurve, ...]]:
    """Begin to code images at every quality of a codec, and to decode them again.

    Where coding all images takes long, evenly spaced ones are taken; a curve says how many.

    Parameters
    ----------
    pool
        Threads that do it; Pillow's codecs let others run meanwhile.
    x_NCHW
        Test images as bytes, whose shape the codec takes.

    Returns
    -------
    callable
        Waits for the curves: one for the mosaic and one for single images. Qualities that give the
        same bytes are one point.
    """
    waiting = [
        (arrangement, *_submit(pool, codec, arrangement, x_NCHW))
        for arrangement in (MOSAIC, SINGLY)
    ]

    def curves() -> tuple[RateCurve, ...]:
        return tuple(
            _curve(codec, arrangement, chosen_NCHW, [future.result() for future in futures])
            for arrangement, chosen_NCHW, futures in waiting
        )

    return curves


def _submit(
    pool: ThreadPoolExecutor, codec: ImageCodec, arrangement: str, x_NCHW: Array
) -> tuple[Array, list[Any]]:
    if arrangement == MOSAIC:
        count = image_codecs.mosaic_images(x_NCHW.shape, codec)
    else:
        count = min(
            codec.single_images, analysis.images_within(SINGLE_PIXELS, (1, 1, *x_NCHW.shape[2:]))
        )
    chosen_NCHW = x_NCHW[analysis.evenly_spaced(len(x_NCHW), count=count)]
    code = image_codecs.code_mosaic if arrangement == MOSAIC else image_codecs.code_singly
    return chosen_NCHW, [
        pool.submit(_point, code, chosen_NCHW, codec, quality)
        for quality in codec.qualities or (None,)
    ]


def _point(
    code: Callable[[Array, ImageCodec, int | None], CodedImages],
    x_NCHW: Array,
    codec: ImageCodec,
    quality: int | None,
) -> RatePoint:
    coded = code(x_NCHW, codec, quality)
    distortion = byte_distortion(x_NCHW, coded.decoded_NCHW)
    return RatePoint(
        bits=coded.bits_per_image,
        mse=distortion.mse,
        psnr=distortion.psnr,
        mean_image_psnr=distortion.mean_image_psnr,
        setting="lossless" if quality is None else f"quality {quality}",
    )


def _curve(
    codec: ImageCodec, arrangement: str, x_NCHW: Array, points: Sequence[RatePoint]
) -> RateCurve:
    images = counted(len(x_NCHW), "test image")
    how = "as one picture" if arrangement == MOSAIC else "one file per image"
    settings = f" ({codec.settings})" if codec.settings else ""
    return RateCurve(
        name=f"{codec.title}, {arrangement}",
        description=f"{codec.title}{settings} of {images}, {how}; whole files are counted",
        kind=CurveKind.CODED,
        points=ascending(points),
        image_shape=x_NCHW.shape[1:],
        images=len(x_NCHW),
    )


def ascending(points: Sequence[RatePoint]) -> tuple[RatePoint, ...]:
    """Return points ascending by bits; of those with the same bits, the first of least error."""
    found: dict[float, RatePoint] = {}
    for point in sorted(points, key=lambda point: (point.bits, point.mse)):
        found.setdefault(point.bits, point)
    return tuple(found.values())
