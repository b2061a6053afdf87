"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from ae_sweep.config import ImageOptions
from ae_sweep.locations import DEFAULT_STORE
from ae_sweep.messages import shorten

# As text: a path would lose the second slash of an address that is given by mistake.
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR",
        help="Where runs, artifacts and studies are kept; it wins over MLFLOW_TRACKING_URI. "
        f"[default: {DEFAULT_STORE}]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing output.")]
SweepArgument = Annotated[
    str | None, typer.Argument(metavar="SWEEP", help="Name of a sweep; the latest if left out.")
]
DimsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dims", metavar="D ...", help="Latent dimensions of the sweep; all if left out."
    ),
]
DataDirOption = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where the data set's files are or will be kept; the user cache if left out.",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="H[xW]",
        help="Of own images: height and width in pixels, needed where the pictures' sizes differ.",
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="NAME",
        help="Of own images: crop, pad or stretch pictures of another shape to --image-size. "
        "[default: crop]",
    ),
]
ColourOption = Annotated[
    str | None,
    typer.Option(
        "--colour",
        "--color",
        metavar="NAME",
        help="Of own images: rgb, grey, or auto, which is grey only if every picture is. "
        "[default: auto]",
    ),
]
BackgroundOption = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="COLOUR",
        help="Of own images: white, black or #rrggbb behind transparent pixels; needed where there "
        "are any.",
    ),
]
ScaleOption = Annotated[
    bool, typer.Option("--scale", help="Of own images: accept arrays of floats in [0, 1].")
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Of own images: refuse the first picture that cannot be read."),
]
MovedOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="PATH",
        help="Where your own images are now, if they were moved after the sweep.",
    ),
]


def whole_number(text: str) -> int:
    """Parse a number of an option.

    Raises
    ------
    typer.BadParameter
        If it is not one; Typer's own message would not repeat the value.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a whole number") from None


def number(text: str) -> float:
    """Parse a number of an option that need not be whole.

    Raises
    ------
    typer.BadParameter
        If it is not one; Typer's own message would not repeat the value.
    """
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{shorten(text)} is not a number") from None


def image_options(*, scale: bool, strict: bool, **texts: str | None) -> ImageOptions:
    """Return how own images are to be converted.

    Parameters
    ----------
    texts
        The options with a value, by name; None where one was not given.

    Raises
    ------
    ConfigError
        If a value is none of its option.
    """
    switches = {"scale": "True" if scale else None, "strict": "True" if strict else None}
    given = {name: text for name, text in {**texts, **switches}.items() if text is not None}
    return ImageOptions.from_texts(given)
