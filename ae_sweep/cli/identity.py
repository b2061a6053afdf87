"""Owns ``ae-sweep identity``: whether a network has learned its images, or to copy any."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ae_sweep.api import load_sweep
from ae_sweep.cli.figures import out_option, write_figure
from ae_sweep.cli.handled import handled
from ae_sweep.cli.options import DataDirOption, DimsOption, JsonOption, StoreOption, SweepArgument
from ae_sweep.cli.talk import print_json, print_table, say
from ae_sweep.cli.values import some_dims
from ae_sweep.places import DEFAULT_STORE, cache_dir

if TYPE_CHECKING:
    import numpy as np

    from ae_sweep.analysis import ProbeResult
    from ae_sweep.api import Sweep
    from ae_sweep.plots import Figure

    Array = np.ndarray[Any, Any]

SCHEMA = "ae-sweep/identity"
IMAGES = 2_000
"""Of each probe: the first test images; more change the third digit."""
SHOWN = 4
OTHER = "shapes"
"""A data set that is there without network."""


@handled
def identity(
    sweep: SweepArgument = None,
    dims: DimsOption = None,
    out: Annotated[Path | None, out_option("identity")] = None,
    data_dir: DataDirOption = None,
    store: StoreOption = DEFAULT_STORE,
    json_output: JsonOption = False,
) -> None:
    """Test whether networks have learned to copy: on noise, inverted and permuted images.

    At and past as many latents as pixels a network could pass everything, as PCA does. Each dim's
    best model rebuilds the first 2,000 test images, the same inverted, with permuted pixels,
    uniform noise, and another data set (shapes). The numbers are put on the runs in MLflow, picture
    and table on the sweep's.

    Example: ae-sweep identity --dims 1024
    """
    wanted = some_dims(dims)

    from ae_sweep import analysis

    opened = load_sweep(sweep, store=store, data_dir=data_dir, announce=say)
    points = opened.points(wanted)
    probes = analysis.probes(opened.dataset.test_NCHW[:IMAGES], other_NCHW=_other(opened))
    pca = analysis.fit_pca(opened.dataset.train_NCHW)
    by_dim: dict[int, list[ProbeResult]] = {}
    for point in points:
        model = opened.model(point.latent_dim)
        rebuilt = {probe: model.reconstruct(x_NCHW) for probe, x_NCHW in probes.items()}
        by_dim[point.latent_dim] = [
            analysis.probe_result(
                probe, x_NCHW, rebuilt[probe], latent_dim=point.latent_dim, pca=pca
            )
            for probe, x_NCHW in probes.items()
        ]
        metrics = {f"identity_{r.probe}_mse": r.mse for r in by_dim[point.latent_dim]}
        opened.runs.add_to_run(point.run_id, metrics=metrics)
    # Of the widest dim, which is the last one.
    figure = _figure(probes, rebuilt, title=f"{opened.name}, d={points[-1].latent_dim}")
    path = out or Path(f"identity-{opened.name}.png")
    write_figure(figure, path)
    results = [result for of_dim in by_dim.values() for result in of_dim]
    verdicts = [analysis.verdict(of_dim) for of_dim in by_dim.values()]
    document = {
        "schema": SCHEMA,
        "schema_version": 1,
        "sweep": opened.name,
        "results": [dataclasses.asdict(result) for result in results],
        "verdicts": verdicts,
    }
    opened.add_picture("identity.png", figure)
    opened.runs.add_to_run(
        opened.record.run_id,
        files={"identity.json": json.dumps(document, indent=2, allow_nan=False).encode()},
    )
    if json_output:
        print_json(document)
    else:
        columns = ["Latent dim", "Probe", "MSE", "PSNR (dB)", "Exact pixels", "Rebuilt", "PCA MSE"]
        print_table(columns, [_cells(result) for result in results])
    for line in verdicts:
        say(line)
    say(f"figure: {path}")


def _other(opened: Sweep) -> Array | None:
    from ae_sweep import data

    card = opened.dataset.card
    if card.name == OTHER:
        say(f"no other data set is tried: the sweep's own is {OTHER}")
        return None
    other = data.load(OTHER, cache_dir=cache_dir())
    if other.card.image_shape != card.image_shape:
        say(f"no other data set is tried: {OTHER} has images of another shape")
        return None
    return other.test_NCHW[:IMAGES]


def _figure(probes: dict[str, Array], rebuilt: dict[str, Array], *, title: str) -> Figure:
    from ae_sweep import analysis, plots

    rows = []
    for probe, x_NCHW in probes.items():
        rows.append(plots.ImageRow(probe, x_NCHW[:SHOWN]))
        rows.append(plots.ImageRow("rebuilt", analysis.as_bytes(rebuilt[probe][:SHOWN])))
    return plots.image_rows_figure(rows, title=title)


def _cells(result: ProbeResult) -> list[str]:
    return [
        str(result.latent_dim),
        result.probe,
        f"{result.mse:.5f}",
        "perfect" if result.psnr is None else f"{result.psnr:.2f}",
        f"{result.exact:.1%}",
        f"{result.rebuilt:.1%}",
        f"{result.pca_mse:.5f}",
    ]
