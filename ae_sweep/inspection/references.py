"""References for a sweep's curve in bits: other codes of the same test images, and bounds.

Each is measured once for a data set and kept in the user cache.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep.codec import ans
from ae_sweep.data import ImageDataset, image_codecs
from ae_sweep.errors import ConfigError
from ae_sweep.inspection import linear_references, reference_cache
from ae_sweep.inspection.codec_references import SINGLE_PIXELS, codec_curves
from ae_sweep.inspection.linear_references import LinearReferences, PcaPoint
from ae_sweep.locations import cache_dir
from ae_sweep.messages import ignore, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ae_sweep.analysis.rate_curve import RateCurve
    from ae_sweep.api import Sweep
    from ae_sweep.data.image_codecs import ImageCodec

    Array = np.ndarray[Any, Any]
    Document = dict[str, Any]

REFERENCES = ("pca", "gaussian", "jpeg", "webp", "avif", "jxl", "lossless", "zero")
ALL, NONE = "all", "none"
VERSION = 1
"""Of how references are measured: a change that alters a result counts up."""
LINEAR = ("pca", "gaussian")
"""References that need images which differ."""


@dataclass(frozen=True, kw_only=True)
class References:
    """References of one set of test images."""

    curves: tuple[RateCurve, ...]
    """In the order of ``REFERENCES``; of a codec first the mosaic's, then that of single images."""
    pca: tuple[PcaPoint, ...]
    """Principal components without a quantiser, for the axis of dims; empty unless ``pca`` was
    asked for and there are dims."""
    notes: tuple[str, ...]
    """What is left out and why, one line each."""


def chosen_references(names: Sequence[str]) -> tuple[str, ...]:
    """Return the references of names, in the order of ``REFERENCES``, each once.

    Parameters
    ----------
    names
        Any of ``REFERENCES``; or ``all`` or ``none`` alone.

    Raises
    ------
    ConfigError
        If there is no such reference, or ``all`` or ``none`` is not alone.
    """
    for name in names:
        if name not in (*REFERENCES, ALL, NONE):
            raise unknown_name("reference", name, (*REFERENCES, ALL, NONE))
    for name in (ALL, NONE):
        if name in names and set(names) != {name}:
            others = " ".join(each for each in names if each != name)
            raise ConfigError(f"references are either {name} or {others}, not both; leave one out")
    return tuple(name for name in REFERENCES if name in names or ALL in names)


