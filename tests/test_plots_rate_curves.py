"""The figure in bits: what it shows, on which axes, and that no label lies on anything."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rate_fakes import BITS, REFERENCES, comparison, curve, falling, sweep_rates

from ae_sweep.analysis import CurveKind, QualityDimension, SweepRates
from ae_sweep.plots import rate_curves_figure, render

if TYPE_CHECKING:
    from ae_sweep.plots import Figure

CROWD = comparison(
    sweep_rates("digits", seeds=3),
    sweep_rates("a longer name", scale=0.82),
    SweepRates(
        sweep="vae",
        frontiers=(curve("vae", falling(1.0, BITS), dims=[8] * len(BITS)),),
        bounds=(curve("vae, KL", falling(0.9, BITS), kind=CurveKind.BOUND),),
    ),
)


def lines(axes, gid: str) -> list:
    return [each for each in axes.lines if each.get_gid() == gid]


def labels(axes) -> list:
    return [text for text in axes.texts if text.get_gid() == "label"]


def test_bits_are_below_and_bits_per_pixel_above() -> None:
    figure = rate_curves_figure(comparison(), heading="digits")
    for axes in figure.axes:
        assert axes.get_xlabel() == "rate $R$ (bits per image)"
        (above,) = axes.child_axes
        assert above.get_xlabel() == "bits per pixel"
        np.testing.assert_allclose(np.array(axes.get_xlim()) / 784, above.get_xlim())
    psnr_axes, mse_axes = figure.axes
    (frontier,) = lines(psnr_axes, "frontier")
    assert list(frontier.get_xdata()) == BITS
    mse = np.array([mse for _, mse in falling(0.8, BITS)])
    np.testing.assert_allclose(frontier.get_ydata(), -10 * np.log10(mse))
    np.testing.assert_allclose(lines(mse_axes, "frontier")[0].get_ydata(), mse)


@pytest.mark.slow
def test_bounds_are_dashed_and_joined_with_no_code() -> None:
    axes = rate_curves_figure(CROWD, heading="three").axes[0]
    bounds = lines(axes, "bound")
    assert [len(each.get_xdata()) for each in bounds] == [len(BITS)] * 2
    assert all(each.get_linestyle() == "--" for each in bounds)
    coded = [each for gid in ("frontier", "seed", "reference") for each in lines(axes, gid)]
    assert coded
    assert all(each.get_linestyle() == "-" for each in coded)


def test_lossless_codes_the_mean_image_and_the_raw_image_have_marks() -> None:
    figure = rate_curves_figure(comparison(), heading="digits")
    for axes, edge in zip(figure.axes, (1.0, 0.0), strict=True):
        (lossless,) = lines(axes, "lossless")
        assert (list(lossless.get_xdata()), list(lossless.get_ydata())) == ([1292], [edge])
        (low,) = lines(axes, "low")
        assert list(low.get_xdata()) == [0.0]
        (raw,) = lines(axes, "raw")
        assert list(raw.get_xdata()) == [6272, 6272]
        assert "raw image: 6,272 bits" in [label.get_text() for label in labels(axes)]


@pytest.mark.slow
def test_every_curve_has_its_name_in_the_legend_once() -> None:
    figure = rate_curves_figure(CROWD, heading="three")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [
        "digits", "a longer name", "vae", "vae, KL (bound)", "PCA + coder",
        "Gaussian source (bound)", "JPEG, mosaic", "JPEG, single", "AVIF, mosaic", "PNG, mosaic",
        "mean image",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_bound_among_the_references_is_explained_above_the_figure() -> None:
    figure = rate_curves_figure(comparison(), heading="digits")
    assert figure.get_suptitle() == "digits\nGaussian source: Gaussian source, made up"


def _boxes_of_points(axes) -> np.ndarray:
    """Return x, y and radius of all markers of an axis in pixels."""
    places = []
    for line in axes.lines:
        if line.get_marker() in ("", "None"):
            continue
        at_P2 = line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
        radius = line.get_markersize() / 2 * axes.figure.dpi / 72
        places += [(x, y, radius) for x, y in at_P2]
    return np.array(places)


@pytest.mark.slow
@pytest.mark.parametrize("shown", [comparison(), CROWD], ids=["one", "three"])
def test_labels_lie_neither_on_points_nor_on_each_other(shown) -> None:
    figure: Figure = rate_curves_figure(shown, heading="digits")
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in labels(axes)]
        assert len(boxes) >= 4
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        for x, y, radius in _boxes_of_points(axes):
            for box in boxes:
                nearest = np.clip(x, box.x0, box.x1), np.clip(y, box.y0, box.y1)
                assert np.hypot(nearest[0] - x, nearest[1] - y) >= radius
        inside = axes.get_window_extent()
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)


def test_the_dimension_at_a_quality_is_marked_on_the_panel_whose_slope_it_is() -> None:
    marked = tuple(
        QualityDimension(psnr=psnr, bits=bits, dimension=3.0 * psnr, points=3)
        for psnr, bits in ((16, 23.8), (26, 193.0))
    )
    figure = rate_curves_figure(comparison(references=()), heading="digits", qualities=marked)
    psnr_axes, mse_axes = figure.axes
    (marks,) = lines(psnr_axes, "quality")
    assert (list(marks.get_xdata()), list(marks.get_ydata())) == ([23.8, 193], [16, 26])
    assert {text.get_text() for text in labels(psnr_axes)} >= {"m=48", "m=78"}
    assert lines(mse_axes, "quality") == []
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[-1] == "m = 6.02 · dR/dPSNR, a dimension"


@pytest.mark.parametrize(("least", "count"), [(1.5, 4), (200, 5)])
def test_there_are_ticks_on_both_axes_of_bits_however_narrow_they_are(least, count) -> None:
    pairs = [(least, 0.02), (least * 1.2, 0.01)]
    code = SweepRates(sweep="code", frontiers=(curve("code", pairs),))
    figure = rate_curves_figure(comparison(code, references=()), heading="code")
    figure.draw_without_rendering()
    for axes in (figure.axes[0], *figure.axes[0].child_axes):
        low, high = axes.get_xlim()
        assert sum(low <= tick <= high for tick in axes.xaxis.get_majorticklocs()) >= count - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "shown",
    [
        comparison(references=()),
        comparison(SweepRates(sweep="one", frontiers=(curve("one", [(40.0, 0.01)]),))),
        comparison(
            SweepRates(sweep="kl", frontiers=(), bounds=(curve("kl", [(0.0, 0.07)]),)),
            references=REFERENCES[-2:],
        ),
        comparison(SweepRates(sweep="exact", frontiers=(curve("exact", [(900.0, 0.0)]),)),
                   references=()),
    ],
    ids=["no references", "one point", "only a collapsed bound", "only a perfect code"],
)  # fmt: skip
def test_degenerate_comparisons_are_drawn_all_the_same(shown) -> None:
    figure = rate_curves_figure(shown, heading="$x^{_ 😀")
    assert render(figure, "png", dpi=50).startswith(b"\x89PNG")
