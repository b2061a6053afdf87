"""``ae-sweep doctor``: check this machine, the store and the images before a sweep needs them."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.console import print_json, say, stderr
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption
from ae_sweep.errors import StoreError
from ae_sweep.locations import cache_dir, open_at
from ae_sweep.messages import counted, visible

if TYPE_CHECKING:
    from ae_sweep.locations import Store
    from ae_sweep.runner.doctor import Report


@handled
def doctor(
    store: StoreOption = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="First make a store that was moved or copied writable where it is now."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check what a sweep needs, and say what to do about what is wrong.

    Versions, device, precision, load, limits of a container, the store and its databases, data
    sets, the tracking server. Exit code 3 if something would stop a sweep.

    Example: ae-sweep doctor
    """
    place = open_at(store, announce=say)
    if adopt:
        _adopt(place)
    from ae_sweep.records import Status
    from ae_sweep.runner.doctor import Terminal, diagnose

    terminal = Terminal(
        is_terminal=stderr().is_terminal,
        encoding=sys.stderr.encoding or "ascii",
        columns=shutil.get_terminal_size().columns,
    )
    report = diagnose(place, cache_dir=cache_dir(), terminal=terminal, announce=say)
    if json_output:
        document = {"status": report.status, "findings": _documents(report)}
        print_json(document)
    else:
        _print(report)
    stops = [finding for finding in report.findings if finding.status is Status.STOP]
    if stops:
        say(f"{counted(len(stops), 'finding')} would stop a sweep: see stop above")
        raise typer.Exit(StoreError.exit_code)


def _adopt(place: Store) -> None:
    from ae_sweep import tracking

    adopted = tracking.adopt(place)
    if adopted.changed:
        say(
            f"adopted {visible(adopted.after)}: the database named {visible(adopted.before)} in "
            f"{counted(adopted.changed, 'place')}"
        )
    else:
        say(f"the store's files are where its database names them: {visible(adopted.after)}")


def _documents(report: Report) -> list[dict[str, str]]:
    return [dataclasses.asdict(finding) for finding in report.findings]


def _print(report: Report) -> None:
    width = max(len(finding.check) for finding in report.findings)
    for finding in report.findings:
        typer.echo(f"{finding.status:<5} {finding.check:<{width}}  {finding.what}")
        if finding.remedy:
            typer.echo(f"{'':<{width + 8}}{finding.remedy}")
