"""``ae-sweep sync``: publish what was measured while the tracking store failed."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import JsonOption, StoreOption
from ae_sweep.locations import open_at
from ae_sweep.messages import counted


@handled
def sync(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="SWEEP", help="Name of a sweep; all of the store if left out."),
    ] = None,
    store: StoreOption = None,
    json_output: JsonOption = False,
) -> None:
    """Publish the trials that were measured while the tracking server or database failed.

    Each is published once, however often this is called. A sweep that had ended is finished too.

    Example: ae-sweep sync
    """
    from ae_sweep.runner import publishing

    place = open_at(store, announce=say)
    published = publishing.sync(place, sweep, announce=say)
    if json_output:
        print_json([dataclasses.asdict(each) for each in published])
    for each in published:
        say(f"published {counted(each.trials, 'trial')} of {each.sweep}")
        if not each.is_finished:
            command = place.command("run", "--name", each.sweep, "--resume")
            say(f"it has not ended; complete it with: {command}")
    if not published:
        say("nothing waits to be published")
