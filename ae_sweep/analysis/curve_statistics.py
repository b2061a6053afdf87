"""What a curve's points say beyond themselves: laws, the knee's support, what is good enough."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep.analysis.bjontegaard import (
    BjontegaardDelta,
    Interpolation,
    RateQuality,
    bjontegaard,
)
from ae_sweep.analysis.distortion import NotApplicable
from ae_sweep.analysis.knee_support import knee_support
from ae_sweep.analysis.law_choice import choose_law
from ae_sweep.analysis.laws import DIMENSION_LAWS, RATE_LAWS
from ae_sweep.analysis.targets import Axis, TargetKind, good_enough
from ae_sweep.analysis.time_sharing import bits_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ae_sweep.analysis.knee_support import KneeSupport
    from ae_sweep.analysis.law_choice import LawChoice
    from ae_sweep.analysis.rate_comparison import SweepRates
    from ae_sweep.analysis.rate_curve import RateCurve
    from ae_sweep.analysis.targets import GoodEnough, Target


@dataclass(frozen=True, kw_only=True)
class CurveStatistics:
    """Statistics of one sweep's curve, over latent dims or over bits."""

    axis: Axis
    law: LawChoice | NotApplicable
    knee: KneeSupport | NotApplicable | None
    """Over latent dims; None over bits."""
    targets: tuple[GoodEnough | NotApplicable, ...]
    """For each target that was asked for."""
    seed_rates: tuple[tuple[Target, tuple[float | None, ...]], ...] = ()
    """Over bits, with repeated seeds: each target and the smallest rate of each seed, by time
    sharing between its points, so that the steps of their quantisers make no difference."""

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found in words, one line each; refusals too."""
        lines = [_law_in_words(self.law)]
        if self.knee is not None:
            support = self.knee
            what = support.reason if isinstance(support, NotApplicable) else support.sentence
            lines.append(what if what.startswith("the knee") else f"the knee: {what}")
        return (*lines, *(f"good enough: {line}" for line in self.targets_in_words))

    @property
    def targets_in_words(self) -> tuple[str, ...]:
        """The smallest codes that are good enough, one line each."""
        lines = []
        for found in self.targets:
            what = found.reason if isinstance(found, NotApplicable) else found.sentence
            lines.append(what)
        for target, rates in self.seed_rates:
            lines.append(f"{target.text}: {_over_seeds(rates)}")
        return tuple(lines)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON-able document; a refusal is ``{"reason": ...}``."""
        return {
            "law": _law_document(self.law),
            "knee_support": None if self.knee is None else _plain(self.knee),
            "targets": [_plain(each) for each in self.targets],
            "seed_rates": [
                {"target": _plain(target), "bits": list(rates)} for target, rates in self.seed_rates
            ],
        }


def dim_statistics(
    latent_dims: Sequence[int],
    mses: Sequence[Sequence[float]],
    *,
    targets: Sequence[Target] = (),
    agreements: Mapping[int, float] | None = None,
) -> CurveStatistics:
    """Return the statistics of a curve over latent dims.

    Parameters
    ----------
    latent_dims
        N distinct ones, ascending.
    mses
        For each of them the errors of its seeds.
    agreements
        By latent dim, for targets of accuracy.
    """
    above = [(dim, each) for dim, each in zip(latent_dims, mses, strict=True) if min(each) > 0]
    dims, errors = [dim for dim, _ in above], [each for _, each in above]
    law = choose_law(dims, errors, laws=DIMENSION_LAWS)
    return CurveStatistics(
        axis=Axis.LATENT_DIM,
        law=law,
        knee=knee_support(dims, errors),
        targets=tuple(
            good_enough(
                latent_dims,
                _values(target, mses, [(agreements or {}).get(dim) for dim in latent_dims]),
                target=target,
                axis=Axis.LATENT_DIM,
                choice=_law_of(target, law),
            )
            for target in targets
        ),
    )


def rate_statistics(
    rates: SweepRates,
    *,
    targets: Sequence[Target] = (),
    agreements: Mapping[tuple[str | None, int | None], float] | None = None,
) -> CurveStatistics | NotApplicable:
    """Return the statistics of a sweep's frontier in bits, of the search's seed.

    Points over the steps of one model are not independent, so that the weights of laws are too
    sure. The smallest rates of further seeds are listed.

    Parameters
    ----------
    agreements
        By run and operating point, for targets of accuracy.
    """
    frontier = rates.frontier
    if frontier is None:
        return NotApplicable(f"{rates.sweep} has no coded points")
    points = [point for point in frontier.points if point.bits > 0 and point.mse > 0]
    several = len(rates.frontiers) > 1
    law = choose_law(
        [point.bits for point in points],
        [[point.mse] for point in points],
        laws=RATE_LAWS,
        one_seed="points of different seeds have different bits" if several else None,
    )
    found = []
    for target in targets:
        agreed = [(agreements or {}).get((at.run_id, at.index)) for at in frontier.points]
        found.append(
            good_enough(
                [point.bits for point in frontier.points],
                _values(target, [[point.mse] for point in frontier.points], agreed),
                target=target,
                axis=Axis.BITS,
                choice=_law_of(target, law),
            )
        )
    return CurveStatistics(
        axis=Axis.BITS,
        law=law,
        knee=None,
        targets=tuple(found),
        seed_rates=tuple(
            (target, tuple(bits_for(each, mse=target.error) for each in rates.frontiers))
            for target in targets
            if several and target.kind is not TargetKind.ACCURACY
        ),
    )


