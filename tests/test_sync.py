"""`ae-sweep sync` publishes what a locked or full database could not take, once."""

from __future__ import annotations

import contextlib
import json
import shlex
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event
from test_advice import advised

import ae_sweep
from ae_sweep import tracking
from ae_sweep.errors import ConflictError, NotPublishedError, NotStoredError, StoreError
from ae_sweep.locations import Store
from ae_sweep.records import Outcome
from ae_sweep.runner import publishing
from ae_sweep.tracking import outbox
from ae_sweep.tracking.journal import Journal, JournalHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "AGAIN_SECONDS", 0.0)


@contextlib.contextmanager
def failing(client: Any, reason: str) -> Iterator[None]:
    """Have every statement of MLflow's fail as SQLite fails, without its wait of 20 seconds."""
    database = client._tracking_client.store
    assert isinstance(database, SqlAlchemyStore)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError(reason)

    event.listen(database.engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(database.engine, "before_cursor_execute", fail)


def log_sweep(store: Store, said: list[str], *, reason: str | None) -> NotPublishedError | None:
    """Log a sweep; with a reason, its database fails from the middle of a trial on."""
    runs = tracking.open_for_writing(store)
    sweep = runs.start_sweep(
        support.config(), card=support.CARD, environment={}, journal=said.append
    )
    first, second = (
        support.start(sweep, support.point(latent_dim=dim), name=f"d={dim}") for dim in (2, 8)
    )
    first.log_epoch(support.epoch(100))
    with contextlib.ExitStack() as stack:
        if reason is not None:
            stack.enter_context(failing(runs._client, reason))
        second.log_epoch(support.epoch(100))
        support.finish(first)
        support.finish(second, test_mse=0.004)
        try:
            sweep.flush()
            publishing.store_frontier(runs, sweep, sweep.config, linear_mse=dict)
        except StoreError as error:
            return publishing.kept_error(store, sweep, error, linear_mse={})
    return None


def stored(store: Store) -> dict[str, Any]:
    """Return what MLflow has of a sweep, but for ids and times."""
    client = MlflowClient(store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    assert experiment is not None
    return {
        run.info.run_name: {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: text for key, text in run.data.tags.items() if "parent" not in key},
            "metrics": {
                key: [(each.step, each.value) for each in client.get_metric_history(run_id, key)]
                for key in run.data.metrics
            },
            "models": [
                sorted(
                    (each.key, each.value)
                    for each in client.get_logged_model(output.model_id).metrics
                )
                for output in run.outputs.model_outputs
            ],
            "files": sorted(each.path for each in client.list_artifacts(run_id)),
        }
        for run in client.search_runs([experiment.experiment_id])
        for run_id in [run.info.run_id]
    }


@pytest.mark.parametrize("command", ["list", "show first", "frontier first"])
def test_what_waits_is_said_by_whatever_shows_the_sweep(
    cli: Callable[..., Any], store: Store, command: str
) -> None:
    words = (*command.split(), "--store", str(store.root))
    assert log_sweep(store, [], reason="database is locked") is not None
    shown = cli(*words)
    (line,) = [line for line in shown.err.splitlines() if "wait" in line]
    assert line.startswith("2 trials of first wait in ")
    if command == "frontier first":
        assert shown.code == 3, "no trial has finished in what is shown"
    else:
        document = json.loads(cli(*words, "--json").out)
        (record,) = document if isinstance(document, list) else [document]
        assert record["waiting_trials"] == 2
    assert cli(*shlex.split(advised(line))[1:]).code == 0
    later = cli(*words)
    assert later.code == 0
    assert "wait" not in later.err


def test_a_journal_that_cannot_be_read_is_said_and_the_rest_is_shown(
    cli: Callable[..., Any], store: Store
) -> None:
    assert log_sweep(store, [], reason="database is locked") is not None
    journal = store.running("first") / "journal.jsonl"
    first, second, *others = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([first, b"x" + second, *others]))
    shown = cli("list", "--store", str(store.root))
    assert shown.code == 0
    assert "first" in shown.out
    assert "line 2" in shown.err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = support.fresh_store(tmp_path_factory.mktemp("undisturbed"))
    said: list[str] = []
    assert log_sweep(store, said, reason=None) is None
    assert said == []
    assert {path.name for path in store.root.iterdir()} <= {
        "artifacts", "mlflow.db", "mlflow.db-shm", "mlflow.db-wal"
    }  # fmt: skip
    return stored(store)


@pytest.mark.parametrize(
    "reason",
    ["database is locked", pytest.param("database or disk is full", marks=pytest.mark.slow)],
)
def test_what_a_failing_database_could_not_take_is_published_by_the_printed_command(
    store: Store, undisturbed: dict[str, Any], cli: Callable[..., Any], reason: str
) -> None:
    said: list[str] = []
    error = log_sweep(store, said, reason=reason)
    assert error is not None
    assert error.exit_code == 3
    assert str(error).startswith("2 trials and the frontier of first are not in ")
    assert reason in str(error)
    [line] = said
    assert reason in line
    assert "trials go on" in line
    [kept] = tracking.kept_sweeps(store)
    assert (kept.name, kept.trials, kept.is_finished) == ("first", 2, True)

    done = cli(*shlex.split(advised(str(error)))[1:])
    assert (done.code, done.out, done.err) == (0, "", "published 2 trials of first\n")
    assert stored(store) == undisturbed
    assert tracking.kept_sweeps(store) == []
    assert not (store.root / "running").exists()
    again = cli("sync", "--store", str(store.root), "--json")
    assert (again.code, json.loads(again.out), again.err) == (
        0, [], "nothing waits to be published\n"
    )  # fmt: skip
    assert stored(store) == undisturbed


