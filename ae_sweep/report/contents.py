"""Owns what a report tells: each section from the sweep's records, studies and models."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ae_sweep import analysis, looks, plots, sweep
from ae_sweep.config import model_family, visible
from ae_sweep.errors import AeSweepError
from ae_sweep.records import RATE_BITS, RATE_MSE, Outcome
from ae_sweep.report.page import Cell, Dot, Section, Table, make_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep
    from ae_sweep.records import TrialRecord

MANIFOLD_SIDE = 15
MOST_FOUND = 2
"""Of a section's findings in the summary: the last, which tell of the widest code."""
MOST_ROWS = 12
"""Of models in one picture: more are spread evenly over the curve."""
SETTINGS = ("dims", "beta", "codebook", "lr", "epochs", "trials", "repeats", "seed", "dataset",
            "train_limit", "model", "sampler", "pruner", "method")  # fmt: skip
"""In the order of the command line."""
NOT_GIVEN = (None, "None", "")


def sections(opened: Sweep, *, announce: Callable[[str], None], ui_address: str) -> list[Section]:
    """Make all sections of a sweep's report; the pictures are put on its run in MLflow as well.

    A section that cannot be made, for want of a model or of the images, says why in its place.

    Parameters
    ----------
    announce
        Is told what is being made.
    ui_address
        Where the MLflow UI answers, for the links to the runs.

    Raises
    ------
    NotStoredError
        If no trial has finished.
    """
    link = partial(_run_address, opened, ui_address)
    opened.frontier  # noqa: B018 - without one there is nothing to report
    makers: list[tuple[str, str, Callable[[], Section]]] = [
        ("frontier", "Rate and distortion", lambda: _frontier(opened, link)),
        ("reconstructions", "Reconstructions", lambda: _reconstructions(opened)),
        ("latent", "Latent space", lambda: _latent(opened)),
        ("manifold", "Between the images", lambda: _manifold(opened)),
        ("identity", "Has it learned to copy?", lambda: _identity(opened)),
        ("history", "The search", lambda: _history(opened, link)),
        ("setup", "To do it again", lambda: _setup(opened)),
    ]
    made = []
    for name, title, make in makers:
        announce(f"report: {title}")
        try:
            made.append(make())
        except AeSweepError as error:
            made.append(Section(name=name, title=title, text=[f"Not to be had: {error}."]))
    found = [finding for each in made for finding in each.findings[-MOST_FOUND:]]
    return [_summary(opened, found, link), *made]


def _summary(opened: Sweep, found: Sequence[str], link: Callable[[str], str]) -> Section:
    record, frontier = opened.record, opened.frontier
    counts = Counter(trial.outcome for trial in opened.trials)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    best = min(frontier.points, key=lambda point: point.test_mse)
    findings = [
        *_curve_in_words(opened),
        (
            f"The lowest test error is that of {best.condition}: MSE {best.test_mse:.5f}"
            f"{_psnr(best)}, at {best.compression_ratio:.4g} pixels a latent."
        ),
        *map(_sentence, analysis.code_use(frontier.points)),
        *map(_sentence, frontier.notes),
        *found,
    ]
    return Section(
        name="summary",
        title="In short",
        text=[
            (
                f"{len(opened.trials)} trainings of the model {frontier.model} on "
                f"{frontier.dataset}: {told}. The sweep is {record.outcome}."
            )
        ],
        findings=findings,
        tables=[_points_table(opened, link)],
    )


def _curve_in_words(opened: Sweep) -> list[str]:
    frontier = opened.frontier
    told = []
    if frontier.knee is not None:
        told.append(f"The knee is at d = {frontier.knee.latent_dim}: {frontier.knee.advice}.")
    elif not frontier.has_rate:
        told.append(f"No knee is told: {frontier.knee_refusal}.")
    if frontier.has_rate:
        front = analysis.efficient(frontier.points)
        told.append(
            "No other point has fewer bits and less distortion than "
            f"{', '.join(str(point.condition) for point in front)}."
        )
    if frontier.fit is not None:
        fit = frontier.fit
        floor = f"{fit.floor:.3g} + " if fit.floor > 0 else ""
        told.append(
            f"Over d = {fit.dims[0]} to {fit.dims[-1]} the test MSE follows "
            f"{floor}{fit.scale:.3g} · d^−{fit.exponent:.3g}, "
            f"with R² = {fit.r_squared_log:.3f} in log MSE."
        )
    elif not frontier.has_rate:
        told.append(f"No law is fitted: {frontier.fit_refusal}.")
    return told


