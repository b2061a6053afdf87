"""Table of the answers to how many dimensions images have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.tables.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.analysis import DimensionEstimates
    from ae_sweep.tables.table import Row


def dimensions(estimates: DimensionEstimates) -> Table:
    """Return the three answers, one estimate per row."""
    return Table(
        caption="How many dimensions the images have, by three definitions",
        columns=(
            Column(key="answer", title="Answer", kind=str),
            Column(key="of", title="Of", kind=str),
            Column(key="dimension", title="Dimension", form="{:.1f}"),
        ),
        rows=tuple(_rows(estimates)),
    )


def _rows(estimates: DimensionEstimates) -> Iterator[Row]:
    images = f"{estimates.images:,} images"
    yield {
        "answer": "participation ratio of the principal components",
        "of": images,
        "dimension": estimates.participation_ratio,
    }
    for share, count in estimates.components:
        yield {
            "answer": f"components of {share:.0%} of the variance",
            "of": images,
            "dimension": float(count),
        }
    for each in estimates.neighbours:
        of = f"{each.images:,} images"
        yield {"answer": "at least, TwoNN", "of": of, "dimension": each.two_nn}
        for k, dimension in each.mle:
            yield {
                "answer": f"at least, maximum likelihood, {k} neighbours",
                "of": of,
                "dimension": dimension,
            }
    for at in estimates.qualities:
        yield {
            "answer": "at a quality, 6.02 · dR/dPSNR",
            "of": f"{at.psnr:g} dB, {at.bits:.0f} bits",
            "dimension": at.dimension,
        }
