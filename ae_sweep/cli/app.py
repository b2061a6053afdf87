"""Owns the command line: its commands, and what holds for all of them."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ae_sweep.cli.argv import spread
from ae_sweep.cli.data import data
from ae_sweep.cli.error_handler import DEBUG_VARIABLE
from ae_sweep.cli.frontier import frontier
from ae_sweep.cli.identity import identity
from ae_sweep.cli.interpolate import interpolate
from ae_sweep.cli.latent import latent
from ae_sweep.cli.list_show import list_sweeps, show
from ae_sweep.cli.manifold import manifold
from ae_sweep.cli.reconstruct import reconstruct
from ae_sweep.cli.report import report
from ae_sweep.cli.run import run
from ae_sweep.cli.sample import sample
from ae_sweep.cli.ui import ui
from ae_sweep.isolation import isolate_process
from ae_sweep.version import __version__

app = typer.Typer(
    name="ae-sweep",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(ui)
app.command()(frontier)
app.command()(reconstruct)
app.command()(latent)
app.command()(manifold)
app.command()(interpolate)
app.command()(sample)
app.command()(report)
app.command()(identity)
app.command("list")(list_sweeps)
app.command()(show)
app.command()(data)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ae-sweep {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure how well an autoencoder rebuilds images from d numbers, for every d you ask for."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def _prepare_streams() -> None:
    """Write signs that a stream cannot hold as question marks; let a closed stdout swallow all."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> None:
    """Run the command line."""
    isolate_process()
    _prepare_streams()
    arguments = spread(sys.argv[1:])
    # --debug is understood wherever it stands.
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        app(args=arguments, prog_name="ae-sweep")
    finally:
        # All is told and stored: while Python shuts down, Ctrl-C could only print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
