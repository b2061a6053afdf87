"""Owns how a frontier is told to others: as one JSON document and as a table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ae_sweep.analysis.curve import Frontier

SCHEMA = "ae-sweep/frontier"
SCHEMA_VERSION = 1
"""Grows when a field is renamed or changes its meaning; new fields leave it."""

UNITS = {
    "latent_dim": "float32 numbers per image (a count, not a bit rate)",
    "compression_ratio": "pixels per latent number",
    "val_mse": "squared error per pixel, pixels in [0, 1], validation images",
    "test_mse": "squared error per pixel, pixels in [0, 1], test images",
    "test_psnr": "dB",
    "db_per_doubling": "dB per doubling of latent_dim",
    "fit": "test_mse = floor + scale * latent_dim ** -exponent, least squares in ln test_mse",
}


def to_document(frontier: Frontier) -> dict[str, Any]:
    """Return a frontier as a JSON-able document: no NaN, no infinity, null where nothing is.

    Returns
    -------
    dict
        ``schema`` and ``schema_version``, ``units`` by field name, then the fields of
        `Frontier` under their own names.
    """
    fields = _without_tuples(dataclasses.asdict(frontier))
    if frontier.knee is not None:
        fields["knee"]["advice"] = frontier.knee.advice
    return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "units": UNITS, **fields}


def to_table(frontier: Frontier) -> pd.DataFrame:
    """Return a frontier as the table of the command line, numbers unrounded.

    Returns
    -------
    pandas.DataFrame
        One row for each latent_dim, ascending, with the columns Latent dim, Compression
        (pixels / latent_dim), Test MSE, PSNR (dB), best lr, epochs. PSNR is NaN for a perfect
        reconstruction.
    """
    import pandas as pd  # noqa: PLC0415 - seconds that a process which only trains need not wait

    points = frontier.points
    return pd.DataFrame(
        {
            "Latent dim": [point.latent_dim for point in points],
            "Compression": [point.compression_ratio for point in points],
            "Test MSE": [point.test_mse for point in points],
            "PSNR (dB)": pd.Series([point.test_psnr for point in points], dtype="float64"),
            "best lr": [point.lr for point in points],
            "epochs": [point.epochs for point in points],
        }
    )


def _without_tuples(value: Any) -> Any:
    """Turn tuples into lists, so that the document equals what is read back from JSON."""
    if isinstance(value, dict):
        return {key: _without_tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tuples(item) for item in value]
    return value
