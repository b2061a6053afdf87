"""What is stored, as the commands tell it: tables, CSV, JSON, the curve, taken names."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support

from ae_sweep import tracking
from ae_sweep.records import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEST_MSE = {2: 0.04, 4: 0.02, 8: 0.01, 16: 0.006}
COLUMNS = ["Latent dim", "Compression", "Test MSE", "PSNR (dB)", "best lr", "epochs"]


def _write(store_root: Path, name: str, dims: tuple[int, ...]) -> None:
    """Write a sweep with two finished trials, a pruned and a failed one for each dim."""
    writer = tracking.open_for_writing(support.Store(store_root)).start_sweep(
        support.config(name, dims=dims), card=support.CARD, environment={}
    )
    for dim in dims:
        mse = TEST_MSE[dim]
        for number, worse in enumerate((1.0, 1.5)):
            trial = writer.start_trial(
                name=f"d={dim} trial {number}",
                point=support.point(dim, lr=0.004 / worse),
                role=Role.SEARCH,
                parameters=support.PARAMETERS,
            )
            support.finish(
                trial,
                val_mse=worse * mse,
                # The worse trial by validation is the better one on the test images.
                test_mse=mse / worse,
                test_psnr=20.0,
                compression_ratio=784 / dim,
            )
        support.start(writer, support.point(dim, seed=3)).prune()
        support.start(writer, support.point(dim, seed=4)).fail("lr too large [bold]")
    support.finish_sweep(writer)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = support.fresh_store(tmp_path_factory.mktemp("[bold] stored")).root
    _write(root, "lonely", (2,))
    _write(root, "pair", (2, 4))
    _write(root, "four", (2, 4, 8, 16))
    return root


@pytest.fixture
def at(cli: Callable[..., Any], store: Path) -> Callable[..., Any]:
    return lambda *words: cli(*words, "--store", str(store))


def test_list_tells_every_sweep_the_newest_first_with_its_counts(at: Callable[..., Any]) -> None:
    done = at("list")
    assert (done.code, done.err) == (0, "")
    header, *rows = done.out.splitlines()
    assert header.split("  ")[0] == "Sweep"
    assert [row.split()[0] for row in rows] == ["four", "pair", "lonely"]
    assert rows[0].split()[-3:] == ["8", "4", "4"]
    assert "conv" in rows[0].split()


def test_list_and_show_give_one_json_document_each(at: Callable[..., Any]) -> None:
    listed = json.loads(at("list", "--json").out)
    assert [sweep["name"] for sweep in listed] == ["four", "pair", "lonely"]
    assert listed[0]["counts"]["finished"] == 8
    shown = json.loads(at("show", "four", "--json").out)
    assert len(shown["trials"]) == 16
    assert {trial["outcome"] for trial in shown["trials"]} == {"finished", "pruned", "failed"}
    assert shown["config"]["dims"] == "2 4 8 16"


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_a_table_is_whole_however_narrow_the_place(
    at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    whole = at("show", "four").out
    monkeypatch.setenv("COLUMNS", columns)
    assert at("show", "four").out == whole
    assert "…" not in whole
    assert "4.00e-03" in whole


def test_a_long_list_of_dims_is_listed_in_full(cli: Callable[..., Any], tmp_path: Path) -> None:
    root = support.fresh_store(tmp_path).root
    dims = tuple(range(1, 200))
    tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config("n" * 100, dims=dims), card=support.CARD, environment={}
    )
    listed = cli("list", "--store", str(root)).out
    assert " ".join(map(str, dims)) in listed
    assert "n" * 100 in listed


def test_show_tells_settings_on_stderr_and_every_trial_on_stdout(at: Callable[..., Any]) -> None:
    done = at("show", "lonely")
    assert done.code == 0
    assert "dims=2" in done.err
    assert [row.split()[3] for row in done.out.splitlines()[1:]] == [
        "finished", "finished", "pruned", "failed",
    ]  # fmt: skip


def test_frontier_takes_the_latest_sweep_and_of_each_dim_the_best_by_validation(
    at: Callable[..., Any], tmp_path: Path
) -> None:
    done = at("frontier")
    assert done.code == 0, done.err
    header, *rows = done.out.splitlines()
    assert " ".join(header.split()) == " ".join(COLUMNS)
    assert [row.split()[0] for row in rows] == ["2", "4", "8", "16"]
    assert [float(row.split()[2]) for row in rows] == list(TEST_MSE.values())
    assert "fit: test MSE = " in done.err
    assert "R² = " in done.err
    assert "knee: " in done.err
    assert (tmp_path / "frontier-four.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("plain_pictures")
def test_frontier_prints_csv_and_json_as_nothing_but_data(at: Callable[..., Any]) -> None:
    table = list(csv.DictReader(io.StringIO(at("frontier", "four", "--csv").out)))
    assert [row["Latent dim"] for row in table] == ["2", "4", "8", "16"]
    assert list(table[0]) == COLUMNS
    assert float(table[3]["Test MSE"]) == TEST_MSE[16]
    document = json.loads(at("frontier", "four", "--json").out)
    assert [point["latent_dim"] for point in document["points"]] == [2, 4, 8, 16]
    assert document["fit"]["r_squared_log"] > 0.9


@pytest.mark.slow
def test_frontier_compares_two_sweeps_dim_by_dim(at: Callable[..., Any], tmp_path: Path) -> None:
    done = at("frontier", "four", "lonely", "--out", "both.svg")
    assert done.code == 0, done.err
    alias = at("frontier", "four", "--beside", "lonely", "--out", "both.svg")
    assert alias == done
    assert "test MSE against lonely: +0.0% at d=2\n" in done.err
    alone = at("frontier", "four", "--out", "alone.svg")
    assert (tmp_path / "both.svg").read_text() != (tmp_path / "alone.svg").read_text()
    assert done.out == alone.out
    missing = at("frontier", "four", "nowhere")
    assert missing.code == 3
    assert "nowhere" in missing.err
    twice = at("frontier", "four", "lonely", "four")
    assert twice.code == 2
    assert "'four' is named twice" in twice.err


def test_frontier_compares_the_first_of_many_sweeps_with_each_of_the_others(
    at: Callable[..., Any],
) -> None:
    done = at("frontier", "lonely", "pair", "four", "--rate", "dims")
    assert done.code == 0, done.err
    assert "test MSE against pair: +0.0% at d=2\ntest MSE against four: +0.0% at d=2\n" in done.err


@pytest.mark.parametrize(
    ("words", "needles"),
    [
        (["--rate", "bit"], ["'bit'", "did you mean 'bits'?"]),
        (["--interpolation", "akima"], ["--interpolation has no effect without --rate bits"]),
        (
            ["--rate", "bits", "--references", "none", "--interpolation", "akima"],
            ["--interpolation has no effect on one sweep without references"],
        ),
        (["--rate", "bits", "--interpolation", "spline"], ["only pchip, akima"]),
        (["--target-psnr", "nan"], ["a target must be a finite number, got nan"]),
        (["--target-mse", "0"], ["a target MSE must be above 0, got 0"]),
        (["--target-accuracy", "95"], ["95 % is 0.95"]),
        (["--target-psnr", "good"], ["'good' is not a number"]),
        (["--rd-json", "x"], ["--rd-json has no effect without --rate bits"]),
        (["--references", "pca", "webp"], ["--references 'webp' is not measured over dims"]),
        (["--rate", "bits", "--references", "pca", "none"], ["either none or pca"]),
        (["--rate", "bits", "--references", "jpg"], ["'jpg'", "did you mean 'jpeg'?"]),
        (["--data-dir", "."], ["--data-dir has no effect without --rate bits"]),
        (["--dataset", "x"], ["--dataset has no effect without --rate bits"]),
    ],
)
def test_an_option_of_frontier_that_would_have_no_effect_is_refused(
    at: Callable[..., Any], words: list[str], needles: list[str]
) -> None:
    done = at("frontier", "four", *words)
    assert (done.code, done.out) == (2, "")
    assert all(needle in done.err for needle in needles)


def test_frontier_compares_nothing_that_was_measured_on_other_images(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    root = support.fresh_store(tmp_path / "store").root
    runs = tracking.open_for_writing(support.Store(root))
    for name, digest in (("one", "0" * 16), ("two", "1" * 16)):
        card = dataclasses.replace(support.CARD, digest=digest)
        writer = runs.start_sweep(support.config(name, dims=(2,)), card=card, environment={})
        support.finish(support.start(writer, support.point(2, dataset_digest=digest)))
        support.finish_sweep(writer)
    done = cli("frontier", "one", "two", "--store", str(root))
    assert (done.code, done.out) == (2, "")
    assert "different images" in done.err


def test_frontier_prints_one_form_of_the_table_at_a_time(
    at: Callable[..., Any], tmp_path: Path
) -> None:
    done = at("frontier", "four", "--csv", "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == done.err.count("\n") == 1
    assert "--csv and --json" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_frontier_of_one_dim_draws_it_and_says_why_there_is_no_fit(
    at: Callable[..., Any], tmp_path: Path
) -> None:
    done = at("frontier", "lonely", "--out", "one.svg")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 2
    assert "fit: none; " in done.err
    assert "knee: none; " in done.err
    assert (tmp_path / "one.svg").read_text().count("<svg") == 1
    document = json.loads(at("frontier", "lonely", "--json").out)
    assert document["fit"] is None
    assert document["fit_refusal"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "start"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.PDF", b"%PDF")]
)
def test_the_ending_of_the_file_chooses_the_kind_of_figure(
    at: Callable[..., Any], tmp_path: Path, file: str, start: bytes
) -> None:
    assert at("frontier", "four", "--out", file).code == 0
    assert (tmp_path / file).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("out", "code", "needles"),
    [
        ("figure.jpeg", 2, ["jpeg", "png, svg or pdf"]),
        ("figure", 2, ["png, svg or pdf"]),
        ("missing [bold]/figure.png", 3, ["missing [bold]/figure.png", "--out"]),
        ("n" * 5_000 + ".png", 3, ["File name too long", "--out"]),
        (".", 2, ["png, svg or pdf"]),
    ],
    ids=["jpeg", "no ending", "missing directory", "too long", "a directory"],
)
def test_a_figure_that_cannot_be_written_is_told_and_leaves_nothing(
    at: Callable[..., Any], tmp_path: Path, out: str, code: int, needles: list[str]
) -> None:
    done = at("frontier", "four", "--out", out)
    assert (done.code, done.out) == (code, ""), done
    assert done.err.count("error: ") == done.err.count("\n") == 1
    assert len(done.err) < 500
    for needle in needles:
        assert needle in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["show", "frontier"])
@pytest.mark.parametrize(
    ("name", "needles"),
    [
        ("fuor", ["'fuor'", "did you mean four?", "ae-sweep list"]),
        ("zebra", ["'zebra'", "ae-sweep list"]),
        ("[bold]four", ["'[bold]four'", "four"]),
        ("x' OR '1'='1", ["no sweep is named", "ae-sweep list"]),
        ("four" * 1_250, ["5000 characters", "ae-sweep list"]),
        ("🎉", [r"\U0001f389", "ae-sweep list"]),
        ("", ["''", "ae-sweep list"]),
    ],
    ids=["typo", "zebra", "markup", "filter", "long", "emoji", "empty"],
)
def test_an_unknown_sweep_is_told_with_the_nearest_name(
    at: Callable[..., Any], tmp_path: Path, command: str, name: str, needles: list[str]
) -> None:
    done = at(command, name)
    assert (done.code, done.out) == (3, "")
    assert done.err.count("error: ") == done.err.count("\n") == 1
    assert len(done.err) < 500
    for needle in needles:
        assert needle in done.err
    assert not list(tmp_path.iterdir())


def test_frontier_of_a_sweep_without_a_finished_trial_says_so(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    root = support.fresh_store(tmp_path / "store").root
    writer = tracking.open_for_writing(support.Store(root)).start_sweep(
        support.config("hopeless", dims=(2,)), card=support.CARD, environment={}
    )
    support.start(writer).fail("lr too large")
    writer.fail("nothing finished")
    done = cli("frontier", "--store", str(root))
    assert (done.code, done.out) == (3, "")
    assert done.err.count("error: ") == done.err.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_a_taken_port_is_told_with_another_that_is_free(at: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        done = at("ui", "--port", str(port))
    assert (done.code, done.out) == (3, "")
    assert done.err.count("error: ") == 1
    assert f"port {port} on 127.0.0.1 is taken" in done.err
    assert "--port" in done.err


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_what_is_no_port_is_refused_with_the_range(at: Callable[..., Any], port: str) -> None:
    done = at("ui", "--port", port)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: a port is from 1 to 65535, got {port}; choose one with --port\n"


@pytest.mark.usefixtures("no_probe")
def test_a_name_that_mlflow_holds_is_a_conflict_even_where_optuna_has_lost_it(
    at: Callable[..., Any], store: Path
) -> None:
    before = (store / "mlflow.db").read_bytes()
    done = at("run", "--name", "four", "--dataset", "shapes", "--dims", "2")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("error: ") == 1
    assert "a sweep named four is stored already" in done.err
    assert "--resume" in done.err
    assert (store / "mlflow.db").read_bytes() == before
    assert not (store / "optuna.db").exists()


def test_a_sweep_is_not_resumed_without_what_it_has(at: Callable[..., Any], store: Path) -> None:
    before = (store / "mlflow.db").read_bytes()
    done = at("run", "--name", "four", "--resume", "--dims", "2", "4", "32")
    assert (done.code, done.out) == (4, "")
    assert "without 8, 16 would forget what was trained" in done.err
    assert done.err.count("error: ") == done.err.count("\n") == 1
    assert (store / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (["--name", "nobody"], "no sweep is named 'nobody'"),
        (["--name", "fuor"], "did you mean four?"),
    ],
)
def test_a_sweep_that_is_not_stored_cannot_be_resumed(
    at: Callable[..., Any], words: list[str], needle: str
) -> None:
    done = at("run", *words, "--resume")
    assert (done.code, done.out) == (3, "")
    assert needle in done.err
    assert done.err.count("error: ") == done.err.count("\n") == 1
