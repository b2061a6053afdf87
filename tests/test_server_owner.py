"""Two directories, or two machines, that share a tracking server have one owner of a sweep."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from fake_engine import SMALL, faking
from fakes import FakeTraining
from mlflow import MlflowClient

import ae_sweep
from ae_sweep import process_identity, tracking
from ae_sweep.errors import ConflictError
from ae_sweep.locations import Store
from ae_sweep.process_identity import ProcessIdentity
from ae_sweep.tracking.clock import system_ms
from ae_sweep.tracking.server_owner import STALE_SECONDS, Sign, SignOfLife
from ae_sweep.tracking.sweep_runs import SweepRuns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ELSEWHERE = ProcessIdentity(host="elsewhere", machine="m", boot="b", pid=7, started="1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A directory whose runs are in a database that others use too."""
    shared = support.fresh_store(tmp_path, name="shared")
    return Store(tmp_path / "mine", shared.tracking_uri)


@pytest.fixture
def client(store: Store) -> MlflowClient:
    return MlflowClient(tracking_uri=store.tracking_uri)


def start(store: Store) -> Any:
    runs = tracking.open_for_writing(store)
    return runs.start_sweep(support.config(), card=support.CARD, environment={})


def resume(store: Store, **changes: Any) -> Any:
    runs = tracking.open_for_writing(store)
    return runs.resume_sweep(
        support.config(), card=support.CARD, take_over_command="ae-sweep …", **changes
    )


def is_run_by(
    client: MlflowClient, run_id: str, owner: ProcessIdentity, *, seconds_ago: float = 5
) -> None:
    sign = Sign(owner, system_ms() - round(1_000 * seconds_ago))
    client.set_tag(run_id, "owner", sign.written())


def owner_of(client: MlflowClient, run_id: str) -> str:
    return str(client.get_run(run_id).data.tags.get("owner"))


def test_a_sweep_that_another_machine_runs_is_refused_with_its_process(
    store: Store, client: MlflowClient
) -> None:
    run_id = start(store).run_id
    is_run_by(client, run_id, ELSEWHERE)
    before = client.get_run(run_id).data.tags
    with pytest.raises(ConflictError, match=r"process 7 on 'elsewhere', which was heard of .* ago"):
        resume(store)
    assert client.get_run(run_id).data.tags == before, "nothing was written"
    with pytest.raises(ConflictError, match="process 7"):
        tracking.open_for_writing(store).delete_sweep("first")
    resume(store, take_over=True).release()
    assert json.loads(owner_of(client, run_id))["pid"] == os.getpid()


def test_a_process_that_was_not_heard_of_for_long_has_ended(
    store: Store, client: MlflowClient
) -> None:
    run_id = start(store).run_id
    is_run_by(client, run_id, ELSEWHERE, seconds_ago=STALE_SECONDS - 30)
    with pytest.raises(ConflictError):
        resume(store)
    is_run_by(client, run_id, ELSEWHERE, seconds_ago=STALE_SECONDS + 30)
    resume(store).release()
    assert json.loads(owner_of(client, run_id))["pid"] == os.getpid()


def test_a_clock_that_is_ahead_is_no_reason_to_take_over(
    store: Store, client: MlflowClient
) -> None:
    is_run_by(client, start(store).run_id, ELSEWHERE, seconds_ago=-3_600)
    with pytest.raises(ConflictError, match="heard of"):
        resume(store)


def test_a_process_of_this_machine_is_asked_itself(store: Store, client: MlflowClient) -> None:
    run_id = start(store).run_id
    here = process_identity.this_process()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started = process_identity._started(other.pid) or ""
        alive = dataclasses.replace(here, pid=other.pid, started=started)
        is_run_by(client, run_id, alive, seconds_ago=10 * STALE_SECONDS)
        for take_over in (False, True):
            with pytest.raises(ConflictError, match=f"process {other.pid} .* another store dir"):
                resume(store, take_over=take_over)
        again = dataclasses.replace(alive, started="its id was another process's")
        is_run_by(client, run_id, again, seconds_ago=0)
        resume(store).release()
        is_run_by(client, run_id, dataclasses.replace(alive, boot="an earlier one"), seconds_ago=0)
        resume(store).release()
        other.communicate(b"\n")
    is_run_by(client, run_id, alive, seconds_ago=0)
    resume(store).release()


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"seen_ms": null}', '{"seen_ms": "x"}'])
def test_what_was_edited_names_nobody(store: Store, client: MlflowClient, text: str) -> None:
    run_id = start(store).run_id
    client.set_tag(run_id, "owner", text)
    resume(store).release()


def test_a_sweep_that_has_ended_is_nobodys(store: Store, client: MlflowClient) -> None:
    writer = start(store)
    is_run_by(client, writer.run_id, ELSEWHERE)
    writer.interrupt()
    assert owner_of(client, writer.run_id) == ""
    is_run_by(client, writer.run_id, ELSEWHERE)  # a last sign that came late
    resume(store).release()


