"""Owns ``ae-sweep latent``: what the latents know of classes, in numbers and as a picture."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ae_sweep.api import load_sweep
from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import (
    DataDirOption,
    JsonOption,
    StoreOption,
    SweepArgument,
    whole_number,
)
from ae_sweep.cli.talk import print_json, print_table, say
from ae_sweep.places import DEFAULT_STORE

if TYPE_CHECKING:
    from ae_sweep.analysis import FrontierPoint, LatentSpace
    from ae_sweep.api import Sweep

SCHEMA = "ae-sweep/latent-space"


@handled
def latent(
    sweep: SweepArgument = None,
    dim: Annotated[
        int | None,
        typer.Option(
            "--dim",
            parser=whole_number,
            metavar="D",
            help="Latent dimension to draw. [default: the measured one nearest to 2]",
        ),
    ] = None,
    out: Annotated[Path | None, out_option("latent")] = None,
    data_dir: DataDirOption = None,
    store: StoreOption = DEFAULT_STORE,
    json_output: JsonOption = False,
) -> None:
    """Measure how well latents tell classes apart, at every dim, and draw one plane of them.

    Labels are used here alone, never in training: the classes of the 10 nearest other test images,
    a logistic regression fitted on the validation images, the silhouette, and which classes
    overlap. Beyond two latents the plane is that of their first two principal components. The
    numbers are put on the runs in MLflow, picture and table on the sweep's.

    Example: ae-sweep latent --dim 2
    """
    from ae_sweep import analysis, plots

    opened = load_sweep(sweep, store=store, data_dir=data_dir, announce=say)
    points = opened.points()
    latent_dim = opened.nearest(2).latent_dim if dim is None else opened.points([dim])[0].latent_dim
    dataset = opened.dataset
    model = opened.model(latent_dim)
    z_ND = model.encode(dataset.test_NCHW)
    plane = analysis.plane(z_ND)
    figure = plots.latent_plane_figure(
        plane.coordinates(z_ND),
        dataset.test_labels_N,
        axes_names=[
            f"{name} ({share:.0%} of variance)"
            for name, share in zip(plane.names, plane.shares, strict=True)
        ],
        title=f"{opened.name}, d={latent_dim}: test images by class",
    )
    path = out or Path(f"latent-{opened.name}.png")
    write_figure(figure, path)
    spaces = [_measured(opened, point) for point in points]
    document = {"schema": SCHEMA, "schema_version": 1, "sweep": opened.name}
    document["spaces"] = [dataclasses.asdict(space) for space in spaces]
    opened.add_picture("latent_plane.png", figure)
    opened.runs.add_to_run(
        opened.record.run_id,
        files={"latent_space.json": json.dumps(document, indent=2, allow_nan=False).encode()},
    )
    if json_output:
        print_json(document)
    else:
        print_table(
            ["Latent dim", "k-NN", "Linear probe", "Silhouette", "Active", "Correlation"],
            [_cells(space) for space in spaces],
        )
    for space in spaces:
        say(_overlapping(space))
    say(f"figure: {path}")


def _measured(opened: Sweep, point: FrontierPoint) -> LatentSpace:
    from ae_sweep import analysis

    dataset, model = opened.dataset, opened.model(point.latent_dim)
    space = analysis.latent_space(
        model.encode(dataset.test_NCHW),
        dataset.test_labels_N,
        fit_z_ND=model.encode(dataset.val_NCHW),
        fit_labels_N=dataset.val_labels_N,
    )
    metrics = {
        "latent_knn_accuracy": space.knn_accuracy,
        "latent_probe_accuracy": space.probe_accuracy,
        "latent_silhouette": space.silhouette,
        "active_latents": space.active_latents,
    }
    if space.mean_correlation is not None:
        metrics["latent_correlation"] = space.mean_correlation
    opened.runs.add_to_run(point.run_id, metrics=metrics)
    return space


def _cells(space: LatentSpace) -> list[str]:
    correlation = space.mean_correlation
    return [
        str(space.latent_dim),
        f"{space.knn_accuracy:.1%}",
        f"{space.probe_accuracy:.1%}",
        f"{space.silhouette:.3f}",
        f"{space.active_latents}/{space.latent_dim}",
        "-" if correlation is None else f"{correlation:.3f}",
    ]


def _overlapping(space: LatentSpace) -> str:
    if not space.overlaps:
        return f"d={space.latent_dim}: no two classes overlap"
    pairs = ", ".join(
        f"{pair.classes[0]}/{pair.classes[1]} ({pair.share:.1%})" for pair in space.overlaps
    )
    return f"d={space.latent_dim}: most often taken for each other: {pairs}"
