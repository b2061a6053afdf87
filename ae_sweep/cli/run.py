"""The command ``ae-sweep run``: its options, the plan and the result it prints."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ae_sweep.cli.closed_output import discard_closed, is_closed
from ae_sweep.cli.console import print_json, print_table, say
from ae_sweep.cli.error_handler import EXIT_INTERRUPTED, handled
from ae_sweep.cli.options import (
    BackgroundOption,
    ColourOption,
    DataDirOption,
    FitOption,
    ImageSizeOption,
    JsonOption,
    ScaleOption,
    StoreOption,
    StrictOption,
    number,
    whole_number,
)
from ae_sweep.cli.table_options import (
    searched_options,
    setting_options,
    with_table_options,
)
from ae_sweep.cluster.settings import make_cluster
from ae_sweep.config.parsing import parse_workers
from ae_sweep.locations import data_dir_at, open_at
from ae_sweep.runner.request import DEFAULT_DEVICE
from ae_sweep.runner.settings import DEFAULTS, DIMS_OF_CODEBOOKS

if TYPE_CHECKING:
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.execution import FinishedSweep
    from ae_sweep.runner.interrupts import Interrupts
    from ae_sweep.runner.request import SweepRequest


def _default(option: str) -> str:
    return f" [default: {DEFAULTS[option]}]"


@handled
@with_table_options({"dims": searched_options, "model": setting_options})
def run(
    dims: Annotated[
        list[str] | None,
        typer.Option(
            "--dims",
            metavar="D ...",
            help="Latent dimensions, or numbers of tokens; or auto, alone or before a grid (auto "
            "1:512 in half octaves, auto 1 2 4 8 16): the most informative about the knee or a "
            "target are chosen among its dims while the sweep runs. "
            f"[default: {DEFAULTS['dims']}; {DIMS_OF_CODEBOOKS} of vqvae and fsq]",
        ),
    ] = None,
    target_psnr: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="DB",
            help="With --dims auto: find the smallest dim that reaches this PSNR of the mean MSE. "
            "[default: the knee is sought]",
        ),
    ] = None,
    target_mse: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="MSE",
            help="With --dims auto: find the smallest dim with at most this error.",
        ),
    ] = None,
    trainings: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="With --dims auto: at most N trainings in all, repeats and stored ones included. "
            "[default: half of what all dims of the grid would take]",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="M",
            help="With --dims auto: beyond the first grid, begin no dim that is expected to end "
            "later than M minutes after the start of this run.",
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
    retries: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="How often a failed trial is tried again, in the same run or by --resume; one "
            "that diverged is tried once more, by --resume." + _default("retries"),
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
            metavar="NAME|PATH",
            help="mnist, fashion-mnist, kmnist, or shapes (generated, offline); or own images: "
            "a folder of pictures, a .npz or .npy file, a folder of IDX files."
            + _default("dataset"),
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    fit: FitOption = None,
    colour: ColourOption = None,
    background: BackgroundOption = None,
    scale: ScaleOption = False,
    strict: StrictOption = False,
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
            "vae: variational. vqvae: tokens with a learned codebook. fsq: tokens of a fixed "
            "grid. ntc: trained for the rate of its rounded latents." + _default("model"),
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
    ] = DEFAULT_DEVICE,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Train N trials at a time, each in a process with its share of the cores, or as "
            "many as a short measurement finds best, or as a cluster holds. On a CPU, the number "
            "of threads decides the last digits of a result. [default: on a CPU, for a long sweep "
            "one trial of as many studies as there are cores, else 1; auto with --cluster]",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|local",
            help="Train on the nodes of a Ray cluster, of which this machine is one: the address "
            "of its head. local starts a cluster of this machine and ends it. Needs the extra "
            "ae-sweep[cluster].",
        ),
    ] = None,
    cpus_per_trial: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="With --cluster: processor cores of each trial, and the threads it computes with. "
            "[default: 1]",
        ),
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="X",
            help="With --cluster: GPUs of each trial, 0 to 1; 0.25 trains four on each GPU. "
            "[default: 1 where the cluster has any]",
        ),
    ] = None,
    data_on_nodes: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="With --cluster: where every node finds the images by itself, of a named data set "
            "the directory of its files. They are sent to the nodes if left out.",
        ),
    ] = None,
    image_memory: Annotated[
        float | None,
        typer.Option(
            parser=number,
            metavar="GB",
            help="Memory that the images may take in each process; if they are larger, they are "
            "read batch by batch. No result depends on it. [default: half of what there is]",
        ),
    ] = None,
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
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="With --resume: take the sweep over from a process on another machine, which must "
            "have ended.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the estimated time, then exit.")
    ] = False,
    store: StoreOption = None,
    json_output: JsonOption = False,
    **table_options: Any,
) -> None:
    """Run a tracked sweep: one Optuna study for each latent dim and value of the model's settings.

    Each study tunes learning rate and epochs; every trial becomes an MLflow run with its picture
    and model.

    A list of values is separated by spaces, LO:HI is a range, one value is fixed. The table of
    results goes to stdout, everything else to stderr.

    Example: ae-sweep run --dims 2 8 32 128 1024
    """
    place, files = open_at(store, announce=say), data_dir_at(data_dir)
    asked = make_cluster(
        cluster,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        data_on_nodes=data_on_nodes,
    )
    wanted = parse_workers(workers, on_cluster=asked is not None)
    given = {
        **table_options, "dims": dims, "trials": trials, "repeats": repeats, "retries": retries,
        "seed": seed, "dataset": dataset, "train_limit": train_limit, "model": model,
        "sampler": sampler, "pruner": pruner, "method": method, "image_size": image_size,
        "fit": fit, "colour": colour, "background": background, "scale": scale or None,
        "strict": strict or None, "target_psnr": target_psnr, "target_mse": target_mse,
        "trainings": trainings, "minutes": minutes,
    }  # fmt: skip

    from ae_sweep.runner.request import make_request

    request = make_request(
        name,
        given,
        store=place,
        now=time.localtime(),
        announce=say,
        resume=resume,
        take_over=take_over,
        data_dir=files,
        device=device,
        workers=wanted,
        share_cores=workers is None and asked is None,
        cluster=asked,
        image_memory=image_memory,
    )

    from ae_sweep.cli.plan_text import plan_lines
    from ae_sweep.runner.interrupts import Interrupts
    from ae_sweep.runner.planning import plan_sweep

    interrupts = Interrupts()
    with interrupts.caught():
        with contextlib.closing(plan_sweep(request, announce=say)) as estimate:
            document, lines = estimate.document(), plan_lines(estimate)
            if not dry_run:
                for line in lines:
                    say(line)
                finished = _train(request, estimate, interrupts)
        if not dry_run:
            _print_result(finished, request, json_output=json_output)
        elif json_output:
            print_json(document)
        else:
            typer.echo("\n".join(lines))


def _train(request: SweepRequest, estimate: Estimate, interrupts: Interrupts) -> FinishedSweep:
    from ae_sweep.cli.progress import show_progress
    from ae_sweep.runner.execution import execute, is_stored

    interrupts.at_once = partial(_end_at_once, request)
    try:
        with interrupts.watched():
            events = execute(request, estimate, shield=interrupts.shield, announce=say)
            return show_progress(events, estimate=estimate)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        if not is_closed(error):
            raise
        discard_closed()
    with contextlib.suppress(KeyboardInterrupt), interrupts.shield():
        say(f"interrupted{_advice(request) if is_stored(request) else ''}")
    raise typer.Exit(EXIT_INTERRUPTED) from None


def _advice(request: SweepRequest) -> str:
    return f"; complete it with: {request.resume_command}"


def _end_at_once(request: SweepRequest) -> None:
    """End the process in whatever it does; worker processes end with it."""
    shown = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # the live display hides the cursor
    with contextlib.suppress(OSError):  # not through the stream, which may be in the middle of it
        os.write(2, f"{shown}ended at once{_advice(request)}\n".encode())
    os._exit(EXIT_INTERRUPTED)


def _print_result(finished: FinishedSweep, request: SweepRequest, *, json_output: bool) -> None:
    from ae_sweep import analysis, tables

    config, store, answer = request.config, request.store, finished.answer
    if json_output:
        print_json(
            {
                "sweep": config.name,
                "store": str(store.root),
                "tracking_uri": store.redacted_tracking_uri,
                "frontier": analysis.to_document(finished.frontier),
                **({"answer": answer.document()} if answer is not None else {}),
            }
        )
    else:
        print_table(tables.frontier_table(finished.frontier))
        for line in analysis.worse_than_linear(
            finished.frontier.points, finished.frontier.linear_mse
        ):
            say(line)
    if answer is not None:
        say(f"answer: {answer.sentence}")
    say("")
    say(f"next: {store.command('frontier', config.name)}   the curve as a figure")
    say(f"      {store.command('ui')}   runs, pictures and models in the browser")
    say(f"      {store.command('show', config.name)}   every trial")
    finished.check()
