"""Owns ``ae-sweep run``: plan, train, track, tell."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.handled import EXIT_INTERRUPTED, handled
from ae_sweep.cli.interrupts import Interrupts
from ae_sweep.cli.options import (
    DEFAULT_STORE,
    DataDirOption,
    JsonOption,
    StoreOption,
    data_dir_at,
    open_at,
    whole_number,
)
from ae_sweep.cli.settings import DEFAULTS, make_config, stored_settings
from ae_sweep.cli.talk import print_json, say
from ae_sweep.config import NAME_PATTERN
from ae_sweep.errors import ConfigError, NotStoredError

if TYPE_CHECKING:
    from ae_sweep.cli.outlook import Outlook
    from ae_sweep.cli.prepared import Prepared
    from ae_sweep.config import Store, SweepConfig
    from ae_sweep.tracking import SweepWriter, TrackingStore

DEFAULT_DEVICE = "auto"


def _default(option: str) -> str:
    return f" [default: {DEFAULTS[option]}]"


@handled
def run(
    dims: Annotated[
        list[str] | None,
        typer.Option("--dims", metavar="D ...", help="Latent dimensions." + _default("dims")),
    ] = None,
    lr: Annotated[
        list[str] | None,
        typer.Option(
            "--lr",
            metavar="LR ... | LO:HI",
            help="Peak learning rates to choose from, or a log-uniform range." + _default("lr"),
        ),
    ] = None,
    epochs: Annotated[
        list[str] | None,
        typer.Option(
            "--epochs",
            metavar="N ... | LO:HI",
            help="Numbers of epochs to choose from, or a range." + _default("epochs"),
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Trials per dim." + _default("trials")),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Train the best of each dim again with N other seeds." + _default("repeats"),
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Seeds suggestions and trainings." + _default("seed"),
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="mnist, fashion-mnist, kmnist, or shapes (generated, offline)."
            + _default("dataset"),
        ),
    ] = None,
    data_dir: DataDirOption = None,
    train_limit: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Train on N images only; all if left out."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Architecture." + _default("model"))
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
    ] = DEFAULT_DEVICE,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tpe, random, grid or gp." + _default("sampler")),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="median, hyperband or none." + _default("pruner")),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the sweep; data set and time if left out."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Complete the stored sweep --name; its settings hold.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell the plan and the expected time, then stop.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json_output: JsonOption = False,
) -> None:
    """Run a tracked sweep: one Optuna study for each latent dim.

    Each study tunes learning rate and epochs; every trial becomes an MLflow run with its picture
    and model.

    A list of values is separated by spaces, LO:HI is a range, one value is fixed. The table of
    results goes to stdout, everything else to stderr.

    Example: ae-sweep run --dims 2 8 32 128 1024
    """
    place, files = open_at(store), data_dir_at(data_dir)
    given = {
        "dims": dims, "lr": lr, "epochs": epochs, "trials": trials, "repeats": repeats,
        "seed": seed, "dataset": dataset, "train_limit": train_limit, "model": model,
        "sampler": sampler, "pruner": pruner,
    }  # fmt: skip
    if resume and name is None:
        raise ConfigError("--resume needs the sweep's --name; ae-sweep list tells the names")
    stored = stored_settings(name, place) if resume and name else {}
    title = name if name is not None else _new_name(dataset or DEFAULTS["dataset"])
    config = make_config(title, given, stored)

    from ae_sweep import sweep, tracking

    # Before anything is fetched or measured; the data set's digest is compared later.
    with contextlib.suppress(NotStoredError):
        tracking.open_for_reading(place)
    sweep.check_conflict(place.optuna_path, config, identity=config.identity(), resume=resume)

    from ae_sweep.cli.prepared import prepare

    prepared = prepare(config, data_dir=files, device_name=device)
    if dry_run:
        _tell_plan(_outlook(prepared, place, resume=resume), json_output=json_output)
        return
    again = _again(config, place, data_dir=files, device=device)
    _run(prepared, place, again=again, resume=resume, json_output=json_output)


def _new_name(dataset: str) -> str:
    # A data set that cannot be is refused as such later, not as a part of this name.
    stem = dataset if len(dataset) < 80 and NAME_PATTERN.fullmatch(dataset) else "sweep"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def _outlook(prepared: Prepared, store: Store, *, resume: bool) -> Outlook:
    from ae_sweep import sweep, tracking
    from ae_sweep.cli.outlook import Outlook

    config, identity = prepared.config, prepared.identity()
    sweep.check_conflict(store.optuna_path, config, identity=identity, resume=resume)
    trials = tracking.open_for_reading(store).trials(config.name) if resume else []
    plan = sweep.make_plan(
        config,
        filled=sweep.filled_slots(store.optuna_path, config),
        repeated=sweep.finished_repeats(config, trials),
    )
    say("measuring the speed of a few training steps")
    return Outlook(plan, prepared, store=store, speeds=prepared.measure_speed())


def _tell_plan(outlook: Outlook, *, json_output: bool) -> None:
    if json_output:
        print_json(outlook.document())
    else:
        typer.echo("\n".join(outlook.lines()))


def _run(prepared: Prepared, store: Store, *, again: str, resume: bool, json_output: bool) -> None:
    from ae_sweep import tracking

    interrupts = Interrupts()
    with interrupts.caught(), contextlib.ExitStack() as held:
        outlook = _outlook(prepared, store, resume=resume)
        for line in outlook.lines():
            say(line)
        runs = tracking.open_for_writing(store)
        # From its creation to the try that ends it, no interruption may come between.
        held.enter_context(interrupts.shield())
        writer = _open_sweep(runs, prepared, resume=resume)
        try:
            held.close()
            _train(prepared, store, runs, writer, outlook=outlook, interrupts=interrupts)
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


def _open_sweep(runs: TrackingStore, prepared: Prepared, *, resume: bool) -> SweepWriter:
    from ae_sweep.cli.environment import environment

    card = prepared.images.card
    if resume:
        return runs.resume_sweep(prepared.config, card=card)
    return runs.start_sweep(prepared.config, card=card, environment=environment())


def _train(
    prepared: Prepared,
    store: Store,
    runs: TrackingStore,
    writer: SweepWriter,
    *,
    outlook: Outlook,
    interrupts: Interrupts,
) -> None:
    from ae_sweep import sweep, training
    from ae_sweep.cli.environment import environment
    from ae_sweep.cli.progress import show_progress
    from ae_sweep.cli.tracked import TrackedSweep

    config = prepared.config
    driver = sweep.Driver(
        config,
        studies=sweep.open_studies(store.optuna_path, config, identity=prepared.identity()),
        worker=sweep.InlineWorker(
            lambda trial: training.train(trial, prepared.images, precision=prepared.precision)
        ),
        tracker=TrackedSweep(
            writer,
            card=prepared.images.card,
            recipe=training.RECIPE.version,
            parameters={**prepared.parameters(), **environment()},
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
    from ae_sweep import analysis, plots
    from ae_sweep.cli.result import frontier_of, print_frontier, table_rows

    record = runs.sweep(config.name)
    frontier = frontier_of(record, runs.trials(config.name))
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
    measured = {point.latent_dim for point in frontier.points}
    missing = [dim for dim in config.dims if dim not in measured]
    if missing:
        raise NotStoredError(
            f"no trial finished for d = {', '.join(map(str, missing))}; ae-sweep show "
            f"{config.name} tells why, and the MLflow UI each trial's failure"
        )


def _say_next(config: SweepConfig, store: Store) -> None:
    where = _where(store)
    say("")
    say(f"next: ae-sweep frontier {config.name}{where}   the curve as a figure")
    say(f"      ae-sweep ui{where}   runs, pictures and models in the browser")
    say(f"      ae-sweep show {config.name}{where}   every trial")


def _again(config: SweepConfig, store: Store, *, data_dir: Path | None, device: str) -> str:
    files = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    on = "" if device == DEFAULT_DEVICE else f" --device {device}"
    return f"ae-sweep run --name {config.name} --resume{files}{on}{_where(store)}"


def _where(store: Store) -> str:
    return (
        ""
        if store.root == Path.cwd() / DEFAULT_STORE
        else f" --store {shlex.quote(str(store.root))}"
    )
