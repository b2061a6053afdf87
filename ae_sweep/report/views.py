"""What trained models do, in a report: reconstructions, latents, samples, the identity test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import inspection, tables
from ae_sweep.report.page import Section, make_picture, make_table
from ae_sweep.report.words import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.analysis import FrontierPoint, LatentSpace
    from ae_sweep.api import Sweep

MANIFOLD_SIDE = 15
MOST_ROWS = 12
"""Of models in one picture: more are spread evenly over the curve."""


def reconstructions_section(opened: Sweep) -> Section:
    """Show test images over their reconstructions by each model."""
    points = _spread(opened.points())
    found = inspection.reconstructions(opened, points)
    names = ", ".join(str(point.condition) for point in points)
    return Section(
        name="reconstructions",
        title="Reconstructions",
        text=["The same test images, rebuilt by the best model of each condition."],
        pictures=[
            make_picture(
                found.figure,
                alternative=f"{len(found.images)} test images in the first row, and below "
                f"them their reconstructions by the models of {names}",
                caption=f"Test images {', '.join(found.listed)}.",
            )
        ],
        found=[found],
    )


def latent_section(opened: Sweep) -> Section:
    """Show the latent plane, and how well latents separate classes if there are any."""
    point = opened.nearest(2)
    plane = inspection.latent_plane(opened, point)
    spaces = inspection.latent_spaces(opened, opened.points())
    measured = spaces.measured()
    overlaps = tables.overlaps(measured)
    by_class = spaces.classes_refusal is None
    captions = [*plane.notes, *([spaces.of(point).overlapping] if by_class else [])]
    coloured = ", coloured by class" if opened.dataset.test_labels_N is not None else ""
    return Section(
        name="latent",
        title="Latent space",
        text=_measures(measured[0][1]),
        findings=[*map(sentence, spaces.findings)],
        pictures=[
            make_picture(
                plane.figure,
                alternative=f"The test images as points in the plane of the latents of "
                f"{point.condition}{coloured}",
                caption=" ".join(map(sentence, captions)) or f"{point.condition}.",
            )
        ],
        tables=[
            make_table(tables.latent_spaces(measured).without("overlaps")),
            *([make_table(overlaps)] if len(overlaps.columns) > 1 else []),
        ],
        found=[plane, spaces],
    )


def _measures(space: LatentSpace) -> list[str]:
    if space.neighbours is None:
        return []
    nearest = {10: "ten nearest other test images", 1: "nearest other test image"}
    voters = nearest.get(space.neighbours, f"{space.neighbours} nearest other test images")
    measures = (
        f"k-NN is the accuracy of a vote of the {voters}, the probe that of a logistic regression "
        "fitted on validation images."
    )
    return [measures]


def manifold_section(opened: Sweep) -> Section:
    """Show the images between images, and samples from a prior."""
    point = opened.nearest(2)
    found: list[inspection.ImageGrid] = [inspection.manifold(opened, point, side=MANIFOLD_SIDE)]
    pictures = [
        make_picture(
            found[0].figure,
            alternative=f"A grid of {MANIFOLD_SIDE} by {MANIFOLD_SIDE} images decoded from the "
            f"latent plane of {point.condition}",
            caption=f"{point.condition}: decoded at the quantiles of the test images' latents.",
        )
    ]
    if opened.shared_model(point).has_prior:
        found.append(inspection.prior_samples(opened, _spread(opened.points())))
        pictures.append(
            make_picture(
                found[-1].figure,
                alternative="Images decoded from codes drawn from the prior, one row per condition",
                caption="Drawn from the prior: no image was encoded.",
            )
        )
    return Section(
        name="manifold",
        title="Between the images",
        text=["Images decoded from codes that no image was encoded to."],
        pictures=pictures,
        found=found,
    )


def identity_section(opened: Sweep) -> Section:
    """Show how models reconstruct images unlike those they were trained on."""
    test = inspection.identity_test(opened, opened.points())
    return Section(
        name="identity",
        title="Has it learned to copy?",
        text=[
            (
                "A network that copies rebuilds any image; one that has learned its images "
                "rebuilds those alone. Rebuilt is the share of the variance."
            ),
            *map(sentence, test.notes),
        ],
        findings=[*map(sentence, test.findings)],
        pictures=[
            make_picture(
                test.figure,
                alternative=f"Probe images and their reconstructions by the model of "
                f"{test.shown.condition}, in turns",
                caption=f"{test.shown.condition}: each probe over its reconstruction.",
            )
        ],
        tables=[make_table(tables.copy_test(test.results), folded=True)],
        found=[test],
    )


def _spread(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Return as many points as a picture has room for, the first and the last among them."""
    if len(points) <= MOST_ROWS:
        return list(points)
    step = (len(points) - 1) / (MOST_ROWS - 1)
    return [points[round(place * step)] for place in range(MOST_ROWS)]
