"""The frontier's figure: what it shows, and that nothing in it can break it."""

import dataclasses
import subprocess
import sys
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from ae_sweep.analysis.frontier import frontier
from ae_sweep.config import Hyperparameters
from ae_sweep.errors import ConfigError
from ae_sweep.plots.export import render
from ae_sweep.plots.frontier import frontier_figure
from ae_sweep.plots.style import plain
from ae_sweep.records import Outcome, Role, TrialIdentity, TrialRecord

FACTS = {2: 0.0414, 8: 0.0160, 32: 0.0040, 128: 0.0016, 1024: 0.0013}


def trial(latent_dim, mse, *, lr=4e-3, seed=0, role=Role.SEARCH, sweep="first"):
    return TrialRecord(
        run_id=f"{latent_dim}-{lr:g}-{seed}",
        sweep=sweep,
        name="some",
        point=TrialIdentity(
            dataset_digest="abc",
            model="conv",
            latent_dim=latent_dim,
            hyperparameters=Hyperparameters(lr=lr, epochs=2),
            seed=seed,
            recipe="1",
        ),
        role=role,
        outcome=Outcome.FINISHED,
        pixels=784,
        compression_ratio=784 / latent_dim,
        val_mse=mse,
        test_mse=mse,
    )


def figure_of(mses, *, repeats=0, sweep="first", worse=1.3):
    trials = []
    for dim, mse in mses.items():
        trials += [trial(dim, mse, sweep=sweep), trial(dim, worse * mse, lr=1e-3, sweep=sweep)]
        for seed in range(1, repeats + 1):
            repeat = mse * (1 + 0.05 * seed)
            trials.append(trial(dim, repeat, seed=seed, role=Role.REPEAT, sweep=sweep))
    return frontier_figure(frontier(trials, dataset="mnist"))


def line(axes, gid):
    return next((each for each in axes.lines if each.get_gid() == gid), None)


def best(axes):
    return axes.containers[0].lines


def texts(figure):
    legend = figure.legends[0]
    found = [*figure.texts, *legend.get_texts()]
    for axes in figure.axes:
        found += axes.texts
    return [text.get_text() for text in found] + [figure.get_suptitle()]


