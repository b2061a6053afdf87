"""Sweeps whose runs are in PostgreSQL and whose files are in S3, behind MLflow's server or not."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from real_servers import BUCKET, real_servers
from sweep_support import read_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commands import Command, Done, Server
    from real_servers import RealServers

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

SWEEP = (
    "run", "--dataset", "shapes", "--train-limit", "256", "--model", "mlp", "--dims", "2", "4",
    "--epochs", "1:2", "--sampler", "random", "--pruner", "none", "--seed", "3", "--workers", "1",
)  # fmt: skip
TRIALS = 4


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServers]:
    with real_servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="module")
def test_mse(
    process: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, float]:
    """Return what the sweep measures where its runs are kept in a directory."""
    cwd = tmp_path_factory.mktemp("local")
    done = process(*SWEEP, "--trials", "2", "--name", "local", cwd=cwd, known_speed=True)
    assert done.code == 0, done.err
    return _test_mse(process, cwd, {}, "local")


def _test_mse(
    process: Callable[..., Done], cwd: Path, changes: dict[str, str], sweep: str
) -> dict[str, float]:
    shown = process("show", sweep, "--json", cwd=cwd, changes=changes)
    assert shown.code == 0, shown.err
    trials = json.loads(shown.out)["trials"]
    assert [each["outcome"] for each in trials] == ["finished"] * TRIALS
    assert len({each["name"] for each in trials}) == TRIALS
    return {each["name"]: each["test_mse"] for each in trials}


def _check_files(servers: RealServers, url: str, sweep: str) -> None:
    """Check that S3 has a picture and a model of each trial, and the figures of the sweep."""
    from mlflow import MlflowClient

    client = MlflowClient(url)
    experiment = client.get_experiment_by_name("ae-sweep")
    runs = client.search_runs([experiment.experiment_id], f"tags.sweep = '{sweep}'")
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    assert [run.info.status for run in runs] == ["FINISHED"] * (TRIALS + 1)
    keys = servers.s3.keys("")
    for run in trials:
        (logged,) = run.outputs.model_outputs
        pictures = [key for key in keys if f"/{run.info.run_id}/artifacts/recon" in key]
        models = [key for key in keys if f"/{logged.model_id}/" in key]
        assert len(pictures) == 1
        assert sum(key.endswith("/model.safetensors") for key in models) == 1
    figures = [Path(key).name for key in keys if f"/{parent.info.run_id}/" in key]
    assert {"frontier.png", "frontier.svg", "frontier.json"} <= set(figures)


def _check_quiet(done: Done, servers: RealServers) -> None:
    """Check that a command succeeded, without a word of MLflow's or the password."""
    assert done.code == 0, done.err
    said = done.out + done.err
    assert servers.postgresql.password not in said
    for foreign in ("Downloading", "it/s", "View run", "Warning", "Traceback"):
        assert foreign not in said


def test_every_command_works_where_runs_are_in_postgresql_and_files_in_s3(
    servers: RealServers,
    test_mse: dict[str, float],
    process: Callable[..., Done],
    tmp_path: Path,
) -> None:
    changes = {"MLFLOW_TRACKING_URI": servers.mlflow.url}

    def ran(*words: str, **more: str) -> Done:
        done = process(
            *words, cwd=tmp_path, changes={**changes, **more}, known_speed=words[0] == "run"
        )
        _check_quiet(done, servers)
        return done

    ran(*SWEEP, "--trials", "1", "--name", "there")
    ran("run", "--name", "there", "--resume", "--trials", "2")
    assert _test_mse(process, tmp_path, changes, "there") == test_mse
    (record,) = json.loads(ran("list", "--json").out)
    assert (record["name"], record["counts"]["finished"]) == ("there", TRIALS)
    document = json.loads(ran("frontier", "there", "--json").out)
    best = {point["latent_dim"]: point["test_mse"] for point in document["points"]}
    assert best.keys() == {2, 4}
    assert set(best.values()) <= set(test_mse.values())

    before = servers.s3.presigned_reads()
    ran("reconstruct", "there", "--out", "faces.png")
    assert servers.s3.presigned_reads() > before, "models come from S3 directly"
    ran("report", "there", "--out", "report.html")
    before = servers.s3.presigned_reads()
    ran("reconstruct", "there", "--out", "proxied.png",
        MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD="false")  # fmt: skip
    assert servers.s3.presigned_reads() == before, "and by way of the server where that is set"
    assert (tmp_path / "faces.png").read_bytes() == (tmp_path / "proxied.png").read_bytes()
    assert (tmp_path / "report.html").stat().st_size > 100_000

    _check_files(servers, servers.mlflow.url, "there")
    assert not (tmp_path / "mlruns" / "artifacts").exists()
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()


