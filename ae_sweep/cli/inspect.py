"""``ae-sweep inspect``: what a coded file holds, and which model it needs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption
from ae_sweep.messages import times, visible

if TYPE_CHECKING:
    from ae_sweep.inspection import InspectedFile


@handled
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `encode` wrote.")],
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what a file of `ae-sweep encode` holds, and which model it needs; decode nothing.

    Example: ae-sweep inspect photos.aes
    """
    from ae_sweep import inspection

    found = inspection.inspect_file(file, store=store, announce=say)
    if json_output:
        document = dataclasses.asdict(found)
        document["path"] = str(found.path)
        print_json({**document, "bits_per_image": found.bits, "bpp": found.bpp})
        return
    for name, text in _facts(found):
        typer.echo(f"{name:<9} {text}")
    if found.problem is not None:
        say(f"it cannot be decoded here: {found.problem}")


def _facts(found: InspectedFile) -> list[tuple[str, str]]:
    facts = [
        ("images", f"{found.images:,} of {times(found.image_shape)} (channels, height, width)"),
        ("size", f"{found.file_bytes:,} bytes, {found.payload_bytes:,} of them payload"),
        ("rate", f"{found.bits:.1f} bits per image, {found.bpp:.3f} bits per pixel"),
        ("codec", f"{found.digest}, operating point {found.point}"),
    ]
    if (origin := found.origin) is not None:
        facts += [
            ("point", visible(origin.setting)),
            ("model", f"{visible(origin.model)}, d={origin.latent_dim}"),
            ("run", f"{origin.run_id} of {visible(origin.sweep)}"),
        ]
    return facts
