"""The identity test: whether a network has learned its images, or to copy any."""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.inspection.result import Inspection
from ae_sweep.records import RATE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
NUMBERS = 2**25
"""Pixels times channels of a probe at most: large images are fewer."""
SHOWN = 4
OTHER = "shapes"
"""A data set that is there without network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityTest(Inspection):
    """What networks made of images that they were not trained on."""

    title: str
    rows: tuple[plots.ImageRow, ...]
    """Each probe over its reconstruction by the model of ``shown``."""
    shown: FrontierPoint
    """Of the widest points, that of the lowest validation error."""
    results: tuple[tuple[FrontierPoint, ProbeResult], ...]
    verdicts: tuple[str, ...]
    """What the results mean, in words; points of one verdict share a line."""
    notes: tuple[str, ...]
    """Why another data set was not tried."""

    @property
    def findings(self) -> tuple[str, ...]:
        """The verdicts."""
        return self.verdicts

    @functools.cached_property
    def figure(self) -> plots.Figure:
        """The rows as a figure."""
        return plots.image_rows_figure(self.rows, title=self.title)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        return {
            "schema": SCHEMA,
            "schema_version": 1,
            "sweep": self.sweep,
            "results": [
                {"condition": str(point.condition), **dataclasses.asdict(result)}
                for point, result in self.results
            ],
            "verdicts": list(self.verdicts),
        }

    def metrics(self) -> Mapping[str, Mapping[str, float]]:  # noqa: D102 - inherited
        metrics: dict[str, dict[str, float]] = defaultdict(dict)
        for point, result in self.results:
            metrics[point.run_id][f"identity_{result.probe}_mse"] = result.mse
        return metrics

    def pictures(self) -> Mapping[str, plots.Figure]:  # noqa: D102 - inherited
        return {PICTURE: self.figure}

    def documents(self) -> Mapping[str, Mapping[str, Any]]:  # noqa: D102 - inherited
        return {DOCUMENT: self.document()}

    def _repr_png_(self) -> bytes:
        return plots.render(self.figure, "png")


def identity_test(sweep: Sweep, points: Sequence[FrontierPoint]) -> IdentityTest:
    """Have the best model of each point rebuild test images and four other kinds.

    The first 2,000 test images (fewer if they are large), the same inverted, with permuted pixels,
    uniform noise, and another data set if it has images of the same shape.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If a model or the images cannot be read.
    """
    dataset = sweep.dataset
    others, notes = _others(sweep)
    count = min(IMAGES, analysis.images_within(NUMBERS, dataset.test_NCHW.shape))
    others = {name: x_NCHW[:count] for name, x_NCHW in others.items()}
    probes = analysis.probes(dataset.test_NCHW[:count], others=others)
    widest = max(point.latent_dim for point in points)
    pca = analysis.fit_pca(dataset.train_NCHW, components=widest)
    shown = min(points, key=lambda point: (-point.latent_dim, point.val_mse))
    results: list[tuple[FrontierPoint, list[ProbeResult]]] = []
    rows: list[plots.ImageRow] = []
    for point in points:
        model = sweep.shared_model(point)
        of_point = []
        for probe, x_NCHW in probes.items():
            rebuilt_NCHW = model.reconstruct(x_NCHW)
            of_point.append(
                analysis.probe_result(
                    probe, x_NCHW, rebuilt_NCHW, latent_dim=point.latent_dim, pca=pca
                )
            )
            if point is shown:
                rows += _rows(probe, x_NCHW, rebuilt_NCHW)
        results.append((point, of_point))
    return IdentityTest(
        sweep=sweep.name,
        title=f"{sweep.name}, {shown.condition}",
        rows=tuple(rows),
        shown=shown,
        results=tuple((point, result) for point, of_point in results for result in of_point),
        verdicts=(*_verdicts(results), *_against_pca(results)),
        notes=notes,
    )


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


def _others(sweep: Sweep) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return images of another data set by its name, and why there are none."""
    if sweep.record.config["dataset"] == OTHER:
        return {}, (f"no other data set is tried: the sweep's own is {OTHER}",)
    shape = sweep.dataset.card.image_shape
    other = sweep.other_images(OTHER)
    if other.card.image_shape != shape:
        sizes = ("×".join(map(str, each)) for each in (other.card.image_shape, shape))
        return {}, (
            "no other data set is tried: {} has images of {}, not {}".format(OTHER, *sizes),
        )
    return {OTHER: other.test_NCHW}, ()


def _rows(probe: str, x_NCHW: Array, rebuilt_NCHW: Array) -> list[plots.ImageRow]:
    return [
        plots.ImageRow(probe, x_NCHW[:SHOWN]),
        plots.ImageRow("rebuilt", analysis.as_bytes(rebuilt_NCHW[:SHOWN])),
    ]
