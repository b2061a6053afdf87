"""References that principal components give: a linear code, a Gaussian bound, the mean image.

Everything is fitted on training images and measured on test images.

Shapes: N images, C channels, H height, W width, P = C·H·W numbers of an image, K components.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep import analysis
from ae_sweep.analysis import gaussian_source
from ae_sweep.analysis.byte_distortion import byte_distortion
from ae_sweep.analysis.principal_components import EXACT_NUMBERS, PrincipalComponents
from ae_sweep.analysis.quantiser import fit_quantiser
from ae_sweep.analysis.rate_curve import CurveKind, RateCurve, RatePoint
from ae_sweep.codec import ans, codec_file
from ae_sweep.codec.table_fit import fit_tables
from ae_sweep.container import usable_cores
from ae_sweep.inspection.codec_references import ascending
from ae_sweep.messages import counted
from ae_sweep.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis.quantiser import Alphabet
    from ae_sweep.data import ImageDataset

    Array = np.ndarray[Any, Any]

MOST_COMPONENTS = 1_024
"""Of images with more numbers than are decomposed exactly; what the others hold is lost."""
FIT_NUMBERS = 2**24
"""Scores of training images that tables are fitted on, in all; of more images, evenly spaced ones
are taken: 21,399 of MNIST's. All 55,000 would save 0.1 % of the bits in twice the time."""
NUMBERS_AT_ONCE = 2**26
"""Scores of all steps that tables are fitted on at a time: four steps, of the most scores."""
CHUNK_NUMBERS = 2**22
"""Numbers of the images that are projected or rebuilt at a time."""
STEPS = 12
COARSEST = 4.0
"""Largest step, in standard deviations of the first component: nearly nothing is coded."""
FINEST_MSE = 5e-4
"""What the finest step adds, as if no component were narrower than it: about 33 dB."""
BOUND_POINTS = 40
BOUND_MSE = 1e-4
"""Lowest distortion of the Gaussian bound: 40 dB."""
FLOAT_BYTES = 4
GAUSSIAN_TITLE = (
    "a Gaussian source of this covariance; an upper bound on R(D), and codecs may lie below it"
)


@dataclass(frozen=True, kw_only=True)
class PcaPoint:
    """Test images rebuilt from their first principal components, which are not quantised."""

    latent_dim: int
    """Components asked for; all there are where an image has fewer numbers."""
    mse: float
    """Of images clipped and rounded to bytes; pixels in [0, 1]."""
    psnr: float | None
    """In dB; None for a perfect reconstruction."""
    mean_image_psnr: float | None
    """Mean over images of each one's PSNR in dB; None if one of them is perfect."""


