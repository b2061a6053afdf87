"""The sections of a report in their order, and the summary before them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import analysis, tracking
from ae_sweep.errors import AeSweepError
from ae_sweep.records import Outcome
from ae_sweep.report.curve import frontier_section, points_table
from ae_sweep.report.page import Section
from ae_sweep.report.rates import measured_before, rates_section
from ae_sweep.report.search import history_section, setup_section
from ae_sweep.report.targets import targets_section
from ae_sweep.report.views import (
    identity_section,
    latent_section,
    manifold_section,
    reconstructions_section,
)
from ae_sweep.report.words import psnr, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep

MOST_FOUND = 2
"""Of a section's findings in the summary: the last."""


def sections(
    opened: Sweep,
    *,
    announce: Callable[[str], None],
    ui_address: str,
    targets: Sequence[Target] = (),
) -> list[Section]:
    """Make all sections of a sweep's report.

    A section that cannot be made, because a model or the images cannot be read, gives the reason
    in its place, and has it as its ``error``.

    Parameters
    ----------
    announce
        Called with the title of each section before it is made.
    ui_address
        Where the MLflow UI answers, for the links to the runs.
    targets
        Qualities that are good enough, of which the smallest codes are listed.

    Raises
    ------
    NotStoredError
        If no trial has finished.
    """
    link = partial(_run_address, opened, ui_address)
    opened.frontier  # noqa: B018 - without one there is nothing to report
    measured = measured_before(opened)
    rates: list[tuple[str, str, Callable[[], Section]]] = []
    if measured is not None:
        rates = [("rates", "Rate in bits", lambda: rates_section(measured))]
    if targets:
        rates.append(
            (
                "targets",
                "What is good enough",
                lambda: targets_section(opened, targets, announce),
            )
        )
    makers: list[tuple[str, str, Callable[[], Section]]] = [
        ("frontier", "Rate and distortion", lambda: frontier_section(opened, link)),
        *rates,
        ("reconstructions", "Reconstructions", lambda: reconstructions_section(opened)),
        ("latent", "Latent space", lambda: latent_section(opened)),
        ("manifold", "Between the images", lambda: manifold_section(opened)),
        ("identity", "Has it learned to copy?", lambda: identity_section(opened)),
        ("history", "The search", lambda: history_section(opened, link)),
        ("setup", "Reproduce", lambda: setup_section(opened)),
    ]
    made = []
    for name, title, make in makers:
        announce(f"report: {title}")
        try:
            made.append(make())
        except AeSweepError as error:
            text = [f"Not available: {error}."]
            made.append(Section(name=name, title=title, text=text, error=error))
    found = [finding for each in made for finding in each.findings[-MOST_FOUND:]]
    return [_summary(opened, [*_leaks(opened), *found], link), *made]


def _summary(opened: Sweep, found: Sequence[str], link: Callable[[str], str]) -> Section:
    record, frontier = opened.record, opened.frontier
    counts = Counter(trial.outcome for trial in opened.trials)
    ended = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    best = min(frontier.points, key=lambda point: point.test_mse)
    findings = [
        *([] if opened.answer is None else [f"Asked for {opened.answer.sentence}."]),
        *_curve_in_words(opened),
        (
            f"The lowest test error is that of {best.condition}: MSE {best.test_mse:.5f}"
            f"{psnr(best)}, at {best.compression_ratio:.4g} {frontier.number_word} per latent."
        ),
        *map(sentence, analysis.code_use(frontier.points)),
        *map(sentence, frontier.notes),
        *found,
    ]
    return Section(
        name="summary",
        title="Summary",
        text=[
            (
                f"{len(opened.trials)} trainings of the model {frontier.model} on "
                f"{frontier.dataset}: {ended}. The sweep is {record.outcome}."
            )
        ],
        findings=findings,
        tables=[points_table(opened, link)],
    )


def _leaks(opened: Sweep) -> list[str]:
    """Say how many images the measurement shares with training, if the images can be read."""
    try:
        leaks = opened.dataset.card.leaks
    except AeSweepError:
        return []
    if leaks == 0:
        return []
    equal = f"{leaks:,} of the test and validation images equal a training or validation image"
    return [f"{equal}, so the errors are lower than those of images never seen."]


def _curve_in_words(opened: Sweep) -> list[str]:
    frontier = opened.frontier
    lines = []
    if frontier.knee is not None:
        lines.append(f"The knee is at d = {frontier.knee.latent_dim}: {frontier.knee.advice}.")
    elif not frontier.has_rate:
        lines.append(f"There is no knee: {frontier.knee_refusal}.")
    if frontier.has_rate:
        front = analysis.efficient(frontier.points)
        lines.append(
            "No other point has fewer bits and less distortion than "
            f"{', '.join(str(point.condition) for point in front)}."
        )
    if frontier.fit is not None:
        fit = frontier.fit
        floor = f"{fit.floor:.3g} + " if fit.floor > 0 else ""
        lines.append(
            f"Over d = {fit.dims[0]} to {fit.dims[-1]} the test MSE follows "
            f"{floor}{fit.scale:.3g} · d^−{fit.exponent:.3g}, "
            f"with R² = {fit.r_squared_log:.3f} in log MSE."
        )
    elif not frontier.has_rate:
        lines.append(f"No power law is fitted: {frontier.fit_refusal}.")
    return lines


def _run_address(opened: Sweep, ui_address: str, run_id: str) -> str:
    return tracking.run_url(ui_address, experiment_id=opened.record.experiment_id, run_id=run_id)
