"""Owns ``ae-sweep run``: its options, and the plan they make."""

from __future__ import annotations

import contextlib
import shlex
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.cli.console import print_json, say
from ae_sweep.cli.error_handler import handled
from ae_sweep.cli.options import DataDirOption, JsonOption, StoreOption, store_option, whole_number
from ae_sweep.config import NAME_PATTERN
from ae_sweep.config.parsing import parse_workers
from ae_sweep.errors import ConfigError, NotStoredError
from ae_sweep.locations import DEFAULT_STORE, data_dir_at, open_at
from ae_sweep.runner.settings import DEFAULTS, DIMS_OF_CODEBOOKS, make_config, stored_settings

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.setup import SweepSetup

DEFAULT_DEVICE = "auto"


def _default(option: str) -> str:
    return f" [default: {DEFAULTS[option]}]"


@handled
def run(
    dims: Annotated[
        list[str] | None,
        typer.Option(
            "--dims",
            metavar="D ...",
            help=f"Latent dimensions, or numbers of tokens. [default: {DEFAULTS['dims']}; "
            f"{DIMS_OF_CODEBOOKS} of vqvae and fsq]",
        ),
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
        str | None,
        typer.Option(
            metavar="NAME",
            help="conv: convolutions, the reference. mlp: fully connected, as many parameters. "
            "vae: variational. vqvae: tokens with a learned codebook. fsq: tokens of a fixed grid."
            + _default("model"),
        ),
    ] = None,
    beta: Annotated[
        list[str] | None,
        typer.Option(
            "--beta",
            metavar="B ... | LO:HI",
            help="Of vae: weights of the rate (KL divergence), one study each for every dim; of a "
            "range, five. [default: 0.1]",
        ),
    ] = None,
    codebook: Annotated[
        list[str] | None,
        typer.Option(
            "--codebook",
            metavar="K ...",
            help="Of vqvae and fsq: how many different tokens there are, one study each for every "
            "dim, which is the number of tokens. [default: 256]",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
    ] = DEFAULT_DEVICE,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Train N trials at a time, each in a process with its share of the cores, or as "
            "many as a short measurement finds best. On a CPU, the number of threads decides "
            "the last digits of a result.",
        ),
    ] = "1",
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tpe, random, grid or gp." + _default("sampler")),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="median, hyperband or none." + _default("pruner")),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="separate: trainings of its own for each dim. nested: one network for all dims, "
            "cut and fine-tuned for each; one lr (4e-3), one number of epochs (4), one trial."
            + _default("method"),
        ),
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
    """Run a tracked sweep: one Optuna study for each latent dim and value of the model's setting.

    Each study tunes learning rate and epochs; every trial becomes an MLflow run with its picture
    and model.

    A list of values is separated by spaces, LO:HI is a range, one value is fixed. The table of
    results goes to stdout, everything else to stderr.

    Example: ae-sweep run --dims 2 8 32 128 1024
    """
    place, files = open_at(store), data_dir_at(data_dir)
    wanted = parse_workers(workers)
    given = {
        "dims": dims, "lr": lr, "epochs": epochs, "trials": trials, "repeats": repeats,
        "seed": seed, "dataset": dataset, "train_limit": train_limit, "model": model,
        "beta": beta, "codebook": codebook,
        "sampler": sampler, "pruner": pruner, "method": method,
    }  # fmt: skip
    if resume and name is None:
        raise ConfigError("--resume needs the sweep's --name; ae-sweep list tells the names")
    stored = stored_settings(name, place) if resume and name else {}
    title = name if name is not None else _new_name(dataset or DEFAULTS["dataset"])
    config = make_config(title, given, stored, announce=say)
    if config.method == "nested" and wanted != 1:
        raise ConfigError(
            f"--method nested trains one network in one process, and --workers is {workers}; "
            "leave --workers out"
        )

    from ae_sweep import sweep, tracking

    # Before anything is fetched or measured; the data set's digest is compared later.
    with contextlib.suppress(NotStoredError):
        tracking.open_for_reading(place)
    sweep.check_conflict(place.optuna_path, config, identity=config.identity(), resume=resume)

    from ae_sweep.runner.setup import prepare

    prepared = prepare(config, data_dir=files, device_name=device, workers=wanted, announce=say)
    look = partial(_estimate, prepared, wanted, place, resume=resume)
    if dry_run:
        _tell_plan(look(), json_output=json_output)
        return

    from ae_sweep.cli.conduct import conduct

    again = _again(config, place, data_dir=files, device=device)
    conduct(prepared, place, look=look, again=again, resume=resume, json_output=json_output)


def _new_name(dataset: str) -> str:
    # A data set that cannot be is refused as such later, not as a part of this name.
    stem = dataset if len(dataset) < 80 and NAME_PATTERN.fullmatch(dataset) else "sweep"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"


def _estimate(prepared: SweepSetup, workers: int | None, store: Store, *, resume: bool) -> Estimate:
    from ae_sweep import sweep, tracking
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.workers import measure_pool

    config, identity = prepared.config, prepared.identity()
    sweep.check_conflict(store.optuna_path, config, identity=identity, resume=resume)
    trials = tracking.open_for_reading(store).trials(config.name) if resume else []
    plan = sweep.make_plan(
        config,
        filled=sweep.filled_slots(store.optuna_path, config),
        repeated=sweep.finished_repeats(config, trials),
    )
    pool = measure_pool(prepared, workers, trials=plan.trials, announce=say)
    return Estimate(plan=plan, pool=pool, store=store)


def _tell_plan(outlook: Estimate, *, json_output: bool) -> None:
    from ae_sweep.cli.plan_text import plan_lines

    if json_output:
        print_json(outlook.document())
    else:
        typer.echo("\n".join(plan_lines(outlook)))


def _again(config: SweepConfig, store: Store, *, data_dir: Path | None, device: str) -> str:
    files = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    on = "" if device == DEFAULT_DEVICE else f" --device {device}"
    return f"ae-sweep run --name {config.name} --resume{files}{on}{store_option(store)}"
