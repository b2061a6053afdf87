"""Comparison of a frontier with as many principal components."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from test_analysis_frontier import trial

from ae_sweep import analysis
from ae_sweep.tracking.reader import _linear_mse


def plane(count: int, *, seed: int) -> Any:
    """Images 1×4×4 around a plane of two directions, of which the first is the wider."""
    rng = np.random.default_rng(seed)
    directions_KP = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 2)))[0].T
    scores_NK = rng.uniform(-1, 1, (count, 2)) * [200, 60]
    return np.rint(128 + scores_NK @ directions_KP / 2).astype(np.uint8).reshape(-1, 1, 4, 4)


def test_errors_fall_with_the_components_to_that_of_rounding() -> None:
    train, test = plane(300, seed=1), plane(100, seed=2)
    errors = analysis.linear_errors(train, test, dims=[2, 1, 1])
    assert list(errors) == [1, 2]
    assert errors[1] > 20 * errors[2]
    assert errors[2] == pytest.approx(1 / 12 / 255**2, rel=0.5)


def test_more_components_than_the_images_determine_are_left_out() -> None:
    train = plane(9, seed=1)
    assert list(analysis.linear_errors(train, train, dims=[4, 8, 9, 16, 300])) == [4, 8]
    assert analysis.linear_errors(train, train, dims=[300]) == {}


def test_a_frontier_names_the_points_that_are_worse_than_linear() -> None:
    trials = [trial(dim, mse) for dim, mse in ((2, 0.04), (8, 0.01))]
    found = analysis.frontier(trials, linear_mse={2: 0.05, 8: 0.009, 64: 0.0001})
    assert found.notes[-1] == (
        "test MSE above that of as many principal components: d=8 (0.01 against 0.009); more "
        "images or other --epochs may help"
    )
    assert analysis.to_document(found)["linear_mse"] == {2: 0.05, 8: 0.009, 64: 0.0001}
    without = analysis.frontier(trials)
    assert "linear_mse" not in analysis.to_document(without)
    assert without.notes == found.notes[:-1]
    assert analysis.frontier(trials, linear_mse={2: 0.05, 8: 0.01}).notes == without.notes


@pytest.mark.parametrize(
    "text", ["", "3", "[1]", '{"two": 1}', '{"2": "much"}', '{"2": NaN}', "[" * 100_000]
)
def test_a_tag_that_holds_something_else_counts_as_none(text: str) -> None:
    assert _linear_mse(text) == {}
    assert _linear_mse(json.dumps({4: 0.5})) == {4: 0.5}
