"""Agreement of a classifier with its own answer on the originals, over latent dims."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ae_sweep import analysis
from ae_sweep.errors import ConfigError
from ae_sweep.files import make_private, read_regular, write_atomically
from ae_sweep.inspection.run_codecs import open_codec
from ae_sweep.messages import ignore, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ae_sweep.analysis import Classifier, FrontierPoint, RatePoint
    from ae_sweep.api import Sweep
    from ae_sweep.data import ImageDataset
    from ae_sweep.inspection.rates import MeasuredRates

    Array = np.ndarray[Any, Any]

FOLDER = "classifiers"
CODED_IMAGES = 2_500
"""That are rebuilt at each operating point: the standard error of 95 % is 0.4 %."""
MOST_BYTES = 2**28
"""Of a kept classifier; more was not written by ae-sweep."""


def check_classes(dataset: ImageDataset) -> None:
    """Refuse images without classes, of which there is no classifier.

    Raises
    ------
    ConfigError
        If there are none, or only one.
    """
    labels_N = dataset.train_labels_N
    if labels_N is None or len(np.unique(labels_N)) < 2:
        raise ConfigError(
            f"--target-accuracy needs images of two or more classes, and those of "
            f"{visible(dataset.card.name)} have {'none' if labels_N is None else 'one'}; "
            "leave it out, or give --target-psnr"
        )


def classifier_of(
    dataset: ImageDataset, *, cache: Path, announce: Callable[[str], None] | None = None
) -> Classifier:
    """Return the classifier of a data set, trained once and kept in the user cache.

    It is trained on training images alone. A file that cannot be read, or is not such a
    classifier, is made anew; one that cannot be written is not kept.

    Parameters
    ----------
    cache
        The directory of the user cache.
    announce
        Called with one line before a training.

    Raises
    ------
    ConfigError
        If the images have no classes.
    """
    check_classes(dataset)
    assert dataset.train_labels_N is not None  # noqa: S101 - checked above
    path = cache / FOLDER / f"{dataset.card.digest}.safetensors"
    known = _read(path, dataset)
    if known is not None:
        return known
    (announce or ignore)(f"training a classifier of {visible(dataset.card.name)} once")
    made = analysis.fit_classifier(dataset.train_NCHW, dataset.train_labels_N)
    with contextlib.suppress(OSError):
        make_private(path.parent)
        write_atomically(path, save(made.arrays()))
    return made


def agreements(
    sweep: Sweep,
    points: Sequence[FrontierPoint],
    *,
    cache: Path,
    announce: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Return, by run, how often a classifier agrees with its own answer on the original.

    Reconstructions of test images by each point's model, rounded to bytes, are compared.

    Raises
    ------
    ConfigError
        If the images have no classes.
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    dataset = sweep.dataset
    classifier = classifier_of(dataset, cache=cache, announce=announce)
    chosen_N = analysis.sample_of(dataset.test_NCHW)
    x_NCHW = np.asarray(dataset.test_NCHW[chosen_N])
    originals_N = classifier.predict(x_NCHW)
    return {
        point.run_id: analysis.agreement(
            originals_N,
            classifier.predict(analysis.as_bytes(sweep.shared_model(point).reconstruct(x_NCHW))),
        )
        for point in points
    }


def coded_agreements(
    sweep: Sweep,
    measured: MeasuredRates,
    points: Sequence[RatePoint],
    *,
    cache: Path,
    announce: Callable[[str], None] | None = None,
) -> dict[tuple[str | None, int | None], float]:
    """Return, by run and operating point, how often a classifier agrees with its own answer.

    Test images (2,500 of more, evenly spaced) are quantised and rebuilt as a decoder rebuilds them;
    no coder runs, because it loses nothing.

    Raises
    ------
    ConfigError
        If the images have no classes.
    StoreError, NotStoredError, DataError
        If a model, its codec or the images cannot be read.
    """
    dataset = sweep.dataset
    classifier = classifier_of(dataset, cache=cache, announce=announce)
    x_NCHW = np.asarray(
        dataset.test_NCHW[analysis.evenly_spaced(len(dataset.test_NCHW), count=CODED_IMAGES)]
    )
    originals_N = classifier.predict(x_NCHW)
    by_run = {each.trial.run_id: each for each in measured.models}
    found: dict[tuple[str | None, int | None], float] = {}
    for run_id in dict.fromkeys(point.run_id for point in points if point.run_id in by_run):
        model = by_run[str(run_id)]
        trained, codec, _ = open_codec(sweep, model)
        latents_ND = trained.codes(x_NCHW)
        for index in [point.index for point in points if point.run_id == run_id]:
            if index is None:
                continue
            rebuilt_ND = codec.dequantise(codec.quantise(latents_ND, index), index)
            labels = [classifier.predict(batch) for batch in trained.decode_to_bytes(rebuilt_ND)]
            found[run_id, index] = analysis.agreement(originals_N, np.concatenate(labels))
    return found


def _read(path: Path, dataset: ImageDataset) -> Classifier | None:
    try:
        arrays = load(read_regular(path, most_bytes=MOST_BYTES))
    except (OSError, SafetensorError, ValueError):
        return None
    return analysis.Classifier.from_arrays(arrays, image_shape=dataset.card.image_shape)