def tick_texts(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_figure_shows_trials_best_fit_knee_and_the_raw_image_in_both_panels():
    figure = figure_of(FACTS)
    mse_axes, psnr_axes = figure.axes
    assert list(best(mse_axes)[0].get_ydata()) == list(FACTS.values())
    expected = -10 * np.log10(list(FACTS.values()))
    assert best(psnr_axes)[0].get_ydata() == pytest.approx(expected)
    for axes in figure.axes:
        assert list(best(axes)[0].get_xdata()) == list(FACTS)
        assert len(line(axes, "trials").get_xdata()) == 2 * len(FACTS)
        assert line(axes, "fit").get_xdata()[[0, -1]] == pytest.approx([2, 128])
        assert list(line(axes, "knee").get_xdata()) == [128]
        assert any(list(each.get_xdata()) == [784, 784] for each in axes.lines)
        assert axes.get_xscale() == "log"
    assert mse_axes.get_yscale() == "log"
    assert (mse_axes.get_ylabel(), psnr_axes.get_ylabel()) == (
        "test MSE per pixel",
        "test PSNR (dB)",
    )


def test_legend_tells_formula_r_squared_and_knee():
    shown = "\n".join(texts(figure_of(FACTS)))
    assert "fit: $D$ = 0.00027 + 0.0788·$d^{-0.85}$ ($R^2$ = 0.993 in log $D$, 4 points" in shown
    assert "knee: $d$ = 128 (+2.4 dB per doubling up to it, +0.3 dB beyond)" in shown
    assert shown.count("raw image: 784 pixels") == 2
    assert "first · conv · mnist" in shown


def test_ticks_are_the_measured_dims_in_plain_numbers():
    for axes in figure_of(FACTS).axes:
        assert tick_texts(axes) == ["2", "8", "32", "128", "1024"]


def test_error_bars_are_drawn_where_there_are_repeats_only():
    without = figure_of(FACTS)
    assert all(not best(axes)[1] for axes in without.axes)
    assert not any("sd over seeds" in text for text in texts(without))
    repeated = figure_of(FACTS, repeats=2)
    mse_axes, psnr_axes = repeated.axes
    assert best(mse_axes)[1]
    assert any("mean ± sd over seeds" in text for text in texts(repeated))
    lower, upper = best(psnr_axes)[1]
    mse = FACTS[2] * 1.05
    std = FACTS[2] * 0.05
    assert lower.get_ydata()[0] == pytest.approx(-10 * np.log10(mse + std))
    assert upper.get_ydata()[0] == pytest.approx(-10 * np.log10(mse - std))


def test_a_spread_as_large_as_the_mean_stays_on_the_logarithmic_axis():
    trials = [trial(2, 0.001), trial(2, 0.1, seed=1, role=Role.REPEAT)]
    figure = frontier_figure(frontier(trials))
    assert best(figure.axes[0])[1][0].get_ydata()[0] > 0
    assert render(figure, "png", dpi=50)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_are_drawn_without_a_fit(count):
    figure = figure_of(dict(list(FACTS.items())[:count]))
    assert len(best(figure.axes[0])[0].get_xdata()) == count
    assert line(figure.axes[0], "fit") is None
    assert not any("fit" in text for text in texts(figure))
    assert render(figure, "png", dpi=50)


@pytest.mark.parametrize(
    "dims",
    [range(1, 31), sorted({int(2 ** (k / 3)) for k in range(34)}), [999_990, 999_995, 1_000_000]],
)
def test_tick_labels_of_many_dims_do_not_overlap(dims):
    figure = figure_of({dim: 0.002 + 0.09 * dim**-0.9 for dim in dims})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        boxes.sort(key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
        assert tick_texts(axes)[0] == str(dims[0])


def test_perfect_reconstructions_are_marked_at_the_edge_and_named():
    figure = figure_of(FACTS | {784: 0.0})
    for axes in figure.axes:
        assert list(line(axes, "perfect").get_xdata()) == [784]
        assert 784 not in best(axes)[0].get_xdata()
    assert "perfect (MSE 0), off the scale" in texts(figure)
    assert render(figure, "svg")


@pytest.mark.parametrize(
    "mses",
    [
        {2: 0.0, 8: 0.0},
        {2: 0.067, 8: 0.067, 32: 0.067, 128: 0.067},
        {2: 0.01, 8: 0.02, 32: 0.05, 128: 0.06},
        {2: 3e-2, 8: 1e-3, 32: 3e-5, 128: 2.5e-7, 512: 1e-8},
        {1: 1e-300, 10**9: 1e-310},
        {784: 0.01},
    ],
)
def test_degenerate_curves_are_drawn_all_the_same(mses):
    assert render(figure_of(mses), "png", dpi=50).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "name", ["$x^{_", r"\frac{1}{", "a_b$c$", "[bold]", "😀\n\t\x00", "z" * 5000]
)
def test_a_hostile_name_is_taken_literally_and_kept_in_the_figure(name):
    figure = figure_of({2: 0.04}, sweep=name)
    heading = figure._suptitle
    assert plain(name) in heading.get_text()
    assert not heading.get_parse_math()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert heading.get_window_extent().x1 <= figure.bbox.x1


def test_plain_text_is_one_short_line():
    assert plain("größe · 2") == "größe · 2"
    assert plain("a\nb\x1b[31m😀") == r"a\nb\x1b[31m\U0001f600"
    assert plain("a" * 40 + "b" * 40) == "a" * 29 + "..." + "b" * 28


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_rendering_twice_gives_the_same_bytes(format_, start):
    first = render(figure_of(FACTS, repeats=1), format_)
    figure = figure_of(FACTS, repeats=1)
    assert render(figure, format_) == first
    assert render(figure, format_) == first
    assert first.startswith(start)


def test_another_format_is_refused_with_the_ones_that_are_possible():
    with pytest.raises(ConfigError, match=r"'bmp'; end the file's name in png, svg or pdf"):
        render(figure_of({2: 0.04}), "bmp")
    with pytest.raises(ConfigError, match="dpi must be positive, got nan"):
        render(figure_of({2: 0.04}), "png", dpi=float("nan"))


@pytest.mark.slow
def test_figures_ignore_and_keep_the_users_matplotlib_settings():
    expected = render(figure_of(FACTS), "png", dpi=50)
    with mpl.rc_context({"axes.facecolor": "red", "savefig.bbox": "tight", "font.size": 30}):
        before = dict(mpl.rcParams)
        assert render(figure_of(FACTS), "png", dpi=50) == expected
        assert dict(mpl.rcParams) == before


def test_plots_never_import_pyplot():
    code = (
        "import sys, ae_sweep.plots.frontier, ae_sweep.plots.reconstructions, "
        "ae_sweep.plots.export; sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fit_and_best_differ_in_more_than_colour():
    axes = figure_of(FACTS).axes[0]
    joined, fit = best(axes)[0], line(axes, "fit")
    assert to_hex(joined.get_color()) != to_hex(fit.get_color())
    assert joined.get_linestyle() != fit.get_linestyle()
    assert (joined.get_marker(), fit.get_marker()) == ("o", "None")


def test_another_frontier_beside_is_a_line_of_its_own_within_both_panels():
    first = frontier([trial(dim, 0.1 / dim) for dim in (2, 8, 32)])
    other = frontier([trial(dim, 0.9 / dim, sweep="other [x]") for dim in (1, 8, 2048)])
    figure = frontier_figure(first, beside=[other])
    assert "other [x], best by validation" in texts(figure)
    for axes in figure.axes:
        drawn = line(axes, "beside")
        assert list(drawn.get_xdata()) == [1, 8, 2048]
        (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert all(low < x < high for x in drawn.get_xdata())
        assert all(bottom < y < top for y in drawn.get_ydata())
        assert drawn.get_marker() != best(axes)[0].get_marker(), "told apart in greyscale"
    assert line(frontier_figure(first).axes[0], "beside") is None


def of_models(count):
    """A frontier of a model with a setting of several values, and no rate."""
    records = []
    for width in range(1, count + 1):
        for dim, mse in FACTS.items():
            record = trial(dim, mse * (1 + 0.1 * width))
            point = dataclasses.replace(record.point, model=f"other width={width}")
            records.append(dataclasses.replace(record, point=point, run_id=f"{dim}-{width}"))
    return frontier(records)


@pytest.mark.parametrize("count", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (8, 11))])
def test_each_combination_of_settings_is_a_line_of_its_own_with_its_name(count):
    figure = frontier_figure(of_models(count))
    for axes in figure.axes:
        lines = [each for each in axes.lines if each.get_gid() == "best"]
        assert [list(each.get_xdata()) for each in lines] == [list(FACTS)] * count
        assert len({each.get_color() for each in lines}) == count
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    named = [f"other width={width}" for width in range(1, min(count, 8) + 1)]
    assert labels[: len(named)] == named
    assert ("and 3 more models" in labels) == (count == 11)
    beside = frontier_figure(frontier([trial(8, 0.01)]), beside=[of_models(count)])
    assert sum(each.get_gid() == "beside" for each in beside.axes[0].lines) == count
