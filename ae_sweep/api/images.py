"""The images that a stored sweep was measured on, and their classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.config import IMAGE_OPTIONS, ImageOptions
from ae_sweep.errors import ConfigError, DataError, StoreError
from ae_sweep.locations import cache_dir, data_dir_at
from ae_sweep.messages import shorten, visible
from ae_sweep.runner.request import check_still_there, dataset_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.data import ImageDataset
    from ae_sweep.records import SweepRecord

MOST_LISTED = 20
"""Classes that a message lists."""
MOST_LETTERS = 40
"""Of a class's name in a message."""


def load_images(
    record: SweepRecord,
    *,
    dataset: str | None,
    data_dir: Path | None,
    announce: Callable[[str], None] | None,
) -> ImageDataset:
    """Load a sweep's images, and check that they are the ones it was measured on.

    Parameters
    ----------
    dataset
        Where they are now; None takes what the sweep's settings name.

    Raises
    ------
    DataError
        If they are not available, or are others than the sweep's.
    StoreError
        If the sweep's stored settings do not name them.
    """
    from ae_sweep import data

    name, options, train_limit = _stored(record)
    if dataset is None:
        check_still_there(name, record.name)
    loaded = data.load(
        dataset or name,
        options=options,
        cache_dir=cache_dir(),
        data_dir=data_dir,
        train_limit=train_limit,
        announce=announce,
    )
    if loaded.card.digest != record.dataset_digest:
        option = "--dataset" if Path(name).is_absolute() else "--data-dir"
        raise DataError(
            f"the images of {visible(loaded.card.name)} are not those of {record.name}: their "
            f"digest is {loaded.card.digest}, the sweep's {record.dataset_digest}; name the "
            f"sweep's images with {option}"
        )
    return loaded


def load_dataset(
    dataset: Path | str,
    *,
    options: ImageOptions | None = None,
    data_dir: Path | str | None = None,
    announce: Callable[[str], None] | None = None,
) -> ImageDataset:
    """Load a data set by its name, or own images by their path.

    Parameters
    ----------
    options
        How own images are converted.
    data_dir
        Where a named data set's files are; the user cache if left out.
    announce
        Called with each message, one line: a download, a picture that is skipped.

    Raises
    ------
    ConfigError
        If there is no such data set, or own images need another option.
    DataError
        If the images are not available or cannot be read.
    """
    from ae_sweep import data

    return data.load(
        dataset_text(dataset) or "",
        options=options or ImageOptions(),
        cache_dir=cache_dir(),
        data_dir=data_dir_at(data_dir),
        announce=announce,
    )


def class_numbers(dataset: ImageDataset, wanted: Sequence[int | str] = ()) -> list[int]:
    """Return the wanted classes ascending, or all that the test images have.

    Parameters
    ----------
    wanted
        Numbers of classes, or their names; a text that is not a name may be a number.

    Raises
    ------
    ConfigError
        If the images have no classes, or a class has no test image.
    """
    if dataset.test_labels_N is None:
        raise ConfigError(f"the images of {visible(dataset.card.name)} have no classes")
    there = sorted({int(label) for label in dataset.test_labels_N})
    by_name = {name: number for number, name in enumerate(dataset.class_names)}
    found = {_number(each, by_name): each for each in wanted}
    for number, given in found.items():
        if number not in there:
            raise ConfigError(
                f"no test image of {visible(dataset.card.name)} is of class "
                f"{given if str(given).isdecimal() else shorten(str(given))}; its classes are "
                f"{_listed([dataset.class_names[each] for each in there])}"
            )
    return sorted(number for number in found if number is not None) or there


def _number(wanted: int | str, by_name: dict[str, int]) -> int | None:
    if isinstance(wanted, str) and wanted in by_name:
        return by_name[wanted]
    text = str(wanted)
    return int(text) if len(text) < 10 and text.isdecimal() else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(visible(name, MOST_LETTERS) for name in names[:MOST_LISTED])
    more = len(names) - MOST_LISTED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _stored(record: SweepRecord) -> tuple[str, ImageOptions, int | None]:
    config = record.config
    limit = config.get("train_limit", "None")
    texts = {key: config[key] for key in IMAGE_OPTIONS if key in config}
    changed = StoreError(
        f"the store does not name the images of {record.name}: its settings were changed "
        "there; mend the tag config of its run in the MLflow UI"
    )
    if "dataset" not in config or not (limit == "None" or limit.isdecimal()):
        raise changed
    try:
        options = ImageOptions.from_texts(texts)
    except ConfigError:
        raise changed from None
    return config["dataset"], options, None if limit == "None" else int(limit)
