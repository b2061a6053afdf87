"""A frontier as one JSON document and as a table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ae_sweep.config import model_settings, written_parameters
from ae_sweep.records import RATE_BITS, RATE_MSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ae_sweep.analysis.frontier import Frontier
    from ae_sweep.analysis.frontier_points import FrontierPoint

SCHEMA = "ae-sweep/frontier"
SCHEMA_VERSION = 1
"""Incremented when a field is renamed or changes its meaning, not for new fields."""

UNITS = {
    "latent_dim": "latents per image: numbers, or tokens (a count, not a bit rate)",
    "rate": "bits per image, of models that have a rate; mse of what those bits carry",
    "compression_ratio": "pixels per latent: a number, or a token",
    "val_mse": "squared error per pixel, pixels in [0, 1], validation images",
    "test_mse": "squared error per pixel, pixels in [0, 1], test images",
    "test_psnr": "dB",
    "db_per_doubling": "dB per doubling of latent_dim",
    "fit": "test_mse = floor + scale * latent_dim ** -exponent, least squares in ln test_mse",
}

COLOUR_UNITS = UNITS | {
    "compression_ratio": "numbers of an image (pixels times channels) per latent: a number, or a "
    "token",
    "val_mse": "squared error per number of an image, in [0, 1], validation images",
    "test_mse": "squared error per number of an image, in [0, 1], test images",
}


def to_document(frontier: Frontier) -> dict[str, Any]:
    """Return a frontier as a JSON-able document, without NaN or infinity: a missing value is None.

    Returns
    -------
    dict
        ``schema`` and ``schema_version``, ``units`` by field name, then the fields of
        `Frontier` under their own names.
    """
    fields = _without_tuples(dataclasses.asdict(frontier))
    fields["points"] = [
        _point_document(point, values)
        for point, values in zip(frontier.points, fields["points"], strict=True)
    ]
    if frontier.knee is not None:
        fields["knee"]["advice"] = frontier.knee.advice
    if not frontier.linear_mse:
        fields.pop("linear_mse")
    units = COLOUR_UNITS
    if frontier.channels == 1:
        fields.pop("channels")
        units = UNITS
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "units": units, **fields}


def table_rows(frontier: Frontier) -> list[dict[str, Any]]:
    """Return the table of `to_table` as rows of column name to value; there is at least one."""
    records = to_table(frontier).to_dict("records")
    return [{str(column): value for column, value in row.items()} for row in records]


def _point_document(point: FrontierPoint, values: dict[str, Any]) -> dict[str, Any]:
    """Put the hyperparameters that are not at their default among the other fields."""
    document: dict[str, Any] = {}
    for key, value in values.items():
        if key == "seed_run_ids":
            continue
        document |= point.hyperparameters.written() if key == "hyperparameters" else {key: value}
    return document


def to_table(frontier: Frontier) -> pd.DataFrame:
    """Return a frontier as the table of the command line, numbers unrounded.

    Returns
    -------
    pandas.DataFrame
        One row for each point, with the columns Latent dim, Compression (pixels / latent_dim),
        Test MSE, PSNR (dB), best lr, epochs. PSNR is NaN for a perfect reconstruction. A
        hyperparameter that is not at its default has a column like lr's. Of a model with settings
        there is a column of each after the first, and where the code has a rate, Bits and MSE at
        bits stand before Test MSE.
    """
    import pandas as pd  # noqa: PLC0415 - seconds that a process which only trains need not wait

    points = frontier.points
    return pd.DataFrame(
        {
            "Latent dim": [point.latent_dim for point in points],
            **_settings(points),
            "Compression": [point.compression_ratio for point in points],
            **_rates(frontier),
            "Test MSE": [point.test_mse for point in points],
            "PSNR (dB)": pd.Series([point.test_psnr for point in points], dtype="float64"),
            **{
                parameter.best_label: [
                    getattr(point.hyperparameters, parameter.name) for point in points
                ]
                for parameter in written_parameters(point.hyperparameters for point in points)
            },
        }
    )


def _settings(points: Sequence[FrontierPoint]) -> dict[str, list[float]]:
    settings = [model_settings(point.model) for point in points]
    if any(each.keys() != settings[0].keys() for each in settings):
        return {}
    return {name: [each[name] for each in settings] for name in settings[0]}


def _rates(frontier: Frontier) -> dict[str, list[float]]:
    if not frontier.has_rate:
        return {}
    rates = [point.rate for point in frontier.points]
    return {
        "Bits": [rate[RATE_BITS] for rate in rates],
        "MSE at bits": [rate[RATE_MSE] for rate in rates],
    }


def _without_tuples(value: Any) -> Any:
    """Turn tuples into lists, so that the document equals what is read back from JSON."""
    if isinstance(value, dict):
        return {key: _without_tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tuples(item) for item in value]
    return value
