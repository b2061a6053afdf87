"""The figure and the table of three answers to how many dimensions images have."""

from __future__ import annotations

import numpy as np
import pytest
from rated_records import frontier_of, rated_trial

from ae_sweep import tables
from ae_sweep.analysis import (
    DimensionEstimates,
    IntrinsicDimension,
    NeighbourDimension,
    NotApplicable,
    PrincipalComponents,
    QualityDimension,
    components_for,
)
from ae_sweep.plots import dimensions_figure, frontier_figure, render

NEIGHBOURS = tuple(
    NeighbourDimension(images=images, two_nn=two_nn, mle=((5, two_nn - 0.5), (20, two_nn - 1.5)))
    for images, two_nn in ((1_000, 12.1), (2_500, 12.7), (5_000, 13.6), (10_000, 13.8))
)
ESTIMATES = DimensionEstimates(
    images=55_000,
    participation_ratio=30.7,
    components=((0.9, 87), (0.95, 154)),
    intrinsic=IntrinsicDimension(samples=NEIGHBOURS),
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
        box = band.get_path().transformed(band.get_patch_transform()).get_extents()
        assert (box.y0, box.y1) == pytest.approx((12.3, 13.8))
    (two_nn,) = [line for line in by_size.lines if line.get_gid() == "two_nn"]
    assert list(two_nn.get_xdata()) == [1_000, 2_500, 5_000, 10_000]
    (quality,) = [line for line in by_quality.lines if line.get_gid() == "quality"]
    assert list(quality.get_ydata()) == [38, 40]
    assert render(figure, "png", dpi=50)


def test_without_neighbours_or_a_curve_the_rest_is_drawn() -> None:
    bare = DimensionEstimates(
        images=5, participation_ratio=2.0, components=(),
        intrinsic=NotApplicable("too few images"), at_quality=NotApplicable("no sweep is named"),
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


def test_components_of_a_share_of_the_variance_are_counted() -> None:
    assert components_for(components([8, 1, 0.5, 0.5])) == ((0.9, 2), (0.95, 3))


def test_the_frontier_over_dims_has_marks_of_both_estimates() -> None:
    records = [rated_trial(dim, "conv", {}, test_mse=0.1 / dim) for dim in (2, 8, 32)]
    figure = frontier_figure(frontier_of(records), estimates=ESTIMATES)
    for axes in figure.axes:
        (ratio,) = [line for line in axes.lines if line.get_gid() == "ratio"]
        assert list(ratio.get_xdata()) == [30.7, 30.7]
        assert [patch.get_gid() for patch in axes.patches] == ["band"]
    mse_axes, psnr_axes = figure.axes
    (by_psnr,) = [line for line in psnr_axes.lines if line.get_gid() == "quality"]
    assert (list(by_psnr.get_xdata()), list(by_psnr.get_ydata())) == ([38, 40], [18, 20])
    (by_mse,) = [line for line in mse_axes.lines if line.get_gid() == "quality"]
    np.testing.assert_allclose(by_mse.get_ydata(), [10**-1.8, 10**-2])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-3:] == [
        "participation ratio: 30.7", "at least 12.3 to 13.8 (nearest neighbours)",
        "at a quality: 6.02 · dR/dPSNR",
    ]  # fmt: skip


def test_principal_components_are_drawn_where_they_are_given() -> None:
    records = [rated_trial(dim, "conv", {}, test_mse=0.1 / dim) for dim in (2, 8, 32)]
    figure = frontier_figure(frontier_of(records), linear=[(2, 0.08), (32, 0.02)])
    mse_axes, psnr_axes = figure.axes
    (mse,) = [line for line in mse_axes.lines if line.get_gid() == "linear"]
    assert list(mse.get_ydata()) == [0.08, 0.02]
    (psnr,) = [line for line in psnr_axes.lines if line.get_gid() == "linear"]
    np.testing.assert_allclose(psnr.get_ydata(), -10 * np.log10([0.08, 0.02]))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "PCA of as many components" in labels
