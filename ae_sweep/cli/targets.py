"""Options of what is good enough, which several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.options import number

if TYPE_CHECKING:
    from ae_sweep.analysis.targets import Target

TargetPsnrOption = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        parser=number,
        metavar="DB",
        help="Find the smallest code that reaches this PSNR of the mean MSE.",
    ),
]
TargetMseOption = Annotated[
    float | None,
    typer.Option(
        "--target-mse",
        parser=number,
        metavar="MSE",
        help="Find the smallest code with at most this error.",
    ),
]
TargetAccuracyOption = Annotated[
    float | None,
    typer.Option(
        "--target-accuracy",
        parser=number,
        metavar="SHARE",
        help="Find the smallest code on which a classifier agrees with its own answer on the "
        "original for this share of the images; needs classes.",
    ),
]


def given_targets(**values: float | None) -> list[Target]:
    """Return the targets that were given, by their kind, checked before anything is read.

    Raises
    ------
    ConfigError
        If no code can reach one, or every code does.
    """
    given = {kind: value for kind, value in values.items() if value is not None}
    if not given:
        return []
    from ae_sweep.analysis.targets import Target, TargetKind

    return [Target(kind=TargetKind(kind), value=value) for kind, value in given.items()]
