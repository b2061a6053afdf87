"""Curves in bits made up by formulas: sweeps, references, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep.analysis import CurveKind, RateComparison, RateCurve, RatePoint, SweepRates, psnr_db

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPE = (1, 28, 28)


def rate_point(bits: float, mse: float, **changes) -> RatePoint:
    psnr = psnr_db(mse)
    return RatePoint(bits=bits, mse=mse, psnr=psnr, mean_image_psnr=psnr, **changes)


def curve(
    name: str,
    pairs: Sequence[tuple[float, float]],
    *,
    kind: CurveKind = CurveKind.CODED,
    dims: Sequence[int] = (),
    table_bytes: int = 0,
    **changes,
) -> RateCurve:
    """Make a curve of pairs of bits and MSE, and of the latent dim of each if there are any."""
    return RateCurve(
        name=name,
        description=f"{name}, made up",
        kind=kind,
        points=tuple(
            rate_point(
                bits,
                mse,
                latent_dim=dims[place] if dims else None,
                setting=f"step {place}",
                table_bytes=table_bytes,
            )
            for place, (bits, mse) in enumerate(pairs)
        ),
        image_shape=SHAPE,
        images=10_000,
        **changes,
    )


def falling(scale: float, bits: Sequence[float], power: float = 1.1) -> list[tuple[float, float]]:
    return [(each, scale * each**-power) for each in bits]


BITS = [16, 24, 40, 60, 90, 130, 200, 300, 450]
DIMS = [2, 8, 8, 32, 32, 32, 128, 128, 128]


def sweep_rates(name: str = "digits", *, scale: float = 0.8, seeds: int = 1) -> SweepRates:
    return SweepRates(
        sweep=name,
        frontiers=tuple(
            curve(
                name, falling(scale * (1 + 0.03 * seed), BITS), dims=DIMS, seed=seed,
                header_bytes=45, decoder_bytes=1_000_000, table_bytes=2_000,
            )
            for seed in range(seeds)
        ),
    )  # fmt: skip


REFERENCES = (
    curve("PCA + coder", falling(1.9, BITS)),
    curve("Gaussian source", falling(2.0, BITS), kind=CurveKind.BOUND),
    curve("JPEG, mosaic", [(333, 0.0087), (504, 0.0051), (900, 0.002)]),
    curve("JPEG, single", [(1593, 0.0087), (1900, 0.0051)]),
    curve("AVIF, mosaic", [(218, 0.0091), (339, 0.0039), (508, 0.0015), (711, 0.0003)]),
    curve("PNG, mosaic", [(1292, 0.0)]),
    curve("mean image", [(0.0, 0.0675)]),
)


def comparison(*sweeps: SweepRates, references: Sequence[RateCurve] = REFERENCES) -> RateComparison:
    return RateComparison(sweeps=sweeps or (sweep_rates(),), references=tuple(references))
