"""A real UI on a real store: what it serves and to whom, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tracking_support as support

from ae_sweep import tracking
from ae_sweep.locations import Store
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys
from pathlib import Path
from ae_sweep import tracking
from ae_sweep.locations import Store

# A shell that runs the tests in the background has SIGINT ignored in all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
store = Store(Path(sys.argv[1]))
try:
    with tracking.running_ui(store, port=int(sys.argv[2]), environment=os.environ) as ui:
        print(ui.url, ui.process.pid, flush=True)
        ui.wait()
except KeyboardInterrupt:
    print("ended", flush=True)
"""


@dataclass
class Ui:
    url: str
    port: int
    group: int
    program: subprocess.Popen[str]
    store: Store
    model_id: str


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """One server for all tests of it: it takes seconds to start."""
    store = support.fresh_store(tmp_path_factory.mktemp("ui"))
    opened = tracking.open_for_writing(store)
    sweep = opened.start_sweep(support.config(), card=support.CARD, environment={})
    model_id = support.finish(support.start(sweep))
    support.finish_sweep(sweep)
    port = support.free_port()
    hostile = {
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:////nowhere.db",
    }
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(store.root), str(port)],
        env={**os.environ, **hostile},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    try:
        url, group = program.stdout.readline().split()
        yield Ui(url, port, int(group), program, store, model_id)
    finally:
        if program.poll() is None:
            program.send_signal(signal.SIGINT)
            program.wait(120)
        program.stdout.close()


def get(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def post(url: str, body: object, **headers: str) -> int:
    data = json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=data, headers={"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_page_and_the_address_of_a_sweep_open(ui: Ui) -> None:
    record = tracking.open_for_reading(ui.store).sweep()
    address = tracking.sweep_url(f"{ui.url}/", record)
    page = f"{ui.url}/#/experiments/{record.experiment_id}/runs/{record.run_id}"
    assert address == f"{page}?workflowType=machine_learning"
    status, page = get(address.partition("#")[0])
    assert status == 200
    assert b"<html" in page
    assert get(f"http://localhost:{ui.port}/")[0] == 200


def test_pictures_tables_and_models_are_served(ui: Ui) -> None:
    opened = tracking.open_for_reading(ui.store)
    [trial] = opened.trials("first")
    picture = f"{ui.url}/get-artifact?path=reconstructions.png&run_uuid={trial.run_id}"
    assert get(picture) == (200, support.png())
    table = f"{ui.url}/get-artifact?path=frontier_table.json&run_uuid={opened.sweep().run_id}"
    assert json.loads(get(table)[1])["data"] == [[8, 0.0051, None]]
    folder = f"{ui.url}/ajax-api/2.0/mlflow/logged-models/{ui.model_id}/artifacts"
    assert get(f"{folder}/files?artifact_file_path=data/model.safetensors") == (
        200,
        b"no safetensors",
    )
    listing = json.loads(get(f"{folder}/directories")[1])
    assert "MLmodel" in {entry["path"] for entry in listing["files"]}


@pytest.mark.parametrize("host", ["10.evil.com", "10.evil.com:{port}", "localhost:1", "evil"])
def test_another_host_name_is_refused(ui: Ui, host: str) -> None:
    status, answer = get(f"{ui.url}/", Host=host.format(port=ui.port))
    assert (status, b"rebinding" in answer) == (403, True)


def test_other_web_pages_can_change_nothing(ui: Ui) -> None:
    create = f"{ui.url}/api/2.0/mlflow/experiments/create"
    assert post(create, {"name": "x"}, Origin="http://evil.com") == 403
    assert get(f"{ui.url}/api/2.0/mlflow-artifacts/artifacts")[0] == 503


@pytest.mark.parametrize("host", ["127.0.0.1:{port}.evil.com", "evil.com:{port}", "0.0.0.0:{port}"])
def test_a_rebound_name_reads_and_changes_nothing(ui: Ui, host: str) -> None:
    """A page of evil.com, whose name now means 127.0.0.1, is of one origin with the server."""
    forged = {"Host": host.format(port=ui.port), "Origin": f"http://{host.format(port=ui.port)}"}
    search = f"{ui.url}/ajax-api/2.0/mlflow/experiments/search"
    assert post(search, {"max_results": 1}, **forged) == 403
    assert get(f"{search}?max_results=1", **forged)[0] == 403
    create = f"{ui.url}/api/2.0/mlflow/experiments/create"
    assert post(create, {"name": "rebound"}, **forged) == 403
    assert post(search, {"max_results": 1}) == 200, "the same request by its own name"


ASSISTANT = "ajax-api/3.0/mlflow/assistant"


def test_the_assistant_which_runs_commands_is_not_there(ui: Ui) -> None:
    for path in ("providers", "config", "sessions/1/stream"):
        assert get(f"{ui.url}/{ASSISTANT}/{path}")[0] == 404
    assert post(f"{ui.url}/{ASSISTANT}/message", {"message": "run it"}) in (404, 405)


def test_the_gateway_and_the_jobs_are_off(ui: Ui) -> None:
    features = json.loads(get(f"{ui.url}/ajax-api/3.0/mlflow/server-info")[1])
    assert features["features_enabled"] == {"gateway": False}
    assert get(f"{ui.url}/ajax-api/3.0/mlflow/gateway/supported-providers")[0] == 501
    assert post(f"{ui.url}/gateway/x/mlflow/invocations", {}) in (404, 405)
    assert post(f"{ui.url}/ajax-api/3.0/jobs/", {"job_name": "x", "params": {}}) in (404, 405)


def test_the_command_of_no_process_names_the_database(ui: Ui) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    commands = [
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in support.group_members(ui.group)
    ]
    assert commands
    assert not [command for command in commands if b"mlflow.db" in command]


def test_the_server_is_itself_and_one_worker(ui: Ui) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    members = support.group_members(ui.group)
    assert len(members) == 3, "MLflow, its web server, one worker; no runner of jobs"
    environment = Path(f"/proc/{ui.group}/environ").read_bytes().split(b"\0")
    assert b"MLFLOW_DISABLE_TELEMETRY=true" in environment


def test_a_tracking_server_is_written_and_read_like_a_file(
    ui: Ui, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = Store(Path("/nowhere"), tracking_override=ui.url)
    opened = tracking.open_for_writing(remote)
    sweep = opened.start_sweep(support.config("remote"), card=support.CARD, environment={})
    trial = support.start(sweep)
    trial.log_epoch(support.epoch(200))
    support.finish(trial)
    support.finish_sweep(sweep)
    again = tracking.open_for_reading(remote)
    assert [record.name for record in again.sweeps()] == ["remote", "first"]
    [record] = again.trials("remote")
    assert (record.outcome, record.test_mse) == (Outcome.FINISHED, 0.0051)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_ctrl_c_ends_the_server_and_all_its_processes(ui: Ui) -> None:
    """Ends the server of the tests before it, so it comes after them."""
    ui.program.send_signal(signal.SIGINT)
    assert ui.program.wait(120) == 0
    assert ui.program.stdout is not None
    assert ui.program.stdout.read() == "ended\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(ui.group, 0)
    tracking.check_port(ui.port)
