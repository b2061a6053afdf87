"""Rates in bits as table and document: side information, payoffs, units, no NaN."""

from __future__ import annotations

import json

import pytest
from rate_fakes import BITS, REFERENCES, comparison, curve, rate_point, sweep_rates

from ae_sweep import tables
from ae_sweep.analysis import (
    CurveKind,
    RateComparison,
    RateCurve,
    SweepRates,
    rates_document,
)
from ae_sweep.analysis import (
    sweep_rates as join,
)
from ae_sweep.errors import NotStoredError


def test_every_point_has_its_side_information_in_columns_of_its_own() -> None:
    table = tables.rate_points(comparison())
    first = table.records()[0]
    assert {key: first[key] for key in ("Code", "Kind", "Latent dim", "Bits", "Seed")} == {
        "Code": "digits", "Kind": "coded", "Latent dim": 2, "Bits": 16, "Seed": 0,
    }  # fmt: skip
    assert first["bpp"] == 16 / 784
    assert [first[f"{part} B"] for part in ("Header", "Tables", "Decoder")] == [45, 2_000, 10**6]
    assert first["Bits of 1"] == 16 + 8 * 1_002_045
    assert first["Bits of 10,000"] == pytest.approx(16 + 8 * 100.2045)
    assert len(table.rows) == len(BITS) + sum(len(each.points) for each in REFERENCES)
    assert "perfect" in table.texts()[-2]


def test_payoffs_are_listed_against_references_that_are_codes() -> None:
    table = tables.payoffs(comparison())
    listed = [row["reference"] for row in table.rows]
    assert "Gaussian source" not in listed
    # In the range of the sweep's curve.
    assert listed == ["PCA + coder", "JPEG, mosaic", "JPEG, single", "AVIF, mosaic"]
    assert all(row["images"] > 1 for row in table.rows)
    costly = SweepRates(sweep="costly", frontiers=(curve("costly", [(900, 0.005)]),))
    (row,) = tables.payoffs(comparison(costly, references=[REFERENCES[4]])).texts()
    assert row[2] == "never"


def test_the_document_has_a_schema_units_and_no_nan() -> None:
    shown = comparison(sweep_rates("digits", seeds=2), sweep_rates("other"))
    document = rates_document(shown, dataset="mnist")
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["schema"], document["schema_version"]) == ("ae-sweep/rates", 1)
    assert document["raw_bits"] == 6272
    one, other = document["sweeps"]
    assert [each["seed"] for each in one["curves"]] == [0, 1]
    assert other["name"] == "other"
    point = one["curves"][0]["points"][0]
    assert set(document["units"]) <= {*point, "payoffs"} | set(one["curves"][0])
    assert point["decoder_bytes"] == 10**6
    assert point["amortised_bits"]["1"] == 16 + 8 * 1_002_045
    assert {each["reference"] for each in document["payoffs"]} == {
        each.name for each in REFERENCES if each.kind is CurveKind.CODED
    }
    (zero,) = [
        each
        for each in document["payoffs"]
        if (each["sweep"], each["reference"]) == ("digits", "mean image")
    ]
    assert zero["images"] is None
    assert zero["reason"] == "mean image and digits share no distortion"


def measured(name: str, dim: int, rows, *, seed: int = 0, **changes) -> RateCurve:
    """A curve of one model: rows of bits and MSE on test, then on validation images."""
    return RateCurve(
        name=name,
        description="made up",
        kind=changes.pop("kind", CurveKind.CODED),
        points=tuple(
            rate_point(bits, mse, val_bits=val_bits, val_mse=val_mse, latent_dim=dim)
            for bits, mse, val_bits, val_mse in rows
        ),
        image_shape=(1, 28, 28),
        images=100,
        seed=seed,
        **changes,
    )


def test_points_compete_on_validation_and_are_reported_on_test() -> None:
    narrow = measured("d=2", 2, [(10, 0.05, 10, 0.05), (20, 0.030, 20, 0.041)], decoder_bytes=200)
    # Lucky on test images: by validation images the narrow model is better at 20 bits.
    wide = measured("d=8", 8, [(19, 0.01, 21, 0.045), (40, 0.009, 40, 0.01)], decoder_bytes=800)
    found = join("digits", [narrow, wide])
    (frontier,) = found.frontiers
    assert [(point.bits, point.mse) for point in frontier.points] == [
        (10, 0.05), (20, 0.030), (40, 0.009),
    ]  # fmt: skip
    assert [point.decoder_bytes for point in frontier.points] == [200, 200, 800]
    assert frontier.name == "digits"


def test_seeds_and_bounds_are_curves_of_their_own() -> None:
    row = [(10, 0.05, 10, 0.05)]
    found = join(
        "vae",
        [
            measured("a", 2, row),
            measured("b", 2, row, seed=1, kind=CurveKind.ESTIMATED),
            measured("c", 2, [(5, 0.06, 5, 0.06)], kind=CurveKind.BOUND),
        ],
    )
    assert [each.seed for each in found.frontiers] == [0, 1]
    assert [str(each.kind) for each in found.frontiers] == ["coded", "estimated"]
    assert [each.name for each in found.bounds] == ["vae, drawn codes"]
    assert join("kl", [measured("c", 2, row, kind=CurveKind.BOUND)]).frontier is None
    with pytest.raises(NotStoredError, match="empty has no measured rates"):
        join("empty", [])


def test_a_comparison_knows_its_images() -> None:
    shown: RateComparison = comparison()
    assert shown.image_shape == (1, 28, 28)
    assert shown.raw_bits == 784 * 8
    assert shown.images == 10_000
