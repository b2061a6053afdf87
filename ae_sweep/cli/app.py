"""The command line's application: its commands and the options before them."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.argv import ListCommand
from ae_sweep.cli.closed_output import EXIT_CLOSED, discard_closed, is_closed
from ae_sweep.cli.data import data
from ae_sweep.cli.decode import decode
from ae_sweep.cli.delete import delete
from ae_sweep.cli.dimensions import dimensions
from ae_sweep.cli.doctor import doctor
from ae_sweep.cli.encode import encode
from ae_sweep.cli.error_handler import DEBUG_VARIABLE, EXIT_INTERRUPTED
from ae_sweep.cli.export import export
from ae_sweep.cli.frontier import frontier
from ae_sweep.cli.identity import identity
from ae_sweep.cli.import_ import import_
from ae_sweep.cli.inspect import inspect
from ae_sweep.cli.interpolate import interpolate
from ae_sweep.cli.latent import latent
from ae_sweep.cli.list_show import list_sweeps, show
from ae_sweep.cli.manifold import manifold
from ae_sweep.cli.reconstruct import reconstruct
from ae_sweep.cli.report import report
from ae_sweep.cli.run import run
from ae_sweep.cli.sample import sample
from ae_sweep.cli.sync import sync
from ae_sweep.cli.ui import ui
from ae_sweep.isolation import fails_at_exit, isolate_process
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="ae-sweep",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=ListCommand)(run)
app.command(cls=ListCommand)(ui)
app.command(cls=ListCommand)(frontier)
app.command(cls=ListCommand)(dimensions)
app.command(cls=ListCommand)(reconstruct)
app.command(cls=ListCommand)(latent)
app.command(cls=ListCommand)(manifold)
app.command(cls=ListCommand)(interpolate)
app.command(cls=ListCommand)(sample)
app.command(cls=ListCommand)(encode)
app.command(cls=ListCommand)(decode)
app.command(cls=ListCommand)(inspect)
app.command(cls=ListCommand)(report)
app.command(cls=ListCommand)(identity)
app.command(cls=ListCommand)(sync)
app.command("list", cls=ListCommand)(list_sweeps)
app.command(cls=ListCommand)(show)
app.command(cls=ListCommand)(delete)
app.command(cls=ListCommand)(export)
app.command("import", cls=ListCommand)(import_)
app.command(cls=ListCommand)(data)
app.command(cls=ListCommand)(doctor)

LEFT_SECONDS = 3.0
"""After an interruption, for Python to shut down."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ae-sweep {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure how well an autoencoder rebuilds images from d numbers, for every d you ask for."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def _prepare_streams() -> None:
    """Replace characters that a stream cannot encode; discard output if stdout is closed."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main() -> None:
    """Run the command line."""
    isolate_process()
    _prepare_streams()
    arguments = sys.argv[1:]
    # --debug is accepted before and after the command's name.
    if "--debug" in arguments:
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        code = exit_code(arguments)
    finally:
        # All is printed and stored: while Python shuts down, Ctrl-C could only print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if fails_at_exit() and isinstance(code, int):
        os._exit(code)
    if code == EXIT_INTERRUPTED:
        _end_within(LEFT_SECONDS, EXIT_INTERRUPTED)
    sys.exit(code)


def _end_within(seconds: float, code: int) -> None:
    """End the process after some seconds if Python has not shut down by then.

    It waits for the threads in which MLflow downloads, and those for a server that hangs.
    """
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()


def exit_code(arguments: Sequence[str]) -> int | str | None:
    """Run a command and return its exit code; nothing is left to be written."""
    stdout, code = sys.stdout, None
    try:
        app(args=list(arguments), prog_name="ae-sweep")
    except SystemExit as end:
        code = end.code
    try:
        if sys.stdout is not stdout:  # Typer has found it closed
            raise BrokenPipeError
        sys.stdout.flush()
    except OSError as error:
        if not is_closed(error):
            raise
        sys.stdout = stdout
        code = code if code not in (None, 0, 1) else EXIT_CLOSED
    discard_closed()  # else Python, while it shuts down, would fail with exit code 120
    return code
