"""Data sets as inputs of MLflow's runs: name, digest and shape, without the pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlflow.entities import Dataset, DatasetInput, InputTag

from ae_sweep.messages import visible
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from ae_sweep.records import DatasetCard

MOST_LETTERS = 200
"""Of a name; MLflow refuses more than 500, and a folder's may have what no database takes."""


def dataset_input(card: DatasetCard) -> DatasetInput:
    """Describe the data set of a run.

    One input, since MLflow keeps one for each name and digest: the digest covers the split.
    """
    dataset = Dataset(
        name=visible(card.name, MOST_LETTERS),
        digest=card.digest,
        # Words, as in "local files in DIR": MLflow's own types each promise an address.
        source_type=names.DATA_SOURCE_TYPE,
        source=json.dumps({"description": card.source}),
        schema=_schema(card),
        profile=_profile(card),
    )
    context = InputTag(key=names.DATA_CONTEXT, value="train, validation, test")
    return DatasetInput(dataset, tags=[context])


def _schema(card: DatasetCard) -> str:
    spec = {"dtype": "uint8", "shape": [-1, *card.image_shape]}
    features = json.dumps([{"type": "tensor", "tensor-spec": spec}])
    return json.dumps({"mlflow_tensorspec": {"features": features, "targets": None}})


def _profile(card: DatasetCard) -> str:
    profile = {
        "train_images": card.train_images,
        "val_images": card.val_images,
        "test_images": card.test_images,
        "image_shape": list(card.image_shape),
    }
    return json.dumps(profile | ({"classes": card.classes} if card.classes else {}))
