"""The command ``ae-sweep delete``: removes a sweep and frees its name."""

from __future__ import annotations

from typing import Annotated

import typer

from ae_sweep.cli.console import say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import StoreOption
from ae_sweep.errors import ConfigError
from ae_sweep.locations import open_at


@handled
def delete(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this, only say what would be deleted.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Delete a sweep, or what is left of one whose run was deleted in MLflow, and free its name.

    Its runs become MLflow's deleted runs: the MLflow UI shows and restores them until `mlflow gc`
    removes them with their files.

    Example: ae-sweep delete digits --yes
    """
    from ae_sweep.runner.deletion import delete_sweep, stored_parts

    place = open_at(store, announce=say)
    if not yes and (parts := stored_parts(sweep, place)):
        raise ConfigError(
            f"this would delete the sweep {sweep}: {parts}; to do it: "
            f"`{place.command('delete', sweep, '--yes')}`"
        )
    say(f"deleted the sweep {sweep}: {delete_sweep(sweep, place)}")
