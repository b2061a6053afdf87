"""``ae-sweep frontier``: curves of stored sweeps as figure, table and document."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.frontier_bits import show_bits
from ae_sweep.cli.frontier_dims import show_dims
from ae_sweep.cli.options import DataDirOption, JsonOption, MovedOption, StoreOption
from ae_sweep.cli.output_file import check_directory, check_out, out_option
from ae_sweep.cli.targets import (
    TargetAccuracyOption,
    TargetMseOption,
    TargetPsnrOption,
    given_targets,
)
from ae_sweep.errors import ConfigError
from ae_sweep.messages import option_name, shorten, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.api import Sweep

DIMS, BITS = "dims", "bits"
INTERPOLATIONS = ("pchip", "akima")
WITHOUT_BITS = ("pca", "none")
"""References that there are on the axis of dims."""


@handled
def frontier(
    sweeps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SWEEP ...]", help="Names of sweeps, to be compared; the latest if left out."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="dims|bits",
            help="What the curve is over: latent dimensions, or measured bits per image, for which "
            "the test images are coded and decoded. [default: dims; for models with a rate of "
            "their own, that]",
        ),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--references",
            metavar="NAME ...|all|none",
            help="What else is drawn: pca, gaussian, jpeg, webp, avif, jxl, lossless, zero; over "
            "dims only pca. [default: all over bits, none over dims]",
        ),
    ] = None,
    target_psnr: TargetPsnrOption = None,
    target_mse: TargetMseOption = None,
    target_accuracy: TargetAccuracyOption = None,
    dimensions: Annotated[
        bool,
        typer.Option(
            "--dimensions",
            help="Mark how many dimensions there are: over dims as the command dimensions "
            "estimates it, over bits 6.02 · dR/dPSNR, on the first curve; listed for each.",
        ),
    ] = False,
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation",
            metavar="NAME",
            help="With --rate bits: pchip or akima, through the points of curves whose BD-rates "
            "are computed. [default: pchip]",
        ),
    ] = None,
    out: Annotated[Path | None, out_option("frontier")] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="SWEEP ...", help="The same as further names of sweeps."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    rd_json: Annotated[
        Path | None,
        typer.Option(
            "--rd-json",
            metavar="DIR",
            help="With --rate bits: directory for one JSON file per curve, which CompressAI's "
            "plots read.",
        ),
    ] = None,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fit and plot empirical rate-distortion curves, over latent dims or over measured bits.

    Runs are read back from MLflow. Of each dim the best by validation is reported by its test MSE.
    Of several sweeps, all are drawn, and compared with the first. A rate in bits is that of test
    images that were coded and decoded; measured once, it is kept with the runs.

    Example: ae-sweep frontier --out frontier.pdf
    """
    check_out(out)
    if csv and json_output:
        raise ConfigError("--csv and --json are two forms of one table; give one of them")
    if rate not in (None, DIMS, BITS):
        raise unknown_name("axis --rate", rate, (DIMS, BITS))
    which = _references(references, in_bits=rate == BITS)
    targets = given_targets(psnr=target_psnr, mse=target_mse, accuracy=target_accuracy)
    if rate != BITS:
        no_images = which == ["none"] and target_accuracy is None and not dimensions
        images = {"dataset": dataset, "data_dir": data_dir} if no_images else {}
        _refuse({"rd_json": rd_json, "interpolation": interpolation, **images})
    if interpolation not in (None, *INTERPOLATIONS):
        raise unknown_name("--interpolation", interpolation, INTERPOLATIONS)
    names = [*(sweeps or ()), *(beside or ())]
    if interpolation is not None and which == ["none"] and len(names) < 2:
        raise ConfigError(
            "--interpolation has no effect on one sweep without references; name another sweep, "
            "or other --references, or leave it out"
        )
    check_directory(rd_json, option="--rd-json")
    opened = _opened(names, store=store, dataset=dataset, data_dir=data_dir)
    if target_accuracy is not None:
        from ae_sweep.inspection.agreement import check_classes

        check_classes(opened[0].dataset)
    if rate == BITS:
        show_bits(
            opened,
            which=which,
            targets=targets,
            interpolation=interpolation or INTERPOLATIONS[0],
            mark_dimensions=dimensions,
            out=out,
            csv=csv,
            json_output=json_output,
            rd_json=rd_json,
        )
    else:
        show_dims(
            opened,
            over_dims=rate == DIMS or dimensions or which != ["none"],
            which=which,
            targets=targets,
            mark_dimensions=dimensions,
            out=out,
            csv=csv,
            json_output=json_output,
        )


def _references(names: Sequence[str] | None, *, in_bits: bool) -> list[str]:
    if names is None:
        return ["all" if in_bits else "none"]
    if not in_bits:
        for name in names:
            if name not in WITHOUT_BITS:
                raise ConfigError(
                    f"--references {shorten(name)} is not measured over dims, only "
                    f"{' or '.join(WITHOUT_BITS)}; add --rate bits, or leave it out"
                )
    from ae_sweep.inspection import chosen_references

    chosen_references(names)  # wrong names are refused before anything is read
    return list(names)


def _refuse(only_bits: Mapping[str, object]) -> None:
    """Refuse options that have no effect on the axis of latent dims."""
    for name, value in only_bits.items():
        if value is not None:
            raise ConfigError(
                f"{option_name(name)} has no effect without --rate bits; add that, or leave it out"
            )


def _opened(
    names: Sequence[str], *, store: str | None, dataset: str | None, data_dir: str | None
) -> list[Sweep]:
    """Open the sweeps of some names, the latest if there are none.

    Raises
    ------
    ConfigError
        If a name is given twice, or sweeps measured different images.
    """
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{shorten(twice)} is named twice; a sweep is compared with others")
    opened: list[Sweep] = []
    latest: list[str | None] = [None]
    announced: set[str] = set()

    def announce(line: str) -> None:  # that the store wins over the environment, once
        if line not in announced:
            announced.add(line)
            say(line)

    for name in names or latest:
        each = load_sweep(name, store=store, dataset=dataset, data_dir=data_dir, announce=announce)
        if opened:
            _check_same_images(opened[0], each)
        opened.append(each)
    return opened


def _check_same_images(one: Sweep, other: Sweep) -> None:
    digests = one.frontier.dataset_digest, other.frontier.dataset_digest
    if digests[0] != digests[1]:
        raise ConfigError(
            f"{one.name} and {other.name} measured different images (data set digests "
            f"{digests[0]} and {digests[1]}), so their errors do not compare"
        )
