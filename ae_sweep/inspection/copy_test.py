"""Owns the identity test: whether a network has learned its images, or to copy any."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.records import RATE_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from ae_sweep.analysis import FrontierPoint, ProbeResult
    from ae_sweep.api import Sweep
    from ae_sweep.config import Condition

    Array = np.ndarray[Any, Any]

SCHEMA = "ae-sweep/identity"
PICTURE = "identity.png"
DOCUMENT = "identity.json"
IMAGES = 2_000
"""Of each probe: the first test images; more change the third digit."""
SHOWN = 4
OTHER = "shapes"
"""A data set that is there without network."""


@dataclass(frozen=True)
class IdentityTest:
    """What networks made of images that they were not trained on."""

    figure: plots.Figure
    shown: FrontierPoint
    """Whose probes the figure shows: of the widest points, that of the lowest validation error."""
    results: tuple[tuple[FrontierPoint, ProbeResult], ...]
    verdicts: tuple[str, ...]
    """What the results mean, in words; points of which the same is to be said share a line."""

    def document(self, sweep: str) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        return {
            "schema": SCHEMA,
            "schema_version": 1,
            "sweep": sweep,
            "results": [
                {"condition": str(point.condition), **dataclasses.asdict(result)}
                for point, result in self.results
            ],
            "verdicts": list(self.verdicts),
        }


def identity_test(
    sweep: Sweep, points: Sequence[FrontierPoint], *, announce: Callable[[str], None]
) -> IdentityTest:
    """Have the best model of each point rebuild test images and four other kinds.

    The first 2,000 test images, the same inverted, with permuted pixels, uniform noise, and another
    data set. The numbers are put on the points' runs, picture and document on the sweep's.

    Parameters
    ----------
    announce
        Is told why another data set is not tried.
    """
    probes = analysis.probes(
        sweep.dataset.test_NCHW[:IMAGES], others=_others(sweep, announce=announce)
    )
    pca = analysis.fit_pca(sweep.dataset.train_NCHW)
    results: list[tuple[FrontierPoint, list[ProbeResult]]] = []
    shown = min(points, key=lambda point: (-point.latent_dim, point.val_mse))
    pictured: Mapping[str, Array] = {}
    for point in points:
        model = sweep.model(point)
        rebuilt = {probe: model.reconstruct(x_NCHW) for probe, x_NCHW in probes.items()}
        if point is shown:
            pictured = rebuilt
        of_point = [
            analysis.probe_result(
                probe, x_NCHW, rebuilt[probe], latent_dim=point.latent_dim, pca=pca
            )
            for probe, x_NCHW in probes.items()
        ]
        results.append((point, of_point))
        metrics = {f"identity_{result.probe}_mse": result.mse for result in of_point}
        sweep.runs.add_to_run(point.run_id, metrics=metrics)
    figure = _figure(probes, pictured, title=f"{sweep.name}, {shown.condition}")
    flat = tuple((point, result) for point, of_point in results for result in of_point)
    test = IdentityTest(figure, shown, flat, (*_verdicts(results), *_against_pca(results)))
    sweep.add_picture(PICTURE, figure)
    document = json.dumps(test.document(sweep.name), indent=2, allow_nan=False)
    sweep.runs.add_to_run(sweep.record.run_id, files={DOCUMENT: document.encode()})
    return test


def _verdicts(results: Sequence[tuple[FrontierPoint, Sequence[ProbeResult]]]) -> list[str]:
    alike: dict[str, list[Condition]] = defaultdict(list)
    for point, of_point in results:
        alike[analysis.verdict(of_point)].append(point.condition)
    return [
        f"{analysis.listed_conditions(conditions)}: {said}" for said, conditions in alike.items()
    ]


def _against_pca(results: Sequence[tuple[FrontierPoint, Sequence[ProbeResult]]]) -> list[str]:
    """Say where a linear code is better; of real numbers, for tokens and noisy codes carry less."""
    worse = [
        point.condition
        for point, of_point in results
        if RATE_BITS not in point.rate and analysis.linear_is_better(of_point)
    ]
    if not worse:
        return []
    names = analysis.listed_conditions(worse)
    said = "worse than linear: PCA of as many components rebuilds the test images with less error"
    return [f"{names}: {said}"]


def _others(sweep: Sweep, *, announce: Callable[[str], None]) -> dict[str, Array]:
    card = sweep.dataset.card
    if card.name == OTHER:
        announce(f"no other data set is tried: the sweep's own is {OTHER}")
        return {}
    other = sweep.other_images(OTHER)
    if other.card.image_shape != card.image_shape:
        announce(f"no other data set is tried: {OTHER} has images of another shape")
        return {}
    return {OTHER: other.test_NCHW[:IMAGES]}


def _figure(
    probes: Mapping[str, Array], rebuilt: Mapping[str, Array], *, title: str
) -> plots.Figure:
    rows = []
    for probe, x_NCHW in probes.items():
        rows.append(plots.ImageRow(probe, x_NCHW[:SHOWN]))
        rows.append(plots.ImageRow("rebuilt", analysis.as_bytes(rebuilt[probe][:SHOWN])))
    return plots.image_rows_figure(rows, title=title)
