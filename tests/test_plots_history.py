"""The figure of a sweep's course."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rated_records import rated_trial, vae

from ae_sweep.plots import history_figure, render
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from ae_sweep.records import TrialRecord


def finished(dim: int, *mses: float):
    return [rated_trial(dim, "conv", {}, test_mse=mse) for mse in mses]


def test_a_panel_a_study_with_its_objectives_and_the_best_so_far() -> None:
    pruned = rated_trial(2, "conv", {}, test_mse=0.001, outcome=Outcome.PRUNED)
    two = finished(2, 0.05, 0.04)
    trials = [two[0], pruned, two[1], *finished(8, 0.02)]
    figure = history_figure(trials, title="some")
    assert [axes.get_title() for axes in figure.axes] == ["d=2", "d=8"]
    done, left, best = figure.axes[0].lines
    # The objective has the penalty; what was pruned counts for nothing.
    np.testing.assert_allclose(done.get_ydata(), [0.052, 0.042])
    assert (list(done.get_xdata()), list(left.get_xdata())) == ([0, 2], [1])
    np.testing.assert_allclose(best.get_ydata(), [0.052, 0.052, 0.042])
    render(figure, "png")


@pytest.mark.parametrize("others", [(0.05, 0.02), (0.0,), ()])
def test_an_objective_of_0_is_drawn_and_is_the_best(others: tuple[float, ...]) -> None:
    objectives = (*others, 0.0)
    figure = history_figure([with_objective(objective) for objective in objectives], title="some")
    (axes,) = figure.axes
    done, _, best = axes.lines
    np.testing.assert_array_equal(done.get_ydata(), objectives)
    assert best.get_ydata()[-1] == 0.0
    figure.draw_without_rendering()
    pixels = axes.transData.transform([(0, objective) for objective in objectives])
    assert np.isfinite(pixels).all()
    box = axes.get_window_extent()
    assert ((box.y0 <= pixels[:, 1]) & (pixels[:, 1] <= box.y1)).all()
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert "0" in shown
    assert len(set(shown)) == len(shown)


def test_objectives_below_0_are_drawn() -> None:
    figure = history_figure([with_objective(o) for o in (0.5, -0.25)], title="some")
    done, _, best = figure.axes[0].lines
    assert list(done.get_ydata()) == [0.5, -0.25]
    assert list(best.get_ydata()) == [0.5, -0.25]
    render(figure, "png")


def with_objective(objective: float) -> TrialRecord:
    return dataclasses.replace(finished(2, 0.05)[0], val_mse=objective, val_penalty=0.0)


def test_nothing_of_it_lies_on_anything_else() -> None:
    figure = history_figure([t for dim in (2, 4, 8, 16, 32) for t in finished(dim, 0.1 / dim)],
                            title="five studies")  # fmt: skip
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.get_xlabel()]
    assert len(labels) == 4, "of each column the lowest panel"
    assert not any(label.overlaps(legend) for label in labels)


def test_repeats_and_trials_without_a_measurement_are_no_part_of_the_search() -> None:
    figure = history_figure([*finished(2, 0.05), vae(2, 1, 1.0, 0.1, 2, seed=1)], title="some")
    assert [axes.get_title() for axes in figure.axes] == ["d=2"]
    assert history_figure([], title="empty").axes == []


def test_more_studies_than_there_is_room_for_are_counted_in_the_title(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ae_sweep.plots.history.MOST_PANELS", 3)
    trials = [t for dim in (2, 4, 8, 16) for t in finished(dim, 0.1)]
    figure = history_figure(trials, title="many")
    assert [axes.get_title() for axes in figure.axes] == ["d=2", "d=4", "d=8"]
    assert figure.get_suptitle() == "many, the first 3 studies"
