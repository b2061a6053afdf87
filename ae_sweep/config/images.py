"""How a user's own pictures become images of one size and colour."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ae_sweep.errors import ConfigError
from ae_sweep.messages import option_name, shorten, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

Fit = Literal["crop", "pad", "stretch"]

Colour = Literal["auto", "rgb", "grey"]

BACKGROUNDS = {"white": "#ffffff", "black": "#000000"}
MEMORY_PREFIX = "memory-"
"""Begins the name of a directory of images that were given in Python, below the user cache."""
MAX_SIDE = 4096
"""Longest side of an image in pixels."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Conversion of pictures before they are split; what is not given leaves them as they are."""

    image_size: tuple[int, int] | None = None
    """Height and width of every image in pixels; None keeps the pictures' common size."""
    fit: Fit = "crop"
    """How a picture of another shape fills that size."""
    colour: Colour = "auto"
    """Whether images have three channels or one; auto is grey only if every picture is."""
    background: str | None = None
    """What shows through transparent pixels: white, black or #rrggbb."""
    scale: bool = False
    """Whether arrays of floats in [0, 1] are accepted, and multiplied by 255."""
    strict: bool = False
    """Whether the first picture that cannot be read ends everything."""

    def __post_init__(self) -> None:
        if self.image_size is not None:
            for side in self.image_size:
                if not 1 <= side <= MAX_SIDE:
                    raise ConfigError(f"image-size must be from 1 to {MAX_SIDE:,}, got {side}")
        for what, name, names in (
            ("fit", self.fit, get_args(Fit)),
            ("colour", self.colour, get_args(Colour)),
        ):
            if name not in names:
                raise unknown_name(what, name, names)
        if self.fit != "crop" and self.image_size is None:
            raise ConfigError(
                f"fit {self.fit} needs an image size to fill; give --image-size, or leave out --fit"
            )
        if self.background is not None:
            _check_background(self.background)

    @property
    def background_rgb(self) -> tuple[int, int, int] | None:
        """The background as three bytes; None if it is not given."""
        if self.background is None:
            return None
        text = BACKGROUNDS.get(self.background, self.background)
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
        return red, green, blue

    @property
    def written(self) -> dict[str, str]:
        """The options that are given, as the texts that `from_texts` reads."""
        texts = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                texts[field.name] = (
                    "x".join(map(str, value)) if field.name == "image_size" else str(value)
                )
        return texts

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> ImageOptions:
        """Read options from texts by name; what is left out has its default.

        Raises
        ------
        ConfigError
            If a value is invalid.
        """
        values: dict[str, object] = dict(texts)
        if "image_size" in texts:
            values["image_size"] = parse_image_size(texts["image_size"])
        for flag in ("scale", "strict"):
            if flag in texts:
                if texts[flag] not in ("True", "False"):
                    raise ConfigError(f"{flag} must be True or False, got {shorten(texts[flag])}")
                values[flag] = texts[flag] == "True"
        return cls(**values)  # type: ignore[arg-type]


IMAGE_OPTIONS = tuple(field.name for field in dataclasses.fields(ImageOptions))
"""Names of the options."""


def check_no_options(dataset: str, options: ImageOptions) -> None:
    """Refuse options of own images beside a named data set, whose images are used as they are.

    Raises
    ------
    ConfigError
        With the options that are given.
    """
    if given := [option_name(name) for name in options.written]:
        raise ConfigError(
            f"only own images are converted, and {shorten(dataset)} is used as it is; leave out "
            f"{' and '.join(given)}, or name a path in its place"
        )


def parse_image_size(text: str) -> tuple[int, int]:
    """Read ``H`` or ``HxW`` as height and width.

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    match = re.fullmatch(r"(\d{1,9})(?:[x×](\d{1,9}))?", text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(
            f"image-size must be a height, or a height and a width such as 32x48, got "
            f"{shorten(text)}"
        )
    height = int(match[1])
    return height, int(match[2] or height)


def _check_background(text: str) -> None:
    if text not in BACKGROUNDS and not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise ConfigError(
            f"background must be white, black or a colour such as #ff8000, got {shorten(text)}"
        )