def _points_table(opened: Sweep, link: Callable[[str], str]) -> Table:
    frontier = opened.frontier
    rated = frontier.has_rate
    rate_columns = ["Bits", "MSE at bits"] if rated else []
    return Table(
        caption="The best of each condition by validation, measured on the test images",
        columns=[
            "Condition", "Pixels a latent", *rate_columns, "Test MSE", "± sd", "Seeds",
            "PSNR (dB)", "dB a doubling", "lr", "Epochs", "Trials",
        ],
        rows=[
            [
                Cell(str(point.condition), link(point.run_id)),
                Cell(f"{point.compression_ratio:.4g}"),
                *(_rate_cells(point) if rated else []),
                Cell(f"{point.test_mse:.5f}"),
                Cell("–" if point.test_mse_std is None else f"{point.test_mse_std:.5f}"),
                Cell(str(point.seeds)),
                Cell("perfect" if point.test_psnr is None else f"{point.test_psnr:.2f}"),
                Cell("–" if point.db_per_doubling is None else f"{point.db_per_doubling:+.2f}"),
                Cell(f"{point.lr:.2e}"),
                Cell(str(point.epochs)),
                Cell(f"{point.trials_finished} of {point.trials_total}"),
            ]
            for point in frontier.points
        ],
    )  # fmt: skip


def _rate_cells(point: FrontierPoint) -> list[Cell]:
    mse = point.rate.get(RATE_MSE)
    return [Cell(f"{point.rate[RATE_BITS]:.1f}"), Cell("–" if mse is None else f"{mse:.5f}")]


def _frontier(opened: Sweep, link: Callable[[str], str]) -> Section:
    frontier = opened.frontier
    figure = plots.frontier_figure(frontier)
    dots = [
        Dot(left=place.left, top=place.top, text=_told(place.point))
        for place in plots.point_places(figure, frontier)
    ]
    axis = "bits per image" if frontier.has_rate else "latent dimension"
    picture = make_picture(
        figure,
        kind="svg",
        alternative=f"Test MSE and PSNR over {axis}: "
        + "; ".join(f"{point.condition}: {point.test_mse:.5f}" for point in frontier.points),
        caption="Point at a point, or reach it with the Tab key, for its values.",
        dots=dots,
    )
    return Section(
        name="frontier",
        title="Rate and distortion",
        text=[_axis_in_words(opened)],
        pictures=[picture],
        tables=_code_tables(frontier.points, link),
    )


def _axis_in_words(opened: Sweep) -> str:
    family = model_family(opened.frontier.model)
    if not opened.frontier.has_rate:
        return (
            "The horizontal axis counts numbers of the code, each a float32: it is no bit rate. "
            "Every point is the best of its condition by validation error."
        )
    if family == "vae":
        return (
            "The rate is the divergence of a code from the prior, in bits; with the error of "
            "images rebuilt from drawn codes it bounds the rate-distortion function from above."
        )
    return (
        "The rate is what the indices of an image's tokens take at a fixed length. An entropy "
        "coder would need the entropy told below."
    )


def _code_tables(points: Sequence[FrontierPoint], link: Callable[[str], str]) -> list[Table]:
    """Tell all that was measured of the codes, where anything was."""
    keys = list(dict.fromkeys(key for point in points for key in point.rate))
    if not keys:
        return []
    return [
        Table(
            caption="The code, measured on the test images",
            columns=["Condition", *(key.replace("_", " ") for key in keys)],
            rows=[
                [
                    Cell(str(point.condition), link(point.run_id)),
                    *(Cell(f"{point.rate[key]:.5g}" if key in point.rate else "–") for key in keys),
                ]
                for point in points
            ],
        )
    ]


def _reconstructions(opened: Sweep) -> Section:
    points = _spread(opened.points())
    figure, chosen = looks.reconstructions(opened, points, classes=opened.classes())
    names = ", ".join(str(point.condition) for point in points)
    return Section(
        name="reconstructions",
        title="Reconstructions",
        text=["The same test images, rebuilt by the best model of each condition."],
        pictures=[
            make_picture(
                figure,
                alternative=f"{len(chosen)} test images in the first row, and below them what the "
                f"models of {names} rebuild",
                caption=f"Test images {', '.join(map(str, chosen))}.",
            )
        ],
    )


