"""``ae-sweep encode``: images to one file, with a model of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.logged import log_or_say
from ae_sweep.cli.measuring import show_measuring
from ae_sweep.cli.options import (
    DataDirOption,
    ForceOption,
    JsonOption,
    MovedOption,
    StoreOption,
    number,
    whole_number,
)
from ae_sweep.cli.output_file import check_new_file, write_out
from ae_sweep.messages import counted

if TYPE_CHECKING:
    from ae_sweep.inspection import EncodedImages


@handled
def encode(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE",
            help="Pictures, folders of pictures, npy or npz files, of the model's exact size.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")],
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="SWEEP", help="Name of a sweep; the latest if left out."),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="D",
            help="Latent dimension of the model; any of the sweep if left out.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="Run of a trial whose model is used instead."),
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(
            parser=number, metavar="N", help="Best quality with at most N bits per image."
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="X",
            help="Fewest bits that reach X dB on validation images. [default: 0.5 dB below the "
            "best]",
        ),
    ] = None,
    force: ForceOption = False,
    dataset: MovedOption = None,
    data_dir: DataDirOption = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Code images into one file with a trained model; `ae-sweep decode` makes pictures of it.

    The rates of the models to choose from are measured first, once: the measurement is logged to
    their runs in MLflow. The file names its model, which a decoder needs, and keeps no file names.

    Example: ae-sweep encode photos/ -o photos.aes --dim 32 --bits 80
    """
    check_new_file(out, force=force)

    from ae_sweep import inspection
    from ae_sweep.codec import ans

    inspection.check_choice(latent_dim=dim, run_id=run, bits=bits, psnr=psnr)
    ans.require_coder()
    trained = load_sweep(
        _sweep_of(run, store) if sweep is None and run is not None else sweep,
        store=store,
        dataset=dataset,
        data_dir=data_dir,
        announce=say,
    )
    rates = show_measuring(inspection.rates_to_choose_from(trained, latent_dim=dim, run_id=run))
    if any(model.fresh for model in rates.models):
        log_or_say(trained, rates)
    chosen = inspection.choose_codec(trained, rates, bits=bits, psnr=psnr)
    encoded = inspection.encode_with(chosen, images)
    write_out(encoded.content, out, what="coded file")
    if json_output:
        print_json(_document(encoded, out))
    say(_summary(encoded, out))


def _sweep_of(run: str, store: str | None) -> str:
    from ae_sweep import tracking
    from ae_sweep.locations import open_at

    return tracking.open_for_reading(open_at(store, announce=lambda _: None)).sweep_of(run)


def _document(encoded: EncodedImages, out: Path) -> dict[str, object]:
    chosen = encoded.chosen
    return {
        "file": str(out),
        "images": encoded.images,
        "bytes": len(encoded.content),
        "bits_per_image": encoded.bits,
        "mse": encoded.mse,
        "psnr": encoded.psnr,
        "run_id": chosen.trial.run_id,
        "latent_dim": chosen.trial.point.latent_dim,
        "point": chosen.index,
        "setting": chosen.point.setting,
    }


def _summary(encoded: EncodedImages, out: Path) -> str:
    quality = "no error" if encoded.psnr is None else f"{encoded.psnr:.2f} dB"
    trial, point = encoded.chosen.trial, encoded.chosen.point
    return (
        f"{out}: {counted(encoded.images, 'image')}, {len(encoded.content):,} bytes, "
        f"{encoded.bits:.1f} bits per image, {quality} (PSNR of the mean MSE; {trial.name}, "
        f"{point.setting})"
    )
