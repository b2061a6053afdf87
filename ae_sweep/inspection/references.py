"""References for a sweep's curve in bits: other codes of the same test images, and bounds.

Each is measured once for a data set and kept in the user cache.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ae_sweep.codec import ans
from ae_sweep.container import usable_cores
from ae_sweep.data import ImageDataset, image_codecs
from ae_sweep.errors import ConfigError
from ae_sweep.inspection import linear_references, reference_cache
from ae_sweep.inspection.codec_references import SINGLE_PIXELS, begin_codec_curves
from ae_sweep.inspection.curve_documents import curve_document
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
        cache=cache_dir() if cache is None else cache,
        announce=ignore if announce is None else announce,
    )
    measured.begin(wanted)
    try:
        for name in wanted:
            measured.add(name)
    finally:
        measured.stop()
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
        self._pool = ThreadPoolExecutor(usable_cores())
        self._begun: dict[str, Callable[[], tuple[RateCurve, ...]]] = {}

    def begin(self, wanted: Sequence[str]) -> None:
        """Begin to code with every codec that is wanted and not recalled.

        All share the cores, so that none is idle while the last picture of a codec is coded. Those
        without loss come first, because one of them takes longest.
        """
        for name in sorted(wanted, key=lambda name: name != "lossless"):
            for codec in _codecs(name):
                settings = self._codec_settings(codec)
                if self._problem(codec) is None and self._recalled(_kind(codec), settings) is None:
                    self._begun[_kind(codec)] = self._begin(codec)

    def stop(self) -> None:
        """Stop what was begun and not added."""
        self._pool.shutdown(wait=False, cancel_futures=True)

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
        for codec in _codecs(name):
            self._add_codec(codec)

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
            lambda: [curve_document(self._linear.coded())],
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
            lambda: [curve_document(self._linear.gaussian())],
            about="computing the rate-distortion function of a Gaussian",
        )

    def _add_codec(self, codec: ImageCodec) -> None:
        if problem := self._problem(codec):
            self._note(problem)
            return
        kind = _kind(codec)

        def measure() -> list[Document]:
            curves = self._begun.get(kind) or self._begin(codec)
            return [curve_document(curve) for curve in curves()]

        self.curves += self._kept(
            kind,
            self._codec_settings(codec),
            reference_cache.curves_from,
            measure,
            about=f"coding the test images with {codec.title}",
        )

    def _begin(self, codec: ImageCodec) -> Callable[[], tuple[RateCurve, ...]]:
        return begin_codec_curves(self._pool, self._dataset.test_NCHW, codec)

    def _problem(self, codec: ImageCodec) -> str | None:
        shape = self._dataset.test_NCHW.shape
        return image_codecs.missing(codec) or image_codecs.refusal(shape, codec)

    def _codec_settings(self, codec: ImageCodec) -> Document:
        return {
            "options": dict(codec.options),
            "qualities": list(codec.qualities),
            "versions": image_codecs.versions(codec),
            "images": [codec.mosaic_pixels, codec.single_images, SINGLE_PIXELS],
        }

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
        found = self._recalled(name, settings, read)
        if found is not None:
            return found
        self._announce(f"{about}, once for this data set")
        results = measure()
        path, settings = self._place(name, settings)
        reference_cache.keep(path, settings, {"results": results})
        return read(results)

    def _recalled(
        self,
        name: str,
        settings: Document,
        read: Callable[[Any], Any] = reference_cache.curves_from,
    ) -> Any:
        """Return what was measured with these settings; None if there is nothing or damage."""
        found = reference_cache.recall(*self._place(name, settings))
        if found is None:
            return None
        try:
            return read(found["results"])
        except (KeyError, ValueError, TypeError):
            return None

    def _place(self, name: str, settings: Document) -> tuple[Path, Document]:
        settings = {
            "version": VERSION,
            "dataset": self._dataset.card.digest,
            "image_shape": list(self._dataset.card.image_shape),
            "numpy": metadata.version("numpy"),
            **settings,
        }
        return reference_cache.path_of(self._cache, name, settings), settings

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _codecs(name: str) -> Sequence[ImageCodec]:
    """Return the codecs of a reference; none of one that is not a codec."""
    if name == "lossless":
        return image_codecs.LOSSLESS
    return [codec for codec in image_codecs.LOSSY if codec.name == name]


def _kind(codec: ImageCodec) -> str:
    return codec.name if codec.qualities else f"{codec.name}-lossless"


def _all_equal(x_NCHW: Array) -> bool:
    return all(np.array_equal(image_CHW, x_NCHW[0]) for image_CHW in x_NCHW[1:])


def _points_from(documents: Sequence[Document]) -> tuple[PcaPoint, ...]:
    return tuple(PcaPoint(**document) for document in documents)
