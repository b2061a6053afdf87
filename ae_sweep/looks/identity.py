"""Owns the identity test: whether a network has learned its images, or to copy any."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, data, plots
from ae_sweep.places import cache_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from ae_sweep.analysis import FrontierPoint, ProbeResult
    from ae_sweep.api import Sweep

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
    """Of the last point."""
    results: tuple[tuple[FrontierPoint, ProbeResult], ...]
    verdicts: tuple[str, ...]
    """One for each point, in words."""

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
        sweep.dataset.test_NCHW[:IMAGES], other_NCHW=_other(sweep, announce=announce)
    )
    pca = analysis.fit_pca(sweep.dataset.train_NCHW)
    results, verdicts = [], []
    rebuilt: Mapping[str, Array] = {}
    for point in points:
        model = sweep.model(point)
        rebuilt = {probe: model.reconstruct(x_NCHW) for probe, x_NCHW in probes.items()}
        of_point = [
            analysis.probe_result(
                probe, x_NCHW, rebuilt[probe], latent_dim=point.latent_dim, pca=pca
            )
            for probe, x_NCHW in probes.items()
        ]
        results += [(point, result) for result in of_point]
        verdicts.append(analysis.verdict(of_point, name=str(point.condition)))
        metrics = {f"identity_{result.probe}_mse": result.mse for result in of_point}
        sweep.runs.add_to_run(point.run_id, metrics=metrics)
    figure = _figure(probes, rebuilt, title=f"{sweep.name}, {points[-1].condition}")
    test = IdentityTest(figure, tuple(results), tuple(verdicts))
    sweep.add_picture(PICTURE, figure)
    document = json.dumps(test.document(sweep.name), indent=2, allow_nan=False)
    sweep.runs.add_to_run(sweep.record.run_id, files={DOCUMENT: document.encode()})
    return test


def _other(sweep: Sweep, *, announce: Callable[[str], None]) -> Array | None:
    card = sweep.dataset.card
    if card.name == OTHER:
        announce(f"no other data set is tried: the sweep's own is {OTHER}")
        return None
    other = data.load(OTHER, cache_dir=cache_dir())
    if other.card.image_shape != card.image_shape:
        announce(f"no other data set is tried: {OTHER} has images of another shape")
        return None
    return other.test_NCHW[:IMAGES]


def _figure(
    probes: Mapping[str, Array], rebuilt: Mapping[str, Array], *, title: str
) -> plots.Figure:
    rows = []
    for probe, x_NCHW in probes.items():
        rows.append(plots.ImageRow(probe, x_NCHW[:SHOWN]))
        rows.append(plots.ImageRow("rebuilt", analysis.as_bytes(rebuilt[probe][:SHOWN])))
    return plots.image_rows_figure(rows, title=title)
