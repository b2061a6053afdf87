"""Tables of rates in bits: operating points, side information, from how many images on it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import analysis
from ae_sweep.tables.table import Column, Decibels, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ae_sweep.analysis import RateComparison, RateCurve, RatePoint
    from ae_sweep.analysis.law_choice import LawChoice
    from ae_sweep.analysis.targets import Axis
    from ae_sweep.tables.table import Row

AT_RATES = (
    "PSNR of the mean MSE, in dB, within a number of bits per image; between operating points by "
    "time sharing"
)
CODE = Column(key="code", title="Code", kind=str)


def rate_points(comparison: RateComparison) -> Table:
    """Return every operating point of every curve, one per row.

    The bits are per image; those of side information have columns of their own: bytes of the
    header, the tables and the decoder, and bits per image with all of it where a file has 1 or
    10,000 images. For infinitely many images they are the bits without.
    """
    return Table(
        caption="Operating points, chosen on validation images, measured on the test images",
        columns=(
            CODE,
            Column(key="kind", title="Kind", kind=str),
            Column(key="seed", title="Seed", kind=int),
            Column(key="latent_dim", title="Latent dim", kind=int),
            Column(key="setting", title="Setting", kind=str),
            Column(key="bits", title="Bits", form="{:.1f}", unit="per image"),
            Column(key="bpp", title="bpp", form="{:.4f}"),
            Column(key="mse", title="Test MSE", form="{:.5f}"),
            Column(key="psnr", title="PSNR (dB)", form="{:.2f}", missing="perfect"),
            Column(key="mean_image_psnr", title="Mean PSNR (dB)", form="{:.2f}"),
            Column(key="header_bytes", title="Header B", kind=int, form="{:,}"),
            Column(key="table_bytes", title="Tables B", kind=int, form="{:,}"),
            Column(key="decoder_bytes", title="Decoder B", kind=int, form="{:,}"),
            *(
                Column(
                    key=f"bits_of_{count}",
                    title=f"Bits of {count:,}",
                    form="{:,.1f}",
                    unit="per image, side information included",
                )
                for count in analysis.SIDE_COUNTS
            ),
        ),
        rows=tuple(
            _point_row(curve, point) for curve in comparison.curves() for point in curve.points
        ),
    )


def _point_row(curve: RateCurve, point: RatePoint) -> Row:
    return {
        "code": curve.name,
        "kind": str(curve.kind),
        "seed": curve.seed,
        "latent_dim": point.latent_dim,
        "setting": point.setting or None,
        "bits": point.bits,
        "bpp": curve.bpp(point),
        "mse": point.mse,
        "psnr": point.psnr,
        "mean_image_psnr": point.mean_image_psnr,
        "header_bytes": curve.header_bytes,
        "table_bytes": point.table_bytes,
        "decoder_bytes": analysis.decoder_bytes(curve, point),
        **{
            f"bits_of_{count}": analysis.amortised_bits(curve, point, images=count)
            for count in analysis.SIDE_COUNTS
        },
    }


def quality_at_rates(comparison: RateComparison) -> Table:
    """Return the PSNR of every curve at a few round rates, one curve per row.

    It is the best within that number of bits, by time sharing between the operating points.
    """
    rates = comparison.round_rates()
    return Table(
        caption=AT_RATES,
        columns=(
            CODE,
            Column(key="kind", title="Kind", kind=str),
            Column(key="seed", title="Seed", kind=int),
            Column(key="points", title="Points", kind=int),
            *(
                Column(key=f"psnr_at_{bits}", title=f"{bits:,} bits", kind=Decibels)
                for bits in rates
            ),
        ),
        rows=tuple(_quality_row(curve, rates) for curve in comparison.curves()),
    )


def _quality_row(curve: RateCurve, rates: Sequence[int]) -> Row:
    within = {bits: analysis.mse_within(curve, bits=bits) for bits in rates}
    return {
        "code": curve.name,
        "kind": str(curve.kind),
        "seed": curve.seed,
        "points": len(curve.points),
        **{
            f"psnr_at_{bits}": None if mse is None else Decibels(analysis.psnr_db(mse))
            for bits, mse in within.items()
        },
    }


def payoffs(comparison: RateComparison) -> Table:
    """Return from how many images on each sweep pays against each reference, one pair per row."""
    return Table(
        caption="From how many images on a sweep's code pays against each reference",
        columns=(
            CODE,
            Column(key="reference", title="Reference", kind=str),
            Column(key="images", title="Images", kind=int, form="{:,}", missing="never"),
            Column(key="bits", title="Bits", form="{:.1f}", unit="per image"),
            Column(key="reference_bits", title="Reference's bits", form="{:.1f}"),
            Column(key="psnr", title="PSNR (dB)", form="{:.2f}"),
        ),
        rows=tuple(_payoff_rows(comparison)),
    )


def _payoff_rows(comparison: RateComparison) -> Iterator[Row]:
    for each in comparison.sweeps:
        if each.frontier is None:
            continue
        for reference in comparison.references:
            if analysis.is_bound(reference):
                continue
            found = analysis.best_payoff(each.frontier, reference)
            if isinstance(found, analysis.NotApplicable):
                continue
            yield {
                "code": each.frontier.name,
                "reference": reference.name,
                "images": found.images,
                "bits": found.point.bits,
                "reference_bits": found.reference_bits,
                "psnr": found.point.psnr,
            }


def laws(choice: LawChoice) -> Table:
    """Return the candidates among laws of distortion, the best first, one per row."""
    return Table(
        caption=f"Laws of distortion, by {choice.criterion}",
        columns=(
            Column(key="law", title="Law", kind=str),
            Column(key="criterion", title=choice.criterion, form="{:.1f}"),
            Column(key="weight", title="Weight", form="{:.3f}"),
            Column(key="parameters", title="Parameters", kind=str),
        ),
        rows=tuple(
            {
                "law": str(each.fit.law),
                "criterion": each.criterion,
                "weight": each.weight,
                "parameters": ", ".join(
                    f"{name} {value:.3g}" for name, value in each.fit.parameters.items()
                ),
            }
            for each in choice.candidates
        ),
    )


def left_out(choice: LawChoice, axis: Axis) -> Table:
    """Return the choice without each point in turn, and what the best law predicts there."""
    return Table(
        caption="The choice of a law without each point in turn",
        columns=(
            Column(key="point", title="Without", kind=str),
            Column(key="law", title="Law", kind=str),
            Column(key="predicted", title="Predicted MSE", form="{:.5f}"),
            Column(key="measured", title="Measured MSE", form="{:.5f}"),
        ),
        rows=tuple(
            {
                "point": axis.named(each.x),
                "law": None if each.law is None else str(each.law),
                "predicted": each.predicted,
                "measured": each.measured,
            }
            for each in choice.left_out
        ),
    )