class LinearReferences:
    """References of one data set that share its principal components, computed on first use."""

    def __init__(self, dataset: ImageDataset, dims: Sequence[int] = ()) -> None:
        self._dataset = dataset
        self._dims = tuple(sorted(set(dims)))

    @functools.cached_property
    def components(self) -> PrincipalComponents:
        """Of the training images: all, or the 1,024 widest of more than 3,072 numbers an image."""
        train_NCHW = self._dataset.train_NCHW
        is_small = self._dataset.card.pixels <= EXACT_NUMBERS
        most = None if is_small else MOST_COMPONENTS
        return PrincipalComponents.fit(train_NCHW, components=most)

    @functools.cached_property
    def _test_scores(self) -> Array:
        return _scores(self.components, self._dataset.test_NCHW)

    def pca_points(self) -> tuple[PcaPoint, ...]:
        """Rebuild the test images from as many components as each of the dims."""
        if not self._dims:
            return ()
        components, scores_NK = self.components, self._test_scores
        widest = min(self._dims[-1], self._dataset.card.pixels)
        if widest > len(components.variance_K):
            # Not for the curves, which would then depend on the dims.
            components = PrincipalComponents.fit(self._dataset.train_NCHW, components=widest)
            scores_NK = _scores(components, self._dataset.test_NCHW)
        return tuple(self._pca_point(components, scores_NK[:, :dim], dim) for dim in self._dims)

    def _pca_point(self, components: PrincipalComponents, scores_NK: Array, dim: int) -> PcaPoint:
        rebuilt_NCHW = _rebuilt(components, scores_NK)
        distortion = byte_distortion(self._dataset.test_NCHW, rebuilt_NCHW)
        return PcaPoint(
            latent_dim=dim,
            mse=distortion.mse,
            psnr=distortion.psnr,
            mean_image_psnr=distortion.mean_image_psnr,
        )

    def coded(self) -> RateCurve:
        """Code the test images' scores at several steps, with the coder of the autoencoders.

        One uniform step for all components, centroids, a table of counts for each component. The
        steps are a ladder in units of the spectrum, so that nothing is chosen on any image.
        """
        dataset = self._dataset
        train_NCHW = dataset.train_NCHW
        count = analysis.images_within(FIT_NUMBERS, (1, len(self.components.variance_K)))
        fitted = analysis.evenly_spaced(len(train_NCHW), count=count)
        scores_NK = np.asfortranarray(_scores(self.components, train_NCHW[fitted]))
        test_NK = self._test_scores
        threads = max(1, min(usable_cores(), NUMBERS_AT_ONCE // scores_NK.size))
        points = list(
            in_threads(
                lambda step: self._coded_point(scores_NK, test_NK, step),
                step_ladder(self.components),
                threads=threads,
            )
        )
        coded = ans.is_available()
        most = max(point.latent_dim or 0 for point in points)
        images = counted(len(dataset.test_NCHW), "test image")
        return RateCurve(
            name="PCA + coder",
            description=(
                f"principal components of {images}, uniformly quantised and coded with a table of "
                "counts for each, all images in one stream"
            ),
            kind=CurveKind.CODED if coded else CurveKind.ESTIMATED,
            points=ascending(points),
            image_shape=dataset.card.image_shape,
            images=len(dataset.test_NCHW),
            header_bytes=codec_file.FRAME_BYTES,
            decoder_bytes=FLOAT_BYTES * dataset.card.pixels * (1 + most),
        )

    def _coded_point(self, train_NK: Array, test_NK: Array, step: float) -> RatePoint:
        quantiser = fit_quantiser(train_NK, step)
        tables = fit_tables(quantiser.quantise(train_NK), quantiser.alphabet)
        symbols_NK = quantiser.quantise(test_NK)
        if ans.is_available():
            payload = ans.encode(symbols_NK, tables)
            symbols_NK = ans.decode(payload, tables, len(symbols_NK))
            bits = 8 * len(payload) / len(symbols_NK)
        else:
            bits = float(tables.code_lengths(symbols_NK).mean())
        rebuilt_NCHW = _rebuilt(self.components, quantiser.dequantise(symbols_NK))
        distortion = byte_distortion(self._dataset.test_NCHW, rebuilt_NCHW)
        return RatePoint(
            bits=bits,
            mse=distortion.mse,
            psnr=distortion.psnr,
            mean_image_psnr=distortion.mean_image_psnr,
            setting=f"step {quantiser.step:.3g}",
            latent_dim=coded_components(quantiser.alphabet),
            table_bytes=tables.table_bytes + len(quantiser.offsets_S) + FLOAT_BYTES,
        )

    def gaussian(self) -> RateCurve:
        """Return the rate-distortion function of a Gaussian with the training images' covariance.

        By reverse water-filling; see ``ae_sweep.analysis.gaussian_source``. Of all sources of one
        covariance, the Gaussian has the largest R(D). Nothing is rounded or clipped.
        """
        dataset, components = self._dataset, self.components
        variance_K = components.variance_K
        lowest = lowest_level(components, BOUND_MSE)
        points = []
        for level in np.geomspace(variance_K[0], lowest, BOUND_POINTS + 1)[1:]:
            source = gaussian_source.at_level(variance_K, float(level))
            mse = (source.squared_error + components.rest_variance) / dataset.card.pixels
            points.append(
                RatePoint(
                    bits=source.bits,
                    mse=mse,
                    psnr=analysis.psnr_db(mse),
                    setting=f"level {level:.3g}",
                    latent_dim=source.active,
                )
            )
        return RateCurve(
            name="Gaussian",
            description=GAUSSIAN_TITLE,
            kind=CurveKind.BOUND,
            points=tuple(points),
            image_shape=dataset.card.image_shape,
            images=len(dataset.test_NCHW),
        )

    def mean_image(self) -> RateCurve:
        """Rebuild every test image as the mean training image, which takes no bits."""
        dataset = self._dataset
        mean_CHW = dataset.train_NCHW.mean(axis=0, dtype=np.float64)
        rebuilt_NCHW = np.broadcast_to(analysis.as_bytes(mean_CHW / 255), dataset.test_NCHW.shape)
        distortion = byte_distortion(dataset.test_NCHW, rebuilt_NCHW)
        point = RatePoint(
            bits=0.0,
            mse=distortion.mse,
            psnr=distortion.psnr,
            mean_image_psnr=distortion.mean_image_psnr,
            setting="mean image",
        )
        return RateCurve(
            name="Mean image",
            description="the mean training image in place of every test image, at zero rate",
            kind=CurveKind.CODED,
            points=(point,),
            image_shape=dataset.card.image_shape,
            images=len(dataset.test_NCHW),
            decoder_bytes=dataset.card.pixels,
        )


def settings() -> dict[str, Any]:
    """Return what the coded curve depends on, beside the images."""
    return {
        "coder": metadata.version("constriction") if ans.is_available() else None,
        "components": MOST_COMPONENTS,
        "fit_numbers": FIT_NUMBERS,
        "steps": [STEPS, COARSEST, FINEST_MSE],
    }


def bound_settings() -> dict[str, Any]:
    """Return what the Gaussian's curve depends on, beside the images."""
    return {"components": MOST_COMPONENTS, "points": BOUND_POINTS, "mse": BOUND_MSE}


def coded_components(alphabet: Alphabet) -> int:
    """Return how many components have more than one symbol; nothing is coded of the others."""
    return int((alphabet.sizes > 1).sum())


def step_ladder(components: PrincipalComponents) -> tuple[float, ...]:
    """Return steps in a geometric progression, descending, for components that vary."""
    # A step Δ adds Δ²/12 to each component that is wider.
    finest = math.sqrt(12 * lowest_level(components, FINEST_MSE))
    coarsest = COARSEST * math.sqrt(components.variance_K[0])
    return tuple(map(float, np.geomspace(coarsest, min(finest, coarsest / 2), STEPS)))


def lowest_level(components: PrincipalComponents, mse: float) -> float:
    """Return the level θ at which min(θ, variance) adds up to an error of ``mse`` per number.

    Where components are left out, whose variance is lost in any case, it is at least the variance
    of the narrowest: below, bits buy next to nothing.
    """
    lost = mse * len(components.mean_P) - components.rest_variance
    level = gaussian_source.water_level(components.variance_K, lost)
    return max(level, float(components.variance_K[-1]) if components.rest_variance > 0 else 0.0)


def _scores(components: PrincipalComponents, x_NCHW: Array) -> Array:
    """Return the scores of images on all components, float32."""
    step = analysis.images_within(CHUNK_NUMBERS, x_NCHW.shape)
    return np.concatenate(
        [
            components.project(x_NCHW[i : i + step]).astype(np.float32)
            for i in range(0, len(x_NCHW), step)
        ]
    )


def _rebuilt(components: PrincipalComponents, scores_NK: Array) -> Array:
    """Return the images of scores, clipped and rounded to bytes."""
    step = analysis.images_within(CHUNK_NUMBERS, (1, *components.image_shape))
    return np.concatenate(
        [
            analysis.as_bytes(components.rebuild(scores_NK[i : i + step]))
            for i in range(0, len(scores_NK), step)
        ]
    )
