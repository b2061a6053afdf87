"""``ae-sweep decode``: the pictures of a coded file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import ForceOption, StoreOption
from ae_sweep.cli.output_file import check_new_folder, make_folder
from ae_sweep.messages import counted


@handled
def decode(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `encode` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")],
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Decode a file of `ae-sweep encode` into numbered PNG pictures.

    The store must hold the model that the file names. A checksum finds damage; it does not prove
    where a file comes from.

    Example: ae-sweep decode photos.aes -o decoded
    """
    check_new_folder(out, force=force)

    from ae_sweep import data, inspection

    decoded = inspection.decode_file(file, store=store, announce=say)
    make_folder(out)
    digits = max(5, len(str(decoded.images)))
    number = 0
    for batch_BCHW in decoded.batches():
        for pixels_CHW in batch_BCHW:
            number += 1
            data.write_picture(out / f"{number:0{digits}}.png", pixels_CHW)
    origin = decoded.origin
    say(
        f"{out}: {counted(number, 'picture')}, decoded by d={origin.latent_dim} of {origin.sweep} "
        f"({origin.setting})"
    )