def bd_against(
    anchor: SweepRates, other: SweepRates, *, interpolation: Interpolation
) -> BjontegaardDelta | NotApplicable:
    """Compute BD-rate and BD-PSNR of one sweep against another, over all pairs of their seeds.

    Frontiers are compared at the points that rise in both bits and PSNR of test images: chosen on
    validation images, some may not.
    """
    return bjontegaard(
        [rate_quality(each) for each in anchor.frontiers],
        [rate_quality(each) for each in other.frontiers],
        interpolation=interpolation,
    )


def rate_quality(curve: RateCurve) -> RateQuality:
    """Return the bits and PSNRs of a curve where each point is better than all with fewer bits."""
    bits: list[float] = []
    psnrs: list[float] = []
    for point in sorted(curve.points, key=lambda each: (each.bits, each.mse)):
        if point.psnr is None or point.bits <= 0:
            continue
        if not psnrs or point.psnr > psnrs[-1]:
            bits.append(point.bits)
            psnrs.append(point.psnr)
    return RateQuality(bits=tuple(bits), psnrs_db=tuple(psnrs))


def bd_in_words(name: str, anchor: str, found: BjontegaardDelta | NotApplicable) -> str:
    """Write a comparison in one line, with the interval over seeds or why there is none."""
    if isinstance(found, NotApplicable):
        return f"BD-rate of {name} against {anchor}: none; {found.reason}"
    if found.rate_range is None or found.psnr_range is None:
        seeds = "one seed each, so no interval"
    else:
        (low, high), (least, most) = found.rate_range, found.psnr_range
        seeds = (
            f"{low:+.1f} % to {high:+.1f} % and {least:+.2f} to {most:+.2f} dB over "
            f"{found.pairs} pairs of seeds"
        )
    line = (
        f"BD-rate of {name} against {anchor}: {found.rate_percent:+.1f} %, BD-PSNR "
        f"{found.psnr_db:+.2f} dB ({found.interpolation}; {seeds})"
    )
    return line if found.warning is None else f"{line}; {found.warning}"


def _over_seeds(rates: Sequence[float | None]) -> str:
    """Write the smallest rates of seeds as a range."""
    reached = [each for each in rates if each is not None]
    how = "by time sharing between the points of each seed"
    if not reached:
        return f"not reached by any of {len(rates)} seeds"
    line = f"{min(reached):.4g} to {max(reached):.4g} bits over {len(reached)} seeds, {how}"
    missing = len(rates) - len(reached)
    return f"{line}; {missing} of {len(rates)} seeds do not reach it" if missing else line


def reference_deltas_in_words(
    name: str, found: Iterable[tuple[str, BjontegaardDelta | NotApplicable]]
) -> list[str]:
    """Write comparisons with references: a line for each number, one for all without."""
    lines: list[str] = []
    without: dict[str, dict[str, list[str]]] = {}
    for reference, delta in found:
        if isinstance(delta, NotApplicable):
            family, _, way = reference.partition(", ")
            without.setdefault(delta.reason, {}).setdefault(family, []).append(way)
        else:
            lines.append(bd_in_words(name, reference, delta))
    if without:
        groups = "; ".join(
            f"{', '.join(itertools.starmap(_family, families.items()))}: {reason}"
            for reason, families in without.items()
        )
        lines.append(f"no BD-rate of {name} against {groups}")
    return lines


def _family(name: str, ways: Sequence[str]) -> str:
    """Write the curves of a codec: ``WebP (mosaic, singly)``."""
    named = [way for way in ways if way]
    return f"{name} ({', '.join(named)})" if named else name


def _values(
    target: Target, mses: Sequence[Sequence[float]], agreements: Sequence[float | None]
) -> Sequence[Sequence[float]]:
    if target.kind is not TargetKind.ACCURACY:
        return mses
    return [[0.0 if each is None else each] for each in agreements]


def _law_of(target: Target, law: LawChoice | NotApplicable) -> LawChoice | None:
    if target.kind is TargetKind.ACCURACY or isinstance(law, NotApplicable):
        return None
    return law


def _law_in_words(law: LawChoice | NotApplicable) -> str:
    if isinstance(law, NotApplicable):
        return f"law: none is chosen; {law.reason}"
    weights = ", ".join(f"{each.fit.law} {each.weight:.2f}" for each in law.candidates)
    parameters = ", ".join(
        f"{each.name} {each.value:.3g} [95 %: {_end(each.low)} to {_end(each.high)}]"
        for each in law.intervals
    )
    line = f"law: {law.fit.law} by {law.criterion} ({weights}); {parameters}"
    if law.chi_squared is not None and law.p_value is not None:
        line += f"; χ² {law.chi_squared:.3g} on {law.degrees} (p = {law.p_value:.2g})"
    return "; ".join([line, *law.notes])


def _end(end: float | None) -> str:
    return "no limit" if end is None else f"{end:.3g}"


def _law_document(law: LawChoice | NotApplicable) -> dict[str, Any]:
    if isinstance(law, NotApplicable):
        return {"reason": law.reason}
    return {
        "criterion": law.criterion,
        "candidates": [
            {
                "law": str(each.fit.law),
                "formula": each.fit.law.formula,
                "criterion": each.criterion,
                "weight": each.weight,
                "parameters": each.fit.parameters,
            }
            for each in law.candidates
        ],
        "intervals": [dataclasses.asdict(each) for each in law.intervals],
        "left_out": [_plain(each) for each in law.left_out],
        "sigma_ln_mse": law.sigma,
        "chi_squared": law.chi_squared,
        "degrees": law.degrees,
        "p_value": law.p_value,
        "notes": list(law.notes),
    }


def _plain(value: Any) -> Any:
    """Return a record as JSON-able values; what is infinite is written as a text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "beyond" if value > 0 else "below"
    return str(value) if isinstance(value, str) else value
