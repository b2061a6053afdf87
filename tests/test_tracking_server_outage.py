"""A real tracking server is stopped, fails or hangs in mid-sweep: in the end it has everything."""

from __future__ import annotations

import json
import re
import shlex
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sweep_support import read_until
from tracking_servers import proxied, tracking_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commands import Command, Done, Server
    from tracking_servers import MlflowServer, Proxy

pytestmark = pytest.mark.slow

SWEEP = (
    "run", "--dataset", "shapes", "--train-limit", "256", "--model", "mlp", "--dims", "2", "4",
    "--trials", "2", "--epochs", "1:2", "--sampler", "random", "--pruner", "none", "--seed", "3",
)  # fmt: skip
GIT = ("git_", "mlflow.source.git")
"""The checkout may get a commit while the tests run."""
MEASURED_TIMES = {"images_per_second", "epoch_seconds", "train_seconds"}


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with tracking_server(tmp_path_factory.mktemp("tracking") / "server") as server:
        yield server


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    with proxied(mlflow_server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def calm(
    mlflow_server: MlflowServer,
    process: Callable[..., Done],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Run the sweep undisturbed, and return what the server has of it."""
    cwd = tmp_path_factory.mktemp("calm")
    changes = {"MLFLOW_TRACKING_URI": mlflow_server.url}
    done = process(*SWEEP, "--name", "calm", cwd=cwd, changes=changes, known_speed=True)
    assert done.code == 0, done.err
    assert not (cwd / "mlruns" / "running").exists()
    return content(mlflow_server.url, "calm")


def content(url: str, sweep: str) -> dict[str, Any]:
    """Return all that a server has of a sweep, but for ids, names of the sweep, and times."""
    from mlflow import MlflowClient

    client = MlflowClient(url)
    experiment = client.get_experiment_by_name("ae-sweep")
    assert experiment is not None
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.sweep = '{sweep}'", order_by=["attributes.start_time"]
    )
    parent, *trials = runs
    return {
        "parent": _run(client, parent, sweep),
        "document": _document(client, parent.info.run_id, sweep),
        "trials": [_run(client, run, sweep) for run in trials],
        "points": Counter(run.data.tags["point"] for run in trials),
    }


def _run(client: Any, run: Any, sweep: str) -> dict[str, Any]:
    keys = [key for key in run.data.metrics if key not in MEASURED_TIMES]
    history = {
        key: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, key)]
        for key in keys
    }
    texts = {
        key: text.replace(sweep, "SWEEP")
        for key, text in {**run.data.params, **run.data.tags}.items()
        if key not in ("mlflow.parentRunId", "mlflow.runName", "mlflow.note.content")
        and not key.startswith(GIT)
    }
    return {
        "name": run.info.run_name.replace(sweep, "SWEEP"),
        "status": run.info.status,
        "texts": texts,
        "metrics": history,
        "inputs": [each.dataset.digest for each in run.inputs.dataset_inputs],
        "models": [
            _model(client, output.model_id, output.step) for output in run.outputs.model_outputs
        ],
        "files": sorted(
            (each.path, None if "frontier" in each.path else each.file_size)
            for each in client.list_artifacts(run.info.run_id)
        ),
        "note has results": "Test MSE" in run.data.tags.get("mlflow.note.content", ""),
    }


def _model(client: Any, model_id: str, step: int) -> dict[str, Any]:
    model = client.get_logged_model(model_id)
    return {
        "step": step,
        "status": str(model.status),
        "params": {key: text for key, text in model.params.items() if not key.startswith(GIT)},
        "tags": {key: text for key, text in model.tags.items() if key in ("point", "role")},
        "metrics": sorted(
            (each.key, each.step, each.value)
            for each in model.metrics
            if each.key not in MEASURED_TIMES
        ),
        "files": sorted(each.path for each in client.list_logged_model_artifacts(model_id)),
        "weights": sorted(
            each.file_size for each in client.list_logged_model_artifacts(model_id, "data")
        ),
    }


def _document(client: Any, run_id: str, sweep: str) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        path = client.download_artifacts(run_id, "frontier.json", scratch)
        text = Path(path).read_text()
    document = json.loads(text.replace(sweep, "SWEEP"))
    return json.loads(json.dumps(document), object_hook=_without_ids)


def _without_ids(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: each
        for key, each in value.items()
        if "run_id" not in key and key not in MEASURED_TIMES
    }


def start(server: Server, cwd: Path, url: str, *words: str) -> Command:
    changes = {"MLFLOW_TRACKING_URI": url}
    return server.start(*words, cwd=cwd, changes=changes, known_speed=True)


def check_calm(url: str, sweep: str, calm: dict[str, Any]) -> None:
    found = content(url, sweep)
    assert found["trials"] == calm["trials"]
    assert found["parent"] == calm["parent"]
    assert found["document"] == calm["document"]


def test_a_server_that_is_killed_and_comes_back_later_gets_everything_by_sync(
    mlflow_server: MlflowServer,
    calm: dict[str, Any],
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
) -> None:
    url = mlflow_server.url
    with start(server, tmp_path, url, *SWEEP, "--name", "killed") as running:
        read_until(running, r"\[1/4\]")
        mlflow_server.stop()
        out, err = running.communicate()
        assert running.wait() == 3, err
    assert out == ""
    assert "trials go on, and are kept in" in err
    assert "[4/4]" in err
    message = err.splitlines()[-1]
    assert "and the frontier of killed are not in" in message
    journal = tmp_path / "mlruns" / "running" / "killed"
    assert str(journal) in message
    assert (journal / "journal.jsonl").stat().st_mode & 0o077 == 0

    (advised,) = re.findall("`(ae-sweep .*?)`", message)
    words = shlex.split(advised)[1:]
    changes = {"MLFLOW_TRACKING_URI": url}
    refused = process(*words, cwd=tmp_path, changes=changes)
    assert (refused.code, refused.out) == (3, "")
    assert "cannot be reached" in refused.err

    mlflow_server.start()
    done = process(*words, cwd=tmp_path, changes=changes)
    assert done.code == 0, done.err
    assert "trials of killed" in done.err
    check_calm(url, "killed", calm)
    assert not (tmp_path / "mlruns" / "running").exists()
    again = process(*words, cwd=tmp_path, changes=changes)
    assert (again.code, again.err) == (0, "nothing waits to be published\n")
    check_calm(url, "killed", calm)
    shown = process("frontier", "killed", "--json", cwd=tmp_path, changes=changes)
    assert shown.code == 0, shown.err


@pytest.mark.parametrize("mode", ["500", "hang"])
def test_a_server_that_fails_for_a_while_gets_everything_before_the_sweep_ends(
    mlflow_server: MlflowServer,
    proxy: Proxy,
    calm: dict[str, Any],
    server: Server,
    tmp_path: Path,
    mode: str,
) -> None:
    name = f"failing-{mode}"
    with start(server, tmp_path, proxy.url, *SWEEP, "--name", name) as running:
        read_until(running, r"\[1/4\]")
        proxy.mode = mode
        read_until(running, r"\[3/4\]")
        proxy.mode = "pass"
        _, err = running.communicate()
        assert running.wait() == 0, err
    check_calm(mlflow_server.url, name, calm)
    assert not (tmp_path / "mlruns" / "running").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_acts_while_the_server_hangs_and_resume_publishes_first(
    mlflow_server: MlflowServer,
    proxy: Proxy,
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    name = f"hanging-{number.value}"
    with start(server, tmp_path, proxy.url, *SWEEP, "--name", name) as running:
        read_until(running, r"\[1/4\]")
        proxy.mode = "hang"
        read_until(running, r"\[2/4\]")
        running.send_signal(number)
        sent = time.monotonic()
        assert running.wait(60) == 130
        assert time.monotonic() - sent < 10
    proxy.mode = "pass"
    changes = {"MLFLOW_TRACKING_URI": proxy.url}
    resume = ("run", "--name", name, "--resume")
    planned = process(*resume, "--dry-run", "--json", cwd=tmp_path, changes=changes)
    assert json.loads(planned.out)["trials_to_train"] == 2, "those that are kept are not trained"
    done = process(*resume, cwd=tmp_path, changes=changes, known_speed=True)
    assert done.code == 0, done.err
    assert "published" in done.err
    found = content(mlflow_server.url, name)
    finished = [run for run in found["trials"] if run["status"] == "FINISHED"]
    assert len(finished) == 4
    assert Counter(run["texts"]["point"] for run in finished).most_common(1)[0][1] == 1
    assert not [run for run in found["trials"] if run["status"] == "RUNNING"]


def test_a_dead_server_is_noticed_within_half_a_minute(
    mlflow_server: MlflowServer, proxy: Proxy, server: Server, tmp_path: Path
) -> None:
    with start(server, tmp_path, proxy.url, *SWEEP, "--name", "noticed") as running:
        read_until(running, r"\[1/4\]")
        proxy.mode = "hang"
        begin = time.monotonic()
        read_until(running, "the tracking store .* failed")
        assert time.monotonic() - begin < 30


def hang(proxy: Proxy, only: str) -> None:
    """Answer no request any more whose path has a part."""
    proxy.only, proxy.mode = only, "hang"


def test_a_command_that_reads_notices_within_half_a_minute_that_the_server_hangs(
    mlflow_server: MlflowServer,
    proxy: Proxy,
    calm: dict[str, Any],
    server: Server,
    process: Callable[..., Done],
    tmp_path: Path,
) -> None:
    assert calm["trials"]
    hang(proxy, "/runs/search")
    with start(server, tmp_path, proxy.url, "list") as running:
        assert proxy.hanging.wait(600)
        begin = time.monotonic()
        out, err = running.communicate()
        assert time.monotonic() - begin < 30
        assert (running.wait(), out) == (3, "")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT=60" in err
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    begin = time.monotonic()
    done = process("list", cwd=tmp_path, changes={"MLFLOW_TRACKING_URI": proxy.url, **patience})
    assert done.code == 3
    assert time.monotonic() - begin < 10, "what the user has set holds"


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("/runs/search", ("list",)),
        ("/mlflow-artifacts/", ("reconstruct", "calm", "--out", "faces.png")),
    ],
    ids=["runs", "models"],
)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_a_command_that_reads_from_a_server_that_hangs(
    proxy: Proxy,
    calm: dict[str, Any],
    server: Server,
    tmp_path: Path,
    only: str,
    words: tuple[str, ...],
    number: signal.Signals,
    code: int,
) -> None:
    assert calm["trials"]
    hang(proxy, only)
    with start(server, tmp_path, proxy.url, *words) as running:
        assert proxy.hanging.wait(600)
        running.send_signal(number)
        sent = time.monotonic()
        assert running.wait(60) == code
        assert time.monotonic() - sent < 10
        assert running.stdout.read() == ""


@pytest.mark.parametrize(
    ("only", "number"),
    [
        ("/experiments/get-by-name", signal.SIGINT),
        # The sweep's run is made under a shield: the signal counts for more than that it was not.
        ("/runs/create", signal.SIGTERM),
        ("", signal.SIGINT),
    ],
)
def test_a_signal_ends_a_sweep_that_waits_for_the_server_to_begin(
    proxy: Proxy,
    calm: dict[str, Any],
    server: Server,
    tmp_path: Path,
    only: str,
    number: signal.Signals,
) -> None:
    assert calm["trials"], "there is an experiment"
    hang(proxy, only)
    words = (*SWEEP, "--name", f"begun-{len(only)}")
    with start(server, tmp_path, proxy.url, *words) as running:
        assert proxy.hanging.wait(600)
        running.send_signal(number)
        sent = time.monotonic()
        read_until(running, "interrupted")
        assert time.monotonic() - sent < 10
        assert running.wait(60) == 130
