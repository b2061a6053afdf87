"""The UI's command, port, start and end, without a real server."""

from __future__ import annotations

import io
import itertools
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import tracking_support as support

from ae_sweep import tracking
from ae_sweep.errors import ConfigError, PortError, StoreError
from ae_sweep.locations import Store
from ae_sweep.tracking import ui_server

if TYPE_CHECKING:
    from pathlib import Path


def test_the_ui_is_for_this_machine_alone(tmp_path: Path) -> None:
    command = tracking.ui_command(Store(tmp_path), port=5000)
    options = dict(itertools.pairwise(command))
    assert command[1:4] == ["-m", "mlflow", "server"]
    assert options["--host"] == "127.0.0.1"
    assert "--no-serve-artifacts" in command
    environment = tracking.ui_environment({}, Store(tmp_path), port=5000)
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5000,localhost:5000"
    assert environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:5000"
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"


def test_no_setting_of_mlflow_reaches_the_server_from_outside(tmp_path: Path) -> None:
    base = {
        "PATH": "/bin",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "true",
        "MLFLOW_UVICORN_OPTS": "--host 0.0.0.0",
        "GUNICORN_CMD_ARGS": "--bind 0.0.0.0:80",
        "WEB_CONCURRENCY": "9",
    }
    environment = tracking.ui_environment(base, Store(tmp_path), port=5000)
    assert environment["PATH"] == "/bin"
    assert not set(base) - {"PATH", "MLFLOW_ENABLE_REMOTE_ASSISTANT"} & set(environment)
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_runs_commands_or_calls_other_services_is_off(tmp_path: Path) -> None:
    import mlflow.environment_variables as known

    environment = tracking.ui_environment({}, Store(tmp_path), port=5000)
    off = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "true",
        "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "false",
    }
    assert {name: environment[name] for name in off} == off
    assert [name for name in off if not hasattr(known, name)] == [], "MLflow reads them no longer"


def test_a_password_of_the_store_is_in_no_list_of_processes(tmp_path: Path) -> None:
    store = Store(tmp_path, tracking_override="postgresql://ada:secret@host/db")
    assert "secret" not in " ".join(tracking.ui_command(store, port=5000))
    environment = tracking.ui_environment({}, store, port=5000)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://ada:secret@host/db"


def test_a_taken_port_is_told_with_another_one(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=rf"port {port} on 127.0.0.1 is taken .*--port \d+"):
            tracking.check_port(port)


@pytest.mark.parametrize("port", [0, -1, 65_536, 10**9])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"from 1 to 65535, got {port}"):
        tracking.check_port(port)


def test_a_port_that_needs_rights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ui_server, "_listen", forbid)
    with pytest.raises(PortError, match=r"port 80 .* needs special rights; .*--port"):
        tracking.check_port(80)


def test_browsers_leave_port_80_out_of_the_host() -> None:
    assert ui_server._allowed_hosts("127.0.0.1", 80)[-2:] == ["127.0.0.1", "localhost"]
    assert ui_server._allowed_hosts("127.0.0.1", 5000) == ["127.0.0.1:5000", "localhost:5000"]


def test_a_tracking_server_needs_no_second_ui(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"http://server:5000, which has its own UI"):
        tracking.ui_command(Store(tmp_path, tracking_override="http://server:5000"), port=5000)


def test_a_read_only_store_is_refused_before_mlflow_stumbles_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = support.fresh_store(tmp_path)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    monkeypatch.setattr(subprocess, "Popen", None)  # no server is started
    ui = tracking.running_ui(store, port=support.free_port(), environment={})
    with pytest.raises(StoreError) as caught, ui:
        pass
    said = str(caught.value)
    assert str(store.root) in said
    assert said.endswith("is read-only, and MLflow's UI writes to its database from the start; "
                         "make it writable, or copy it and name the copy with --store")  # fmt: skip


def test_a_server_that_ends_early_is_told_with_its_last_words() -> None:
    log = io.BytesIO()
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(command) as process:
        process.wait()
        log.write(b"first\nno such table: experiments\n")
        with pytest.raises(StoreError, match=r"status 3 .*: no such table: experiments; try"):
            tracking.wait_until_ready("http://127.0.0.1:1", process, log=log)


def test_a_server_that_never_answers_is_given_up() -> None:
    url = f"http://127.0.0.1:{support.free_port()}"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        with pytest.raises(StoreError, match=r"did not answer at .* within 0.3 seconds"):
            tracking.wait_until_ready(url, process, timeout_seconds=0.3)
        process.kill()


@pytest.mark.slow
def test_a_server_that_does_not_listen_to_signals_is_killed_with_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ui_server, "STOP_SECONDS", 0.2)
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ui_server.stop(process)
        deadline = time.monotonic() + 60
        while support.group_members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert support.group_members(process.pid) == []
    ui_server.stop(process)