def _latent(opened: Sweep) -> Section:
    point = opened.nearest(2)
    figure = looks.latent_plane(opened, point)
    spaces = looks.latent_spaces(opened, opened.points())
    looks.keep_spaces(opened, spaces)
    measured = Table(
        caption="What labels tell of the latents; no training saw them",
        columns=["Condition", "k-NN", "Linear probe", "Silhouette", "Active", "Correlation"],
        rows=[
            [
                Cell(str(each.point.condition)),
                Cell(f"{each.space.knn_accuracy:.1%}"),
                Cell(f"{each.space.probe_accuracy:.1%}"),
                Cell(f"{each.space.silhouette:.3f}"),
                Cell(f"{each.space.active_latents} of {each.space.latent_dim}"),
                Cell(_number(each.space.mean_correlation)),
            ]
            for each in spaces
        ],
    )
    most = max((len(each.space.overlaps) for each in spaces), default=0)
    overlaps = Table(
        caption="Pairs of classes that are most often taken for each other, and how often",
        columns=["Condition", *(f"{place}." for place in range(1, most + 1))],
        rows=[
            [
                Cell(str(each.point.condition)),
                *(Cell(_pair(each, place)) for place in range(most)),
            ]
            for each in spaces
        ],
    )
    return Section(
        name="latent",
        title="Latent space",
        text=[
            (
                "k-NN is the accuracy of a vote of the ten nearest other test images, the probe "
                "that of a logistic regression fitted on validation images."
            )
        ],
        findings=[_sentence(looks.meaning(spaces))],
        pictures=[
            make_picture(
                figure,
                alternative=f"The test images as points in the plane of the latents of "
                f"{point.condition}, coloured by class",
                caption=_sentence(next(each for each in spaces if each.point == point).overlapping),
            )
        ],
        tables=[measured, overlaps] if most else [measured],
    )


def _pair(each: looks.MeasuredSpace, place: int) -> str:
    if place >= len(each.space.overlaps):
        return "–"
    return str(each.space.overlaps[place])


def _manifold(opened: Sweep) -> Section:
    point = opened.nearest(2)
    pictures = [
        make_picture(
            looks.manifold(opened, point, side=MANIFOLD_SIDE),
            alternative=f"A grid of {MANIFOLD_SIDE} by {MANIFOLD_SIDE} images decoded from the "
            f"latent plane of {point.condition}",
            caption=f"{point.condition}: decoded at the quantiles of the test images' latents.",
        )
    ]
    points = _spread(opened.points())
    if opened.model(point).has_prior:
        pictures.append(
            make_picture(
                looks.prior_samples(opened, points),
                alternative="Images decoded from codes drawn from the prior, a row a condition",
                caption="Drawn from the prior: no image was encoded.",
            )
        )
    return Section(
        name="manifold",
        title="Between the images",
        text=["What the decoder makes of codes that no image was encoded to."],
        pictures=pictures,
    )


def _identity(opened: Sweep) -> Section:
    points = opened.points()
    told: list[str] = []
    test = looks.identity_test(opened, points, announce=told.append)
    return Section(
        name="identity",
        title="Has it learned to copy?",
        text=[
            ("A network that copies rebuilds any image; one that has learned its images rebuilds "
            "those alone. Rebuilt is the share of the variance."),
            *map(_sentence, told),
        ],
        findings=[*map(_sentence, test.verdicts)],
        pictures=[
            make_picture(
                test.figure,
                alternative=f"Probe images and what the model of {points[-1].condition} makes of "
                "them, in turns",
                caption=f"{points[-1].condition}: each probe over its reconstruction.",
            )
        ],
        tables=[
            Table(
                caption="Every probe of every condition",
                columns=["Condition", "Probe", "MSE", "PSNR (dB)", "Exact pixels", "Rebuilt",
                         "PCA's MSE"],
                rows=[
                    [
                        Cell(str(point.condition)),
                        Cell(result.probe),
                        Cell(f"{result.mse:.5f}"),
                        Cell("perfect" if result.psnr is None else f"{result.psnr:.2f}"),
                        Cell(f"{result.exact:.1%}"),
                        Cell(f"{result.rebuilt:.1%}"),
                        Cell(f"{result.pca_mse:.5f}"),
                    ]
                    for point, result in test.results
                ],
                folded=True,
            )
        ],
    )  # fmt: skip


