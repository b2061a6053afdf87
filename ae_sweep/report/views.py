"""Owns what a report shows of trained models: their images, latents and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import inspection
from ae_sweep.report.page import Cell, Section, Table, make_picture
from ae_sweep.report.words import number, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint
    from ae_sweep.api import Sweep

MANIFOLD_SIDE = 15
MOST_ROWS = 12
"""Of models in one picture: more are spread evenly over the curve."""


def reconstructions_section(opened: Sweep) -> Section:
    """Show test images over what each model rebuilds."""
    points = _spread(opened.points())
    figure, chosen = inspection.reconstructions(opened, points, classes=opened.classes())
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


def latent_section(opened: Sweep) -> Section:
    """Show the latent plane; tell what the latents know of classes."""
    point = opened.nearest(2)
    figure = inspection.latent_plane(opened, point)
    spaces = inspection.latent_spaces(opened, opened.points())
    inspection.keep_spaces(opened, spaces)
    measured = Table(
        caption="What labels tell of the latents; no training saw them",
        columns=["Condition", "k-NN", "Linear probe", "Silhouette", "Active", "Correlation"],
        rows=[
            [
                Cell(str(each.point.condition)),
                Cell(f"{each.space.knn_accuracy:.1%}"),
                Cell(f"{each.space.probe_accuracy:.1%}"),
                Cell(f"{each.space.silhouette:.3f}"),
                Cell(f"{each.space.active_latents} of {each.space.latent_width}"),
                Cell(number(each.space.mean_correlation)),
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
        findings=[sentence(inspection.meaning(spaces))],
        pictures=[
            make_picture(
                figure,
                alternative=f"The test images as points in the plane of the latents of "
                f"{point.condition}, coloured by class",
                caption=sentence(next(each for each in spaces if each.point == point).overlapping),
            )
        ],
        tables=[measured, overlaps] if most else [measured],
    )


def _pair(each: inspection.MeasuredSpace, place: int) -> str:
    if place >= len(each.space.overlaps):
        return "–"
    return str(each.space.overlaps[place])


def manifold_section(opened: Sweep) -> Section:
    """Show what lies between images, and what is drawn from a prior."""
    point = opened.nearest(2)
    pictures = [
        make_picture(
            inspection.manifold(opened, point, side=MANIFOLD_SIDE),
            alternative=f"A grid of {MANIFOLD_SIDE} by {MANIFOLD_SIDE} images decoded from the "
            f"latent plane of {point.condition}",
            caption=f"{point.condition}: decoded at the quantiles of the test images' latents.",
        )
    ]
    points = _spread(opened.points())
    if opened.model(point).has_prior:
        pictures.append(
            make_picture(
                inspection.prior_samples(opened, points),
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


def identity_section(opened: Sweep) -> Section:
    """Show and tell what models make of images unlike their own."""
    points = opened.points()
    told: list[str] = []
    test = inspection.identity_test(opened, points, announce=told.append)
    return Section(
        name="identity",
        title="Has it learned to copy?",
        text=[
            ("A network that copies rebuilds any image; one that has learned its images rebuilds "
            "those alone. Rebuilt is the share of the variance."),
            *map(sentence, told),
        ],
        findings=[*map(sentence, test.verdicts)],
        pictures=[
            make_picture(
                test.figure,
                alternative=f"Probe images and what the model of {test.shown.condition} makes of "
                "them, in turns",
                caption=f"{test.shown.condition}: each probe over its reconstruction.",
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


def _spread(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Take so many points that a picture has room for them, the first and the last among them."""
    if len(points) <= MOST_ROWS:
        return list(points)
    step = (len(points) - 1) / (MOST_ROWS - 1)
    return [points[round(place * step)] for place in range(MOST_ROWS)]
