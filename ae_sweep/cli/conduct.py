"""Owns the course of ``ae-sweep run`` once it is planned: train, track, tell, however it ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from ae_sweep import analysis, plots, sweep, tracking, training
from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import EXIT_INTERRUPTED
from ae_sweep.cli.frontier_text import print_frontier, table_rows
from ae_sweep.cli.options import store_option
from ae_sweep.cli.plan_text import plan_lines
from ae_sweep.cli.progress import show_progress
from ae_sweep.errors import NotStoredError
from ae_sweep.runner.environment import environment
from ae_sweep.runner.interrupts import Interrupts
from ae_sweep.runner.tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.tracking import SweepWriter, TrackingStore


def conduct(
    prepared: SweepSetup,
    store: Store,
    *,
    look: Callable[[], Estimate],
    again: str,
    resume: bool,
    json_output: bool,
) -> None:
    """Run a sweep from its first measurement to its table of results.

    Parameters
    ----------
    look
        Measures, and tells what is about to be done.
    again
        The command that completes the sweep after an interruption.

    Raises
    ------
    typer.Exit
        After an interruption, with everything stored in order.
    """
    interrupts = Interrupts()
    with interrupts.caught(), contextlib.ExitStack() as held:
        outlook = look()
        for line in plan_lines(outlook):
            say(line)
        runs = tracking.open_for_writing(store)
        # From its creation to the try that ends it, no interruption may come between.
        held.enter_context(interrupts.shield())
        writer = _open_sweep(runs, prepared, resume=resume)
        try:
            held.close()
            _train(outlook, store, runs, writer, interrupts=interrupts)
            _tell_result(prepared.config, store, runs, writer, json_output=json_output)
        except KeyboardInterrupt:
            # A second Ctrl-C has nothing to add.
            with contextlib.suppress(KeyboardInterrupt), interrupts.shield():
                writer.interrupt()
                say(f"interrupted; complete it with: {again}")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            writer.fail(f"{type(error).__name__}: {error}")
            raise


def _open_sweep(runs: TrackingStore, prepared: SweepSetup, *, resume: bool) -> SweepWriter:
    card = prepared.card
    if resume:
        return runs.resume_sweep(prepared.config, card=card)
    return runs.start_sweep(prepared.config, card=card, environment=environment())


def _train(
    outlook: Estimate,
    store: Store,
    runs: TrackingStore,
    writer: SweepWriter,
    *,
    interrupts: Interrupts,
) -> None:
    pool, setup = outlook.pool, outlook.setup
    config = setup.config
    with pool.at_work() as worker:
        driver = sweep.Driver(
            config,
            studies=sweep.open_studies(store.optuna_path, config, identity=setup.identity()),
            worker=worker,
            tracker=MlflowTracker(
                writer,
                card=setup.card,
                recipe=training.recipe_name(config),
                parameters={**setup.parameters(), **pool.parameters(), **environment()},
                finished=runs.finished_points(config.name),
            ),
            shield=interrupts.shield,
        )
        with contextlib.closing(driver.run()) as events:
            for _ in show_progress(events, outlook=outlook):
                pass


def _tell_result(
    config: SweepConfig,
    store: Store,
    runs: TrackingStore,
    writer: SweepWriter,
    *,
    json_output: bool,
) -> None:
    record, trials = runs.sweep_with_trials(config.name)
    frontier = analysis.frontier(trials, sweep=record.name, dataset=record.config.get("dataset"))
    document = analysis.to_document(frontier)
    figure = plots.frontier_figure(frontier)
    writer.finish(
        figures={f"frontier.{kind}": plots.render(figure, kind) for kind in ("png", "svg")},
        table=table_rows(frontier),
        document=document,
    )
    if json_output:
        print_json(
            {
                "sweep": config.name,
                "store": str(store.root),
                "tracking_uri": store.told_tracking_uri,
                "frontier": document,
            }
        )
    else:
        print_frontier(frontier)
    _say_next(config, store)
    measured = {point.condition for point in frontier.points}
    missing = [each for each in config.conditions if each not in measured]
    if missing:
        raise NotStoredError(
            f"no trial finished for {analysis.listed_conditions(missing)}; the MLflow UI tells "
            f"each trial's failure: ae-sweep ui{store_option(store)}"
        )


def _say_next(config: SweepConfig, store: Store) -> None:
    where = store_option(store)
    say("")
    say(f"next: ae-sweep frontier {config.name}{where}   the curve as a figure")
    say(f"      ae-sweep ui{where}   runs, pictures and models in the browser")
    say(f"      ae-sweep show {config.name}{where}   every trial")
