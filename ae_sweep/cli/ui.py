"""The command ``ae-sweep ui``: MLflow's UI on a store, for as long as the command runs."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated

import typer

from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import StoreOption, whole_number
from ae_sweep.config import check_port
from ae_sweep.errors import StoreError
from ae_sweep.locations import open_at
from ae_sweep.runner.interrupts import Interrupts

DEFAULT_PORT = 5000


@handled
def ui(
    port: Annotated[
        int, typer.Option(parser=whole_number, metavar="N", help="Port on 127.0.0.1.")
    ] = DEFAULT_PORT,
    browser: Annotated[bool, typer.Option("--open", help="Open the address in a browser.")] = False,
    store: StoreOption = None,
) -> None:
    """Browse runs, pictures and models in the MLflow UI.

    It listens on 127.0.0.1 only and prints the address of the latest sweep; Ctrl-C ends it.

    Example: ae-sweep ui --port 5001
    """
    check_port(port)

    from ae_sweep import tracking

    place = open_at(store, announce=say)
    runs = tracking.open_for_reading(place)
    latest, views = runs.sweep_settings(), runs.views()
    say("starting MLflow's UI")
    with Interrupts().caught():
        try:
            with tracking.running_ui(place, port=port, environment=os.environ) as server:
                address = tracking.sweep_url(server.url, latest)
                for view in views:
                    table = tracking.view_url(
                        server.url, experiment_id=latest.experiment_id, view=view
                    )
                    say(f"{view.name}: {table}")
                say(f"serving {place.runs_place}; Ctrl-C ends it. Latest sweep, {latest.name}:")
                typer.echo(address)
                if browser:
                    webbrowser.open(address)
                status = server.wait()
        except KeyboardInterrupt:
            say("ended")
            return
    raise StoreError(f"MLflow's UI ended by itself with status {status}; start it again")