def test_of_two_sweeps_of_a_name_that_begin_at_once_one_stays(
    store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_asked = threading.Barrier(2)
    find = SweepRuns.find

    def asked(runs: SweepRuns, name: str) -> Any:
        found = find(runs, name)
        both_asked.wait(60)
        return found

    stores = [dataclasses.replace(store, root=store.root.parent / name) for name in ("a", "b")]
    opened = [tracking.open_for_writing(each) for each in stores]
    monkeypatch.setattr(SweepRuns, "find", asked)

    refused: list[str] = []

    def begin(runs: Any) -> str | None:
        try:
            writer = runs.start_sweep(support.config(), card=support.CARD, environment={})
        except ConflictError as error:
            refused.append(str(error))
            return None
        writer.release()
        return str(writer.run_id)

    with ThreadPoolExecutor(2) as pool:
        (winner,) = {*pool.map(begin, opened)} - {None}
    monkeypatch.undo()
    (reason,) = refused
    assert f"begun by process {os.getpid()} on" in reason
    reader = tracking.open_for_reading(store)
    assert [sweep.run_id for sweep in reader.sweeps()] == [winner]


def test_the_store_of_one_directory_has_no_such_tag(tmp_path: Path) -> None:
    alone = support.fresh_store(tmp_path, name="alone")
    run_id = start(alone).run_id
    client = MlflowClient(tracking_uri=alone.tracking_uri)
    assert owner_of(client, run_id) == "None"


def test_a_sign_of_life_takes_two_requests_and_leaves_another_process_its_own(
    store: Store, client: MlflowClient
) -> None:
    run_id = start(store).run_id
    before = json.loads(owner_of(client, run_id))
    counting = Counting(client)
    sign = SignOfLife(counting, run_id, sweep="first", place="server")  # type: ignore[arg-type]
    sign.renew()
    assert counting.calls == ["get_run", "set_tag"]
    after = json.loads(owner_of(client, run_id))
    assert after.pop("seen_ms") >= before.pop("seen_ms")
    assert after == before
    sign.check()
    is_run_by(client, run_id, ELSEWHERE)
    theirs = owner_of(client, run_id)
    sign.renew()
    assert owner_of(client, run_id) == theirs
    with pytest.raises(ConflictError, match=r"first was taken over by process 7 on 'elsewhere'"):
        sign.check()


class Counting:
    """A client that counts its requests."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._client, name)


@pytest.mark.usefixtures("no_probe", "plain_pictures")
def test_a_sweep_that_is_taken_over_through_the_server_ends_and_writes_nothing_more(
    store: Store, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    signs: list[SignOfLife] = []

    def keep(sign: SignOfLife) -> None:
        signs.append(sign)

    monkeypatch.setattr(SignOfLife, "start", keep)
    events = ae_sweep.iter_sweep(
        "r",
        dims=[2, 4],
        trials=2,
        lr=[4e-3, 1e-2],
        epochs=1,
        engine=faking(FakeTraining()),
        **SMALL,
    )
    while not isinstance(next(events), ae_sweep.TrialValidated):
        pass
    experiment = client.get_experiment_by_name("ae-sweep")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    is_run_by(client, run.info.run_id, ELSEWHERE)
    (sign,) = signs
    sign.renew()
    before = client.get_run(run.info.run_id).data.tags
    with pytest.raises(ConflictError, match="was taken over by process 7 on 'elsewhere'"):
        list(events)
    left = client.get_run(run.info.run_id)
    assert (left.data.tags, left.info.status) == (before, "RUNNING")
    trials = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert [trial.info.status for trial in trials] == ["RUNNING"], "it is left to the other process"


@pytest.mark.slow
@pytest.mark.usefixtures("no_probe", "plain_pictures")
def test_a_sweep_in_another_directory_is_refused_by_the_command_line(
    store: Store,
    client: MlflowClient,
    cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(
        "ae_sweep.runner.engine.local_engine", lambda *_, **__: faking(FakeTraining())
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    words = ("run", "--dataset", "shapes", "--train-limit", "256", "--dims", "2", "--name", "r")
    stopped = FakeTraining(interrupt_at=2)
    with pytest.raises(KeyboardInterrupt):
        ae_sweep.run_sweep("r", dims=[2], engine=faking(stopped), progress=False, **SMALL)
    experiment = client.get_experiment_by_name("ae-sweep")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    client.update_run(run.info.run_id, status="RUNNING")
    is_run_by(client, run.info.run_id, ELSEWHERE)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    refused = cli(*words, "--resume")
    assert refused.code == 4, refused.err
    assert "is being run by process 7 on 'elsewhere'" in refused.err
    command = refused.err.partition("`")[2].partition("`")[0]
    done = cli(*shlex.split(command)[1:])
    assert done.code == 0, done.err