def _history(opened: Sweep, link: Callable[[str], str]) -> Section:
    figure = plots.history_figure(opened.trials, title=f"{opened.name}: validation objective")
    opened.add_picture("history.png", figure)
    shares = sweep.importances(opened.store.optuna_path, opened.name)
    parameters = list(dict.fromkeys(key for found in shares.values() for key in found))
    importance = Table(
        caption="Share of the objective's variance that a parameter explains (fANOVA)",
        columns=["Condition", *parameters],
        rows=[
            [Cell(condition), *(Cell(_share(found.get(key))) for key in parameters)]
            for condition, found in shares.items()
        ],
    )
    few = [] if shares else ["No study has the four finished trials that shares of it would need."]
    return Section(
        name="history",
        title="The search",
        text=[
            (
                "One study for each condition; trials are compared by the model's own training "
                "objective on the validation images."
            ),
            *few,
        ],
        pictures=[
            make_picture(
                figure,
                alternative="The validation objective of every search trial in the order they were "
                "started, a panel a condition",
                caption="All search trials that validated at least once.",
            )
        ],
        tables=[*([importance] if shares else []), _trials_table(opened.trials, link)],
    )


def _trials_table(trials: Sequence[TrialRecord], link: Callable[[str], str]) -> Table:
    return Table(
        caption=f"All {len(trials)} trials",
        columns=["Trial", "State", "Role", "lr", "Epochs", "Seed", "Val MSE", "Val objective",
                 "Test MSE", "PSNR (dB)", "Seconds"],
        rows=[
            [
                Cell(visible(trial.name), link(trial.run_id)),
                Cell(str(trial.outcome)),
                Cell(str(trial.role)),
                Cell(f"{trial.point.lr:.2e}"),
                Cell(str(trial.point.epochs)),
                Cell(str(trial.point.seed)),
                Cell(_number(trial.val_mse, ".5f")),
                Cell(_number(trial.val_objective, ".5f")),
                Cell(_number(trial.test_mse, ".5f")),
                Cell(_number(trial.test_psnr, ".2f")),
                Cell(_number(trial.train_seconds, ".1f")),
            ]
            for trial in trials
        ],
        folded=True,
    )  # fmt: skip


def _setup(opened: Sweep) -> Section:
    config = opened.record.config
    best = opened.points()[0]
    environment = {
        key: text
        for key, text in opened.runs.parameters(best.run_id).items()
        if key not in {*config, "latent_dim", "lr", "epochs", "seed", "model"}
    }
    started = time.strftime("%Y-%m-%d %H:%M %z", time.localtime(opened.record.started_ms / 1000))
    return Section(
        name="setup",
        title="To do it again",
        text=[f"Started {started}. The same settings on the same machine give the same numbers."],
        code=_command(config),
        tables=[
            _pairs("Settings of the sweep", config.items()),
            _pairs(f"Environment of the run of {best.condition}", environment.items()),
        ],
    )


def _command(config: Mapping[str, str]) -> str:
    """Write the call that makes such a sweep under another name, an option a line."""
    lines = ["ae-sweep run"]
    for key in SETTINGS:
        text = config.get(key)
        if text not in NOT_GIVEN:
            values = [shlex.quote(value) for value in str(text).split()]
            lines.append(" ".join([f"--{key.replace('_', '-')}", *values]))
    return " \\\n    ".join(lines)


def _pairs(caption: str, pairs: Iterable[tuple[str, str]]) -> Table:
    return Table(
        caption=caption,
        columns=["Name", "Value"],
        rows=[[Cell(visible(key)), Cell(visible(text))] for key, text in sorted(pairs)],
        numeric=False,
    )


def _run_address(opened: Sweep, ui_address: str, run_id: str) -> str:
    return f"{ui_address}/#/experiments/{opened.record.experiment_id}/runs/{run_id}"


def _spread(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Take so many points that a picture has room for them, the first and the last among them."""
    if len(points) <= MOST_ROWS:
        return list(points)
    step = (len(points) - 1) / (MOST_ROWS - 1)
    return [points[round(place * step)] for place in range(MOST_ROWS)]


def _told(point: FrontierPoint) -> str:
    bits = f"{point.rate[RATE_BITS]:.1f} bits, " if RATE_BITS in point.rate else ""
    return (
        f"{point.condition}: {bits}test MSE {point.test_mse:.5f}{_psnr(point)}, "
        f"{point.compression_ratio:.4g} pixels a latent, lr {point.lr:.2e}, epochs {point.epochs}"
    )


def _psnr(point: FrontierPoint) -> str:
    return "" if point.test_psnr is None else f", {point.test_psnr:.2f} dB"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text[:2] != "d=" else f"{text}."


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
