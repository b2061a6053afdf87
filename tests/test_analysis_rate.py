"""Rates in bits: which points are efficient, what they carry, and how a code is used."""

from __future__ import annotations

import pytest
from rated_records import frontier_of, rated_trial, vae

from ae_sweep import analysis

CURVE = [
    vae(8, 0.01, 46.0, 0.015, 8),
    vae(8, 1, 9.0, 0.031, 8),
    vae(32, 0.1, 51.0, 0.009, 28),
    vae(32, 10, 0.001, 0.068, 0, test_mse=0.11),
    vae(32, 1, 9.5, 0.033, 12),
]


def test_efficient_are_those_that_no_other_beats_in_bits_and_distortion() -> None:
    front = analysis.efficient(frontier_of(CURVE).points)
    assert [str(point.condition) for point in front] == [
        "d=32 beta=10", "d=8 beta=1", "d=8 beta=0.01", "d=32 beta=0.1",
    ]  # fmt: skip


def test_what_bits_carry_is_the_error_of_drawn_codes_and_without_bits_the_test_mse() -> None:
    (collapsed,) = [p for p in frontier_of(CURVE).points if p.model == "vae beta=10"]
    assert (analysis.mse_at_rate(collapsed), collapsed.test_mse) == (0.068, 0.11)
    (plain,) = frontier_of([rated_trial(8, "conv", {}, test_mse=0.02)]).points
    assert analysis.mse_at_rate(plain) == 0.02


def test_a_rate_without_the_error_it_buys_is_no_rate() -> None:
    assert frontier_of(CURVE).has_rate
    half = rated_trial(16, "vae beta=1", {"bits": 3.0, "active_latents": 2.0})
    told = frontier_of([*CURVE, half])
    assert not told.has_rate
    assert len(analysis.efficient(told.points)) == 4
    analysis.code_use(told.points)


def test_words_tell_collapsed_posteriors_idle_latents_and_dead_codes() -> None:
    collapsed, idle = analysis.code_use(frontier_of(CURVE).points)
    assert collapsed.startswith("the posterior has collapsed: d=32 beta=10 (0.001 bits, 0 of 32")
    assert idle.endswith("no richer: d=32 beta=0.1 (28 of 32 latents active), d=32 beta=1 (12 of "
                         "32 latents active)")  # fmt: skip
    tokens = {"bits": 16.0, "mse": 0.02, "perplexity": 9.0, "entropy_bits": 12.0}
    used = rated_trial(2, "vqvae codebook=16", {**tokens, "dead_codes": 0.0})
    dead = rated_trial(2, "vqvae codebook=256", {**tokens, "dead_codes": 100.0})
    (told,) = analysis.code_use(frontier_of([used, dead]).points)
    assert told == "codes that no test image uses: d=2 codebook=256 (100)"


def test_a_code_of_narrow_latents_that_tells_much_has_not_collapsed() -> None:
    narrow = frontier_of([vae(8, 0, 40.0, 0.02, 0)]).points
    assert not any("collapsed" in line for line in analysis.code_use(narrow))


def test_a_repeated_condition_tells_the_spread_of_its_rate() -> None:
    again = [vae(8, 1, 9.0 + seed, 0.03, 8, seed=seed) for seed in (0, 1, 2)]
    (point,) = frontier_of(again).points
    assert point.rate["bits"] == pytest.approx(10)
    assert point.rate_std["bits"] == pytest.approx(1)
    (once,) = frontier_of(again[:1]).points
    assert once.rate_std == {}
