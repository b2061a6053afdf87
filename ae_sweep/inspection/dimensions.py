"""How many dimensions images have: principal components, nearest neighbours, a measured curve."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, plots
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.errors import DataError
from ae_sweep.inspection.rate_frontiers import stored_rates
from ae_sweep.messages import ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.analysis import DimensionEstimates, RateCurve
    from ae_sweep.api import Sweep
    from ae_sweep.data import ImageDataset

SCHEMA = "ae-sweep/dimensions"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimensions:
    """Three answers to how many dimensions images have."""

    dataset: str
    estimates: DimensionEstimates
    sweep: str | None = None
    """The sweep whose curve gave the third answer; None without one."""

    @property
    def findings(self) -> tuple[str, ...]:
        """The answers in words, and why one is missing."""
        found = self.estimates
        ratio = f"{found.participation_ratio:.1f}"
        lines = [f"for a linear code: {ratio}, the participation ratio of principal components"]
        if isinstance(found.intrinsic, NotApplicable):
            lines.append(f"by nearest neighbours: none; {found.intrinsic.reason}")
        else:
            low, high = found.intrinsic.at_least
            lines.append(
                f"by nearest neighbours: at least {low:.1f} to {high:.1f}; they are biased low, "
                "the more so the higher the dimension"
            )
        if isinstance(found.at_quality, NotApplicable):
            lines.append(f"at a quality: none; {found.at_quality.reason}")
        else:
            first, last = found.at_quality[0], found.at_quality[-1]
            lines.append(
                f"at a quality: {first.dimension:.1f} at {first.psnr:g} dB, {last.dimension:.1f} "
                f"at {last.psnr:g} dB, by the code of {self.sweep}"
            )
        return tuple(lines)

    @functools.cached_property
    def figure(self) -> plots.Figure:
        """The answers side by side."""
        return plots.dimensions_figure(
            self.estimates, heading=" · ".join(filter(None, [self.dataset, self.sweep]))
        )

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document."""
        found = self.estimates
        low_and_high = found.at_least
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "dataset": self.dataset,
            "sweep": self.sweep,
            "images": found.images,
            "participation_ratio": found.participation_ratio,
            "components": [
                {"variance": share, "components": count} for share, count in found.components
            ],
            "neighbours": [
                {
                    "images": each.images,
                    "two_nn": each.two_nn,
                    "mle": [{"neighbours": k, "dimension": value} for k, value in each.mle],
                }
                for each in found.neighbours
            ],
            "neighbours_refusal": _reason(found.intrinsic),
            "at_least": None if low_and_high is None else list(low_and_high),
            "at_quality": [dataclasses.asdict(each) for each in found.qualities],
            "at_quality_refusal": _reason(found.at_quality),
        }

    def _repr_png_(self) -> bytes:
        return plots.render(self.figure, "png")


def dimensions(
    dataset: ImageDataset,
    *,
    curve: RateCurve | None = None,
    sweep: str | None = None,
    no_curve: str = "no sweep is named",
    announce: Callable[[str], None] | None = None,
) -> Dimensions:
    """Compute how many dimensions the training images of a data set have; nothing is trained.

    Parameters
    ----------
    curve
        A measured frontier in bits, for the dimension at each quality.
    sweep
        The name of its sweep.
    no_curve
        Why there is no curve, in a few words.
    announce
        Called with one line before each long computation.

    Raises
    ------
    DataError
        If all training images are alike, or there are fewer than two.
    """
    say = announce or ignore
    say("principal components of the training images")
    if len(dataset.train_NCHW) < 2:
        raise DataError("one training image has no dimensions; give at least two")
    components = analysis.PrincipalComponents.fit(dataset.train_NCHW)
    ratio = analysis.participation_ratio(components)
    if isinstance(ratio, NotApplicable):
        raise DataError(f"there are no dimensions to count: {ratio.reason}")
    say("nearest neighbours of the training images")
    return Dimensions(
        dataset=dataset.card.name,
        sweep=None if curve is None else sweep,
        estimates=analysis.DimensionEstimates(
            images=components.images,
            participation_ratio=ratio,
            components=analysis.components_for(components),
            intrinsic=analysis.intrinsic_dimension(dataset.train_NCHW),
            at_quality=(
                NotApplicable(no_curve) if curve is None else analysis.quality_dimensions(curve)
            ),
        ),
    )


def dimensions_of_sweep(
    sweep: Sweep, *, announce: Callable[[str], None] | None = None
) -> Dimensions:
    """Compute the dimensions of a sweep's images, and of its code if its rates were measured.

    Raises
    ------
    StoreError, NotStoredError, DataError
        If the sweep or its images cannot be read, or there is nothing to count.
    """
    measured = stored_rates(sweep)
    frontier = None
    if measured is not None and measured.curves:
        frontier = analysis.sweep_rates(sweep.name, measured.curves).frontier
    command = sweep.store.command("frontier", sweep.name, "--rate", "bits")
    return dimensions(
        sweep.dataset,
        curve=frontier,
        sweep=sweep.name,
        no_curve=f"the rates of {sweep.name} were not measured; `{command}` does that",
        announce=announce,
    )


def _reason(found: object) -> str | None:
    return found.reason if isinstance(found, NotApplicable) else None
