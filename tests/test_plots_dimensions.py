"""The figure and the table of three answers to how many dimensions images have."""

from __future__ import annotations

import numpy as np
import pytest

from ae_sweep import tables
from ae_sweep.analysis import (
    DimensionEstimates,
    NeighbourEstimate,
    NotApplicable,
    PrincipalComponents,
    QualityDimension,
    components_for,
    participation_ratio,
)
from ae_sweep.plots import dimensions_figure, render

NEIGHBOURS = tuple(
    NeighbourEstimate(images=images, two_nn=two_nn, mle=((5, two_nn - 0.5), (20, two_nn - 1.5)))
    for images, two_nn in ((1_000, 12.1), (2_500, 12.7), (5_000, 13.6), (10_000, 13.8))
)
ESTIMATES = DimensionEstimates(
    images=55_000,
    participation_ratio=30.7,
    components=((0.9, 87), (0.95, 154)),
    neighbours=NEIGHBOURS,
    neighbours_refusal=None,
    at_quality=tuple(
        QualityDimension(psnr=psnr, bits=50.0, dimension=20.0 + psnr, points=4) for psnr in (18, 20)
    ),
)


def test_neighbours_are_a_band_marked_at_least() -> None:
    assert ESTIMATES.at_least == pytest.approx((12.3, 13.8))
    figure = dimensions_figure(ESTIMATES, heading="mnist")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "at least 12.3 to 13.8 (nearest neighbours)" in labels
    assert "participation ratio: 30.7" in labels
    by_size, by_quality = figure.axes
    for axes in (by_size, by_quality):
        (band,) = [patch for patch in axes.patches if patch.get_gid() == "band"]
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((12.3, 13.8))
    (two_nn,) = [line for line in by_size.lines if line.get_gid() == "two_nn"]
    assert list(two_nn.get_xdata()) == [1_000, 2_500, 5_000, 10_000]
    (quality,) = [line for line in by_quality.lines if line.get_gid() == "quality"]
    assert list(quality.get_ydata()) == [38, 40]
    assert render(figure, "png", dpi=50)


def test_without_neighbours_or_a_curve_the_rest_is_drawn() -> None:
    bare = DimensionEstimates(
        images=5, participation_ratio=2.0, components=(), neighbours=(),
        neighbours_refusal="too few images",
    )  # fmt: skip
    assert bare.at_least is None
    figure = dimensions_figure(bare, heading="five")
    assert len(figure.axes) == 1
    assert render(figure, "png", dpi=50)


def test_the_table_has_one_row_for_each_estimate() -> None:
    table = tables.dimensions(ESTIMATES)
    assert len(table.rows) == 1 + 2 + 4 * 3 + 2
    answers = [row["answer"] for row in table.rows]
    assert answers.count("at least, TwoNN") == 4
    assert table.texts()[-1] == ["at a quality, 6.02 · dR/dPSNR", "20 dB, 50 bits", "40.0"]


def components(variances) -> PrincipalComponents:
    variance_K = np.array(variances, dtype=float)
    return PrincipalComponents(
        mean_P=np.zeros(len(variance_K)), components_KP=np.eye(len(variance_K)),
        variance_K=variance_K, total_variance=float(variance_K.sum()),
        image_shape=(1, 1, len(variance_K)), images=10,
    )  # fmt: skip


def test_equal_variances_participate_alike() -> None:
    assert participation_ratio(components([2, 2, 2, 0, 0])) == pytest.approx(3)
    assert participation_ratio(components([1, 0.5])) == pytest.approx(1.5**2 / 1.25)
    assert isinstance(participation_ratio(components([0, 0])), NotApplicable)
    assert components_for(components([8, 1, 0.5, 0.5])) == ((0.9, 2), (0.95, 3))
