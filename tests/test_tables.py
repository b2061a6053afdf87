"""Tables are made once, of typed values, and printed by terminal, CSV and HTML alike."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pytest
from rated_records import frontier_of, vae

from ae_sweep import analysis, tables, tracking
from ae_sweep.analysis import LatentSpace, Overlap, ProbeResult
from ae_sweep.cli.console import print_table
from ae_sweep.records import Outcome, SweepRecord
from ae_sweep.report.page import make_table

if TYPE_CHECKING:
    from ae_sweep.tables import Table

TRIALS = [
    vae(8, 0.1, 20.0, 0.02, 8),
    vae(2, 0.1, 9.0, 0.04, 2, test_mse=0.0),
    vae(8, 1.0, 5.0, 0.03, 4),
]
FRONTIER = frontier_of(TRIALS)
POINT = FRONTIER.points[0]
SPACE = LatentSpace(
    latent_width=8, images=10, knn_accuracy=0.9, probe_accuracy=0.8, silhouette=0.1,
    active_latents=5, mean_correlation=None, largest_correlation=None,
    overlaps=tuple(
        Overlap(classes=(one, one + 1), names=("a", "b"), share=0.1) for one in range(5)
    ),
)  # fmt: skip
PROBE = ProbeResult(
    latent_dim=8, probe="noise", images=3, mse=0.25, psnr=None, exact=0.5, rebuilt=0.9, pca_mse=0.1
)
SWEEP = SweepRecord(
    run_id="r", experiment_id="1", name="3d [bold]", outcome=Outcome.FINISHED, started_ms=0,
    config={"dims": "2 8", "dataset": "shapes", "model": "vae", "beta": "0.1"}, dataset_digest="d",
    counts={Outcome.FINISHED: 3},
)  # fmt: skip
ALL = {
    "frontier": tables.frontier_table(FRONTIER),
    "points": tables.points(FRONTIER),
    "codes": tables.codes(FRONTIER.points),
    "trials": tables.trials(TRIALS),
    "sweeps": tables.sweeps([SWEEP]),
    "latent spaces": tables.latent_spaces([(POINT, SPACE)]),
    "overlaps": tables.overlaps([(POINT, SPACE)]),
    "copy test": tables.copy_test([(POINT, PROBE)]),
    "importances": tables.importances({"d=2": {"lr": 0.9}, "d=8": {"epochs": 0.2}}),
    "pairs": tables.pairs("Settings", [("b", "2"), ("a", "1")]),
}


@pytest.fixture(params=ALL.values(), ids=ALL)
def table(request: pytest.FixtureRequest) -> Table:
    assert request.param is not None
    result: Table = request.param
    return result


def test_every_value_is_of_its_columns_kind(table: Table) -> None:
    for column in table.columns:
        values = [row.get(column.key) for row in table.rows]
        kinds = (int, float) if column.kind is float else column.kind
        assert all(value is None or isinstance(value, kinds) for value in values), column
        assert any(value is not None for value in values) or column.missing or column.kind is float


def test_terminal_and_page_have_the_same_texts(
    table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(table)
    header, *lines = capsys.readouterr().out.splitlines()
    page = make_table(table, link="run/{}".format if table.run_ids else None)
    assert all(column.split(" (")[0] in header for column in page.columns)
    assert len(lines) == len(page.rows) == len(table.rows)
    for line, row in zip(lines, page.rows, strict=True):
        printed = [cell.text.replace("–", "-") for cell in row]
        assert line.split() == " ".join(printed).split()
        assert bool(row[0].address) == bool(table.run_ids)
    assert table.caption == page.caption


def test_csv_has_every_value_unrounded_and_nothing_where_nothing_was_measured(
    table: Table,
) -> None:
    text = tracking.table_csv(table.records())
    header, *rows = csv.reader(io.StringIO(text))
    assert header == table.titles
    for row, values in zip(rows, table.rows, strict=True):
        wanted = [values.get(column.key) for column in table.columns]
        assert row == ["" if value is None else str(value) for value in wanted]


def test_the_table_of_a_frontier_is_that_in_mlflow() -> None:
    rows = analysis.table_rows(FRONTIER)
    table = tables.frontier_table(FRONTIER)
    assert table.titles == list(rows[0])
    assert tracking.table_csv(table.records()) == tracking.table_csv(rows)
    assert "beta" in table.titles
    psnr = [row[table.titles.index("PSNR (dB)")] for row in table.texts()]
    assert psnr[0] == "perfect"


def test_a_point_is_named_by_its_condition_in_a_report() -> None:
    table = tables.points(FRONTIER)
    assert table.titles[:2] == ["Condition", "Compression"]
    assert table.columns[1].heading == "Compression (pixels per latent)"
    assert [row[0] for row in table.texts()] == [str(point.condition) for point in FRONTIER.points]
    assert table.run_ids == tuple(point.run_id for point in FRONTIER.points)


def test_columns_that_would_be_empty_are_left_out() -> None:
    bare = [dataclasses.replace(trial, rate={}, val_penalty=0.0) for trial in TRIALS]
    assert {"Bits", "Val objective"} <= set(tables.trials(TRIALS).titles)
    assert not {"Bits", "Val objective"} & set(tables.trials(bare).titles)


def test_numbers_are_to_the_right_and_texts_to_the_left_whatever_they_begin_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    longer = dataclasses.replace(SWEEP, name="4 longer", counts={Outcome.FINISHED: 1000})
    print_table(tables.sweeps([SWEEP, longer]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Sweep", "3d", "4"]
    assert all(not line.startswith(" ") for line in lines)
    finished = lines[0].index("Finished") + len("Finished")
    assert [line[:finished].split()[-1] for line in lines[1:]] == ["3", "1000"]


def test_a_column_is_left_out_by_key(table: Table) -> None:
    keys = [column.key for column in table.columns]
    assert [column.key for column in table.without(keys[0]).columns] == keys[1:]


def test_a_stored_sweeps_trials_are_the_rows_of_the_python_table() -> None:
    rows: list[dict[str, Any]] = analysis.trial_rows(TRIALS)
    assert [tuple(row) for row in rows] == [analysis.TRIAL_KEYS] * len(TRIALS)
    assert tables.trials(TRIALS).rows == tuple(rows)
