"""Rates in bits as table and document: side information, payoffs, units, no NaN."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from rate_fakes import BITS, REFERENCES, comparison, curve, rate_point, sweep_rates

from ae_sweep import tables
from ae_sweep.analysis import (
    CurveKind,
    NotApplicable,
    RateComparison,
    RateCurve,
    SweepRates,
    rates_document,
)
from ae_sweep.analysis import (
    sweep_rates as join,
)
from ae_sweep.analysis.curve_statistics import rate_statistics, reference_deltas_in_words
from ae_sweep.analysis.targets import Target, TargetKind
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


def test_a_short_table_has_the_quality_at_round_rates() -> None:
    table = tables.quality_at_rates(comparison())
    rates = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert table.titles == ["Code", "Kind", "Seed", "Points", *(f"{each:,} bits" for each in rates)]
    rows = {row[0]: row[1:] for row in table.texts()}
    assert len(rows) == 1 + len(REFERENCES)
    # Half of the images at 16 bits and half at 24.
    shared_mse = (0.8 * 16**-1.1 + 0.8 * 24**-1.1) / 2
    assert rows["digits"][:2] == ["coded", "0"]
    assert rows["digits"][3:5] == ["-", f"{-10 * math.log10(shared_mse):.2f}"]
    assert rows["digits"][-1] == rows["digits"][-4], "no better with more bits than it has"
    assert rows["PNG, mosaic"][-3:] == ["-", "perfect", "perfect"]
    assert set(rows["mean image"][3:]) == {"11.71"}


def test_round_rates_follow_the_images_and_the_codes() -> None:
    def rates(shape: tuple[int, int, int], bits: float) -> tuple[int, ...]:
        code = replace(curve("code", [(bits, 0.01)]), image_shape=shape)
        shown = comparison(SweepRates(sweep="code", frontiers=(code,)), references=())
        return shown.round_rates()

    assert rates((3, 64, 64), 5_000) == (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
    assert rates((1, 28, 28), 4)[:3] == (2, 5, 10)
    assert rates((1, 28, 28), 0)[-1] == 5000


@pytest.mark.slow
def test_the_smallest_rate_has_the_range_over_seeds_and_does_not_depend_on_steps() -> None:
    at_22_db = Target(kind=TargetKind.PSNR, value=22)
    found = rate_statistics(sweep_rates("digits", seeds=3), targets=[at_22_db])
    assert found.findings[1].startswith("good enough: 22 dB: 90 bits, measured (60 bits does not")
    assert found.findings[2].startswith("good enough: 22 dB: 8")
    assert " bits over 3 seeds, by time sharing between the points of each" in found.findings[2]
    assert "--repeats" not in found.findings[0], "there are repeats already"
    beyond = Target(kind=TargetKind.PSNR, value=60)
    found = rate_statistics(sweep_rates("digits", seeds=2), targets=[beyond])
    assert found.findings[2] == "good enough: 60 dB: not reached by any of 2 seeds"


def test_references_without_a_bd_rate_share_a_line() -> None:
    reason, other = NotApplicable("no range"), NotApplicable("few points")
    names = ("WebP, mosaic", "WebP, singly", "PCA + coder")
    found = [*((name, reason) for name in names), ("AVIF, singly", other)]
    (line,) = reference_deltas_in_words("digits", found)
    assert line == (
        "no BD-rate of digits against WebP (mosaic, singly), PCA + coder: no range; "
        "AVIF (singly): few points"
    )
    assert reference_deltas_in_words("digits", []) == []


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