def test_sync_in_python_returns_what_it_published(store: Store) -> None:
    log_sweep(store, [], reason="database is locked")
    assert ae_sweep.sync(store=store.root) == [
        publishing.PublishedSweep(sweep="first", trials=2, is_finished=True)
    ]
    assert ae_sweep.sync("first", store=store.root) == []
    sweep = ae_sweep.load_sweep("first", store=store.root)
    assert sweep.record.outcome is Outcome.FINISHED
    with pytest.raises(NotStoredError, match="no sweep is named 'other'"):
        ae_sweep.sync("other", store=store.root)


def test_a_sync_that_fails_loses_nothing(store: Store, undisturbed: dict[str, Any]) -> None:
    log_sweep(store, [], reason="database is locked")
    runs = tracking.open_for_writing(store)
    [kept] = tracking.kept_sweeps(store)
    with failing(runs._client, "database is locked"), pytest.raises(StoreError):
        runs.publish(kept, announce=print)
    [still] = tracking.kept_sweeps(store)
    assert (still.trials, len(still.entries)) == (kept.trials, len(kept.entries))
    ae_sweep.sync(store=store.root)
    assert stored(store) == undisturbed


def test_a_sweep_that_was_killed_is_published_and_told_to_be_unfinished(
    store: Store, cli: Callable[..., Any]
) -> None:
    runs = tracking.open_for_writing(store)
    sweep = runs.start_sweep(support.config(), card=support.CARD, environment={}, journal=print)
    with failing(runs._client, "database is locked"):
        support.finish(support.start(sweep))
        assert len(tracking.kept_trials(store, "first")) == 1
    sweep._outbox.journal.close()  # as the kernel does
    done = cli("sync", "--store", str(store.root))
    assert done.code == 0
    assert done.err.startswith("published 1 trial of first\nit has not ended; complete it with: ")
    assert done.err.endswith(f"{store.command('run', '--name', 'first', '--resume')}\n")
    [trial] = tracking.open_for_reading(store).trials("first")
    assert trial.outcome is Outcome.FINISHED


def test_a_running_sweep_is_not_published_by_another_process(
    store: Store, cli: Callable[..., Any]
) -> None:
    runs = tracking.open_for_writing(store)
    sweep = runs.start_sweep(support.config(), card=support.CARD, environment={}, journal=print)
    with failing(runs._client, "database is locked"):
        support.start(sweep)
    done = cli("sync", "--store", str(store.root))
    assert done.code == 4
    assert "another process has the journal" in done.err
    sweep.flush()
    assert len(tracking.open_for_reading(store).trials("first")) == 1


def test_trials_of_another_server_are_refused_with_its_address(tmp_path: Path) -> None:
    server = Store(tmp_path / "mlruns", "http://me:secret@127.0.0.1:9")
    ours = support.fresh_store(tmp_path)
    header = JournalHeader(sweep="first", run_id="1", place=tracking.place_of(server))
    journal = Journal(ours.running("first"), header)
    journal.open()
    journal.close()
    with pytest.raises(ConflictError) as caught:
        publishing.sync(ours)
    assert "belong to 'http://me:***@127.0.0.1:9'; run `ae-sweep sync first` in" in str(
        caught.value
    )
    assert "secret" not in str(caught.value)


def test_trials_of_another_server_are_published_there_if_its_address_is_whole(
    tmp_path: Path,
) -> None:
    ours = support.fresh_store(tmp_path)
    header = JournalHeader(sweep="first", run_id="1", place="http://127.0.0.1:9")
    journal = Journal(ours.running("first"), header)
    journal.open()
    journal.close()
    with pytest.raises(StoreError, match=r"'http://127\.0\.0\.1:9' cannot be reached"):
        publishing.sync(ours)


def test_a_store_that_fails_after_the_last_trial_lacks_the_frontier_alone(
    store: Store, undisturbed: dict[str, Any]
) -> None:
    runs = tracking.open_for_writing(store)
    sweep = runs.start_sweep(support.config(), card=support.CARD, environment={}, journal=print)
    first, second = (
        support.start(sweep, support.point(latent_dim=dim), name=f"d={dim}") for dim in (2, 8)
    )
    first.log_epoch(support.epoch(100))
    second.log_epoch(support.epoch(100))
    support.finish(first)
    support.finish(second, test_mse=0.004)
    with failing(runs._client, "database is locked"), pytest.raises(StoreError) as failed:
        publishing.store_frontier(runs, sweep, sweep.config, linear_mse=dict)
    error = publishing.kept_error(store, sweep, failed.value, linear_mse={})
    assert str(error).startswith("the frontier of first is not in ")
    sweep.fail("ended already")
    assert ae_sweep.sync(store=store.root) == [
        publishing.PublishedSweep(sweep="first", trials=0, is_finished=True)
    ]
    assert stored(store) == undisturbed


def test_a_sweep_without_a_finished_trial_fails_when_it_is_published(store: Store) -> None:
    runs = tracking.open_for_writing(store)
    sweep = runs.start_sweep(support.config(), card=support.CARD, environment={}, journal=print)
    with failing(runs._client, "database is locked"):
        support.start(sweep).fail("val_mse is nan")
        with pytest.raises(StoreError) as failed:
            sweep.flush()
        publishing.kept_error(store, sweep, failed.value, linear_mse={2: 0.01})
    [published] = ae_sweep.sync(store=store.root)
    assert published.is_finished
    assert tracking.open_for_reading(store).sweep("first").outcome is Outcome.FAILED
    assert tracking.kept_sweeps(store) == []
