"""What is good enough on the report's page: over latent dims, over bits, and why one is missing."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ae_sweep import inspection, tables
from ae_sweep.analysis import NotApplicable
from ae_sweep.analysis.curve_statistics import CurveStatistics
from ae_sweep.analysis.laws import Law
from ae_sweep.analysis.targets import Axis, GoodEnough, Target, TargetKind
from ae_sweep.messages import ignore
from ae_sweep.report.targets import targets_section

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.report import Section

DISAGREE = "points and fit disagree: the fit asks for more than the points"
TARGETS = [
    Target(kind=TargetKind.PSNR, value=22),
    Target(kind=TargetKind.MSE, value=1e-6),
]


def found(target: Target, **changes: Any) -> GoodEnough:
    fields = {"measured": None, "below": None, "measured_interval": None, "fitted": None,
              "fitted_interval": None, "law": Law.POWER, "notes": (),
              "axis": Axis.LATENT_DIM}  # fmt: skip
    return GoodEnough(target=target, **fields | changes)


@pytest.fixture
def over_dims() -> CurveStatistics:
    reached = found(
        TARGETS[0], measured=32.0, below=16.0, measured_interval=(32.0, math.inf), fitted=35.0,
        fitted_interval=(-math.inf, 36.0), notes=(DISAGREE,),
    )  # fmt: skip
    return CurveStatistics(
        axis=Axis.LATENT_DIM, law=NotApplicable("made up"), knee=None,
        targets=(reached, found(TARGETS[1], measured_interval=(math.inf, math.inf))),
    )  # fmt: skip


@pytest.fixture
def over_bits() -> CurveStatistics:
    reached = found(
        TARGETS[0], measured=90.0, below=60.0, fitted=81.6, fitted_interval=(80.0, 83.0),
        axis=Axis.BITS,
    )  # fmt: skip
    return CurveStatistics(
        axis=Axis.BITS, law=NotApplicable("made up"), knee=None,
        targets=(reached, found(TARGETS[1], axis=Axis.BITS)),
        seed_rates=((TARGETS[0], (84.0, 86.5)), (TARGETS[1], (None, None))),
    )  # fmt: skip


@pytest.fixture
def section(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], Section]:
    """Return the section of two statistics, of which either may be missing."""

    def make(dims: Any, bits: Any) -> Section:
        measured = None if bits is None else SimpleNamespace(statistics=(bits,))
        monkeypatch.setattr(inspection, "curve_statistics", lambda *_, **__: dims)
        monkeypatch.setattr(inspection, "stored_rate_frontier", lambda *_, **__: measured)
        store = SimpleNamespace(command=lambda *words: " ".join(("ae-sweep", *words)))
        return targets_section(SimpleNamespace(name="digits", store=store), TARGETS, ignore)

    return make


def test_a_target_has_a_row_on_each_axis_from_points_and_fit(
    over_dims: CurveStatistics, over_bits: CurveStatistics
) -> None:
    rows = tables.good_enough([over_dims, over_bits]).records()
    assert [row["Target"] for row in rows] == ["22 dB", "an MSE of 1e-06"] * 2
    dims, never, bits, beyond = rows
    assert (dims["Measured"], dims["Does not reach it"]) == ("d=32", "d=16")
    assert dims["95 % over seeds"] == "d=32 to more than measured"
    assert (dims["By the fit"], dims["95 % of the fit"]) == ("d=35", "less than measured to d=36")
    assert (bits["Measured"], bits["Does not reach it"]) == ("90 bits", "60 bits")
    assert bits["95 % over seeds"] == "84 bits to 86.5 bits (all 2 seeds)"
    assert (bits["By the fit"], bits["95 % of the fit"]) == ("81.6 bits", "80 bits to 83 bits")
    assert (never["Measured"], never["95 % over seeds"]) == (None, "more than measured")
    assert beyond["Measured"] is None
    assert tables.good_enough([over_bits]).texts()[1][1] == "not reached"


def test_both_axes_are_answered_in_sentences(
    section: Callable[[Any, Any], Section], over_dims: CurveStatistics, over_bits: CurveStatistics
) -> None:
    made = section(over_dims, over_bits)
    assert made.findings[0].startswith("Latent dimensions: 22 dB: d=32, measured (d=16 does not")
    assert made.findings[0].endswith(f"; {DISAGREE}.")
    assert made.findings[2].startswith("Bits per image: 22 dB: 90 bits, measured")
    assert any("over 2 seeds, by time sharing" in line for line in made.findings)
    assert len(made.tables[0].rows) == 4
    assert len(made.text) == 1


def test_what_is_missing_is_said_with_the_command_that_measures_it(
    section: Callable[[Any, Any], Section], over_dims: CurveStatistics
) -> None:
    made = section(over_dims, None)
    assert "`ae-sweep frontier digits --rate bits` does that" in made.text[1]
    assert len(made.tables[0].rows) == 2
    made = section(NotApplicable("several models share the latent dims"), None)
    assert made.text[1] == "Several models share the latent dims."
    assert (made.findings, made.tables) == ([], [])


@pytest.mark.parametrize(
    ("words", "needle"),
    [(["--target-accuracy", "95"], "95 % is 0.95"), (["--target-mse", "0"], "must be above 0")],
)
def test_a_target_of_a_report_that_makes_no_sense_is_refused_before_anything_is_read(
    cli: Callable[..., Any], words: list[str], needle: str
) -> None:
    done = cli("report", *words, "--store", "none")
    assert (done.code, done.out) == (2, "")
    assert needle in done.err