def _outage(servers: RealServers, what: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what ends a server, and what brings it back."""
    return {
        "mlflow": (servers.mlflow.stop, servers.mlflow.start),
        "postgresql": (servers.postgresql.stop, servers.postgresql.start),
        "s3": (servers.s3.pause, servers.s3.go_on),
    }[what]


def _run_through(outage: tuple[Callable[[], Any], Callable[[], Any]], running: Command) -> str:
    """Have a server away from the end of the first trial to that of the third."""
    end, bring_back = outage
    try:
        said = read_until(running, r"\[1/4\]")
        running.send_signal(signal.SIGSTOP)  # a trial takes less time than a server to end
        end()
        running.send_signal(signal.SIGCONT)
        said += read_until(running, r"\[3/4\]")
        running.send_signal(signal.SIGSTOP)
    finally:
        bring_back()
    running.send_signal(signal.SIGCONT)
    _, err = running.communicate()
    assert running.wait() == 0, err
    return said + err


@pytest.mark.parametrize("what", ["mlflow", "postgresql", "s3"])
def test_trainings_go_on_while_a_server_is_away_and_everything_is_there_once_it_is_back(
    servers: RealServers,
    test_mse: dict[str, float],
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
    what: str,
) -> None:
    name = f"without-{what}"
    changes = {"MLFLOW_TRACKING_URI": servers.mlflow.url}
    words = (*SWEEP, "--trials", "2", "--name", name)
    with server.start(*words, cwd=tmp_path, changes=changes, known_speed=True) as running:
        said = _run_through(_outage(servers, what), running)
    assert "trials go on, and are kept in" in said
    assert _test_mse(process, tmp_path, changes, name) == test_mse
    _check_files(servers, servers.mlflow.url, name)
    assert not (tmp_path / "mlruns" / "running").exists(), "nothing waits any more"


def test_a_database_and_s3_are_used_without_a_server_and_may_be_away_for_a_while(
    servers: RealServers,
    test_mse: dict[str, float],
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
) -> None:
    from mlflow import MlflowClient

    changes = servers.direct
    client = MlflowClient(changes["MLFLOW_TRACKING_URI"])
    client.create_experiment("ae-sweep", artifact_location=f"s3://{BUCKET}/direct")
    words = (*SWEEP, "--trials", "2", "--name", "direct")
    with server.start(*words, cwd=tmp_path, changes=changes, known_speed=True) as running:
        said = _run_through(_outage(servers, "postgresql"), running)
    assert "trials go on, and are kept in" in said
    assert servers.postgresql.password not in said
    assert _test_mse(process, tmp_path, changes, "direct") == test_mse
    for words in (("list",), ("frontier", "direct"), ("reconstruct", "direct")):
        _check_quiet(process(*words, cwd=tmp_path, changes=changes), servers)
    _check_files(servers, changes["MLFLOW_TRACKING_URI"], "direct")


def test_a_wrong_password_is_an_error_with_its_remedy_and_shows_no_password(
    servers: RealServers, process: Callable[..., Done], tmp_path: Path
) -> None:
    right = servers.direct["MLFLOW_TRACKING_URI"]
    wrong = right.replace(servers.postgresql.password, "wr0ng")
    done = process("list", cwd=tmp_path, changes={"MLFLOW_TRACKING_URI": wrong})
    assert (done.code, done.out) == (3, "")
    assert "password authentication failed" in done.err
    assert "check the user and the password in MLFLOW_TRACKING_URI" in done.err
    assert "wr0ng" not in done.err
