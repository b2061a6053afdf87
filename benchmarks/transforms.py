"""What the transform and the clusters of a codec are worth, on a stored sweep.

python -m benchmarks.transforms STORE SWEEP
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

import ae_sweep
from ae_sweep.api.models import load_model
from ae_sweep.inspection.model_coding import code_model
from ae_sweep.inspection.rates import trial_of

if TYPE_CHECKING:
    from ae_sweep.analysis import RateCurve, RatePoint
    from ae_sweep.api import Sweep
    from ae_sweep.records import TrialRecord

GRID = 200
"""PSNRs between the ends of two curves at which their rates are compared."""


def coded(sweep: Sweep, trial: TrialRecord, *, rotate: bool) -> RateCurve:
    """Code the model of a trial with or without a transform."""
    model, sha256 = load_model(sweep.runs, trial.run_id)
    assert trial.val_mse is not None
    steps = code_model(
        model, sweep.dataset, model_sha256=sha256, val_mse=trial.val_mse, rotate=rotate
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            curve: RateCurve = end.value.curves[0]
            return curve


def entropy_models(curve: RateCurve) -> dict[str, list[RatePoint]]:
    """Return the points of each entropy model, ascending by bits."""
    found: dict[str, list[RatePoint]] = {}
    for point in curve.points:
        found.setdefault(point.setting.split(", ")[1], []).append(point)
    return found


def saved(points: list[RatePoint], than: list[RatePoint]) -> float:
    """Return the mean share of bits saved at equal PSNR, over the PSNRs that both curves have."""
    psnrs = [np.array([point.psnr for point in each]) for each in (points, than)]
    bits = [np.log([point.bits for point in each]) for each in (points, than)]
    low, high = max(each.min() for each in psnrs), min(each.max() for each in psnrs)
    grid = np.linspace(low, high, GRID)
    mine, other = (np.interp(grid, x, y) for x, y in zip(psnrs, bits, strict=True))
    return float(1 - np.exp((mine - other).mean()))


def bits_at(points: list[RatePoint], psnr: float) -> float:
    """Return the bits at a PSNR in dB, interpolated in their logarithm; NaN beyond the curve."""
    psnrs = np.array([point.psnr for point in points])
    bits = np.log([point.bits for point in points])
    return float(np.exp(np.interp(psnr, psnrs, bits, left=np.nan, right=np.nan)))


def main() -> None:
    """Print a line for every trial that the curve is of."""
    store, name = sys.argv[1:3]
    sweep = ae_sweep.load_sweep(name, store=store)
    for point in sweep.points():
        for run_id in point.seed_run_ids:
            trial = trial_of(sweep, run_id)
            rotated = entropy_models(coded(sweep, trial, rotate=True))
            plain = entropy_models(coded(sweep, trial, rotate=False))
            print(f"{trial.name}: bits at 22 dB")
            for kind, points in rotated.items():
                print(
                    f"  {kind}: {bits_at(points, 22):.1f}, "
                    f"a step each {bits_at(plain[kind], 22):.1f}"
                    f"; the transform saves {saved(points, plain[kind]):.1%}, these tables "
                    f"{saved(points, rotated['factorised']):.1%} over the factorised"
                )


if __name__ == "__main__":
    main()
