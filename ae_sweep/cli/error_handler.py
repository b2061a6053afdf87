"""Errors as the user sees them: one message on stderr and the contract's exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from typing import TYPE_CHECKING, ParamSpec

import typer

from ae_sweep.cli.closed_output import EXIT_CLOSED, discard_closed, is_closed
from ae_sweep.cli.console import say
from ae_sweep.errors import AeSweepError, DeviceError, StoreError, lacks_memory
from ae_sweep.messages import redacted, visible

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

EXIT_INTERRUPTED = 130
EXIT_BUG = 1
DEBUG_VARIABLE = "AE_SWEEP_DEBUG"
"""Set by ``--debug``: errors keep their traceback."""


def handled(command: Callable[P, None]) -> Callable[P, None]:
    """Turn whatever a command raises into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a message
            if isinstance(error, OSError) and is_closed(error):
                discard_closed()
                raise typer.Exit(EXIT_CLOSED) from None
            if os.environ.get(DEBUG_VARIABLE):
                sys.stderr.write(redacted(traceback.format_exc()))
            raise typer.Exit(_report(error)) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return run


def _report(error: Exception) -> int:
    if isinstance(error, AeSweepError):
        say(f"error: {error}")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        say(f"error: there is no room to write: {error.strerror}; free some, then run it again")
        return StoreError.exit_code
    if lacks_memory(error):
        reason = visible(str(error).partition("\n")[0], 200)
        say(
            f"error: there is not enough memory{reason and f' ({reason})'}; free some, then run it "
            "again"
        )
        return DeviceError.exit_code
    # In one line: torch's messages hold pages of stack frames.
    say(
        f"error: this is a bug in ae-sweep: {type(error).__name__}: {visible(error)}; "
        f"run again with --debug and report the traceback (Python {sys.version.split()[0]})"
    )
    return EXIT_BUG