def references(
    images: Sweep | ImageDataset,
    names: Sequence[str] = (ALL,),
    *,
    dims: Sequence[int] | None = None,
    cache: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> References:
    """Measure other codes on the test images, or recall what was measured of them before.

    What is fitted is fitted on the training images. Where coding all test images takes long,
    evenly spaced ones are taken; ``RateCurve.images`` says how many.

    Parameters
    ----------
    images
        A sweep, or a data set.
    names
        See `chosen_references`.
    dims
        Numbers of principal components for ``References.pca``; those of the sweep's curve if left
        out, none for a data set.
    cache
        The directory that keeps results; the user cache if left out.
    announce
        Called with a line before each measurement, which takes seconds to half a minute.

    Raises
    ------
    ConfigError
        If there is no such reference, or one that is named needs an extra that is not installed.
    DataError
        If the images cannot be read or a codec fails.
    NotStoredError
        If the sweep has no curve.
    """
    wanted = chosen_references(names)
    # Whoever names a codec wants it; where all are wanted, a missing one is noted.
    if ALL not in names:
        for codec in image_codecs.LOSSY:
            if codec.name in wanted and (problem := image_codecs.missing(codec)):
                raise ConfigError(problem)
    if isinstance(images, ImageDataset):
        dataset = images
        dims = dims or ()
    else:
        dataset = images.dataset
        dims = [point.latent_dim for point in images.frontier.points] if dims is None else dims
    measured = _Measured(
        dataset,
        dims=tuple(sorted(set(dims))) if "pca" in wanted else (),
        cache=cache or cache_dir(),
        announce=announce or ignore,
    )
    for name in wanted:
        measured.add(name)
    return References(curves=tuple(measured.curves), pca=measured.pca, notes=tuple(measured.notes))


class _Measured:
    """References of a data set as they are recalled or measured."""

    def __init__(
        self,
        dataset: ImageDataset,
        *,
        dims: tuple[int, ...],
        cache: Path,
        announce: Callable[[str], None],
    ) -> None:
        self.curves: list[RateCurve] = []
        self.pca: tuple[PcaPoint, ...] = ()
        self.notes: list[str] = []
        self._dataset = dataset
        self._dims = dims
        self._cache = cache
        self._announce = announce
        self._linear = LinearReferences(dataset, dims)

    def add(self, name: str) -> None:
        """Add a reference, or the reason why it is left out."""
        if name in LINEAR and _all_equal(self._dataset.train_NCHW):
            self._note("training images that are all equal have no principal components")
        elif name == "pca":
            self._add_pca()
        elif name == "gaussian":
            self._add_gaussian()
        elif name == "zero":
            self.curves.append(self._linear.mean_image())
        elif name == "lossless":
            for codec in image_codecs.LOSSLESS:
                self._add_codec(codec)
        else:
            self._add_codec(next(each for each in image_codecs.LOSSY if each.name == name))

    def _add_pca(self) -> None:
        if self._dims:
            self.pca = self._kept(
                "pca-dims",
                {"dims": list(self._dims)},
                _points_from,
                lambda: [dataclasses.asdict(point) for point in self._linear.pca_points()],
                about="rebuilding the test images from principal components",
            )
        self.curves += self._kept(
            "pca",
            linear_references.settings(),
            reference_cache.curves_from,
            lambda: [reference_cache.curve_document(self._linear.coded())],
            about="coding principal components of the test images",
        )
        if not ans.is_available():
            self._note(
                "the rate of PCA + coder is an estimate: constriction is not installed, so no "
                "coder ran"
            )

    def _add_gaussian(self) -> None:
        self.curves += self._kept(
            "gaussian",
            linear_references.bound_settings(),
            reference_cache.curves_from,
            lambda: [reference_cache.curve_document(self._linear.gaussian())],
            about="computing the rate-distortion function of a Gaussian",
        )

    def _add_codec(self, codec: ImageCodec) -> None:
        x_NCHW = self._dataset.test_NCHW
        problem = image_codecs.missing(codec) or image_codecs.refusal(x_NCHW.shape, codec)
        if problem:
            self._note(problem)
            return
        kind = codec.name if codec.qualities else f"{codec.name}-lossless"
        self.curves += self._kept(
            kind,
            {
                "options": dict(codec.options),
                "qualities": list(codec.qualities),
                "versions": image_codecs.versions(codec),
                "images": [codec.mosaic_pixels, codec.single_images, SINGLE_PIXELS],
            },
            reference_cache.curves_from,
            lambda: [
                reference_cache.curve_document(curve) for curve in codec_curves(x_NCHW, [codec])
            ],
            about=f"coding the test images with {codec.title}",
        )

    def _kept(
        self,
        name: str,
        settings: Document,
        read: Callable[[Any], Any],
        measure: Callable[[], list[Document]],
        *,
        about: str,
    ) -> Any:
        """Recall what was measured with these settings, or measure and keep it."""
        settings = {
            "version": VERSION,
            "dataset": self._dataset.card.digest,
            "image_shape": list(self._dataset.card.image_shape),
            "numpy": metadata.version("numpy"),
            **settings,
        }
        path = reference_cache.path_of(self._cache, name, settings)
        found = reference_cache.recall(path, settings)
        if found is not None:
            try:
                return read(found["results"])
            except (KeyError, ValueError, TypeError):
                pass  # damaged: measured anew
        self._announce(f"{about}, once for this data set")
        results = measure()
        reference_cache.keep(path, settings, {"results": results})
        return read(results)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _all_equal(x_NCHW: Array) -> bool:
    return all(np.array_equal(image_CHW, x_NCHW[0]) for image_CHW in x_NCHW[1:])


def _points_from(documents: Sequence[Document]) -> tuple[PcaPoint, ...]:
    return tuple(PcaPoint(**document) for document in documents)
