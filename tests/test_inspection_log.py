"""What inspections found is logged under fixed names when asked, and not before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import tracking_support as support
from mlflow import MlflowClient

import ae_sweep
from ae_sweep import inspection, plots, tracking
from ae_sweep.analysis import LatentSpace
from ae_sweep.cli.logged import log_or_say
from ae_sweep.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.api import Sweep

SPACE = LatentSpace(
    latent_width=8, images=10, knn_accuracy=0.9, probe_accuracy=0.8, silhouette=0.1,
    active_latents=5, mean_correlation=None, largest_correlation=None, overlaps=(),
)  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    root = support.fresh_store(tmp_path).root
    writer = tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config("one", dims=(8,)), card=support.CARD, environment={}
    )
    support.finish(support.start(writer))
    support.finish_sweep(writer)
    return ae_sweep.load_sweep(store=root)


def spaces(sweep: Sweep) -> inspection.LatentSpaces:
    measured = inspection.MeasuredSpace(sweep.points()[0], SPACE)
    return inspection.LatentSpaces(sweep=sweep.name, spaces=(measured,))


def drawing(sweep: Sweep) -> inspection.Drawing:
    return inspection.Drawing(
        sweep=sweep.name, file="history.png", figure=plots.frontier_figure(sweep.frontier)
    )


def files(sweep: Sweep) -> dict[str, Path]:
    folder = sweep.store.root / "artifacts" / sweep.record.run_id / "artifacts"
    return {path.name: path for path in folder.iterdir()}


def test_metrics_go_to_the_points_run_and_files_to_the_sweeps(sweep: Sweep) -> None:
    before = set(files(sweep))
    found, drawn = spaces(sweep), drawing(sweep)
    assert set(files(sweep)) == before, "a value is not stored"
    inspection.log(sweep, found, drawn)
    assert set(files(sweep)) - before == {"latent_space.json", "history.png"}
    logged = json.loads(files(sweep)["latent_space.json"].read_text())
    assert logged == json.loads(json.dumps(found.document()))
    assert files(sweep)["history.png"].read_bytes().startswith(b"\x89PNG")
    client = MlflowClient(sweep.store.tracking_uri)
    metrics = client.get_run(sweep.points()[0].run_id).data.metrics
    assert {key: value for key, value in metrics.items() if "latent" in key} == {
        "latent_knn_accuracy": 0.9,
        "latent_probe_accuracy": 0.8,
        "latent_silhouette": 0.1,
        "active_latents": 5.0,
    }
    inspection.log(sweep, found, drawn)  # over what is there


def test_what_was_found_in_another_sweep_is_refused(sweep: Sweep) -> None:
    other = inspection.LatentSpaces(sweep="other", spaces=())
    with pytest.raises(ConfigError, match="an inspection of other cannot be logged to one"):
        inspection.log(sweep, other)


def test_a_store_that_refuses_a_file_is_reported_in_one_line(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep.store.root / "artifacts" / sweep.record.run_id
    folder.rename(folder.with_name("away"))
    folder.write_bytes(b"a file, where a directory is meant")
    with pytest.raises(StoreError):
        inspection.log(sweep, drawing(sweep))
    log_or_say(sweep, drawing(sweep))
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("not logged to MLflow: the store ")


def test_a_value_shows_itself_in_a_notebook(sweep: Sweep) -> None:
    assert drawing(sweep)._repr_png_().startswith(b"\x89PNG")
