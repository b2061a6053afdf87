"""What a message advises works when it is typed as printed: each test types it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
import tracking_support as support
from alembic import command as alembic_command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.store.db import utils as mlflow_database
from mlflow.store.tracking.dbmodels.initial_models import Base as FirstSchema

import ae_sweep
from ae_sweep import tracking
from ae_sweep.config import Condition
from ae_sweep.errors import ConfigError, NotStoredError
from ae_sweep.locations import Store, open_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.runner.request import SweepRequest

PACKAGE = Path(ae_sweep.__file__).parent
COMMAND = re.compile(r"`((?:MLFLOW_TRACKING_URI=.*? )?(?:ae-sweep|mlflow) .*?)`")
ODD_STORE = "a b#c&d;e'f\"g+h@i:j[k]ü"
WRITES_COMMANDS = {
    "locations.py": "the one place where a command is put together",
    "runner/request.py": "completes a sweep: shlex.join and the store's option",
    "data/cached.py": "prepares a data set, which is in no store",
    "runner/doctor.py": "begins a sweep: the store is left to the reader",
    "cli/run.py": "names what comes next, with the store's option",
    "report/search.py": "repeats a sweep elsewhere: the store is left to the reader",
}


def advised(message: str) -> str:
    (line,) = COMMAND.findall(message)
    return str(line)


@pytest.fixture
def typed(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Type a line as a shell would read it, in the directory and environment of the test."""

    def run(line: str) -> Any:
        words = [os.path.expandvars(word) for word in shlex.split(line)]
        with pytest.MonkeyPatch.context() as shell:
            while "=" in words[0]:
                shell.setenv(*words.pop(0).split("=", 1))
            if words[0] == "ae-sweep":
                return cli(*words[1:])
            assert words[0] == "mlflow"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the command is MLflow's, as are its warnings
                from mlflow.cli import cli as mlflow_cli

                ended = CliRunner().invoke(mlflow_cli, words[1:])
        assert ended.exit_code == 0, ended.output
        return ended

    return run


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[SweepRequest]:
    """Keep what `run` is asked for, in place of training it."""
    from ae_sweep.runner import planning

    requests: list[SweepRequest] = []

    def plan(request: SweepRequest, **_: object) -> None:
        requests.append(request)
        raise ConfigError("only asked for")

    monkeypatch.setattr(planning, "plan_sweep", plan)
    return requests


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Make a store at an odd place, with one sweep that has no trial yet."""
    made = support.fresh_store(tmp_path / ODD_STORE)
    tracking.open_for_writing(made).start_sweep(
        support.config("digits"), card=support.CARD, environment={}
    )
    return made


def test_where_nothing_is_stored_the_advised_run_is_stored_there(
    cli: Callable[..., Any],
    typed: Callable[[str], Any],
    planned: list[SweepRequest],
    tmp_path: Path,
) -> None:
    done = cli("list", "--store", ODD_STORE)
    assert done.code == 3
    assert typed(advised(done.err)).err == "error: only asked for\n"
    (request,) = planned
    assert request.store == Store(tmp_path / ODD_STORE)
    assert request.config.dims == (2, 8, 32)


def test_a_sweep_that_is_not_stored_leads_to_the_list_of_those_that_are(
    cli: Callable[..., Any], typed: Callable[[str], Any], store: Store
) -> None:
    done = cli("show", "digit", "--store", str(store.root))
    assert done.code == 3
    assert "did you mean digits?" in done.err
    assert "digits" in typed(advised(done.err)).out


def test_resuming_without_a_name_leads_to_the_list_of_names(
    cli: Callable[..., Any], typed: Callable[[str], Any], store: Store
) -> None:
    done = cli("run", "--resume", "--store", str(store.root))
    assert done.code == 2
    assert "digits" in typed(advised(done.err)).out


def test_a_sweep_without_a_finished_trial_is_completed_by_the_advised_command(
    cli: Callable[..., Any],
    typed: Callable[[str], Any],
    planned: list[SweepRequest],
    store: Store,
    tmp_path: Path,
) -> None:
    done = cli("frontier", "--store", str(store.root))
    assert done.code == 3
    typed(advised(done.err))
    files = tmp_path / "my images"
    with pytest.raises(NotStoredError) as caught:
        _ = ae_sweep.load_sweep(store=store.root, data_dir=files).frontier
    typed(advised(str(caught.value)))
    assert [request.data_dir for request in planned] == [None, files]
    for request in planned:
        assert request.store == store
        assert (request.config.name, request.resume) == ("digits", True)


@pytest.mark.parametrize("by", ["option", pytest.param("variable", marks=pytest.mark.slow)])
def test_a_deleted_experiment_is_restored_by_the_advised_command(
    cli: Callable[..., Any],
    typed: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
    by: str,
) -> None:
    client = MlflowClient(tracking_uri=store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    client.delete_experiment(experiment.experiment_id)
    words = ["--store", str(store.root)]
    if by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
        words = []
    done = cli("list", *words)
    assert done.code == 3
    assert "is deleted; restore it with" in done.err
    typed(advised(done.err))
    assert "digits" in cli("list", *words).out


@pytest.mark.slow
@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_database_of_an_older_mlflow_is_upgraded_by_the_advised_command(
    cli: Callable[..., Any],
    typed: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    by: str,
) -> None:
    old = Store(tmp_path / ODD_STORE)
    old.root.mkdir()
    engine = sqlalchemy.create_engine(old.tracking_uri)
    FirstSchema.metadata.create_all(engine)
    settings = mlflow_database._get_alembic_config(old.tracking_uri)
    script = ScriptDirectory.from_config(settings)
    (newest,) = script.get_heads()
    before = script.get_revision(newest).down_revision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alembic_command.upgrade(settings, before)
    engine.dispose()
    words = ["--store", str(old.root)]
    if by == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", old.tracking_uri)
        words = []
    with pytest.MonkeyPatch.context() as release:
        # As in an MLflow whose newest revision adds no table: one that adds some migrates at once.
        release.setattr(mlflow_database, "_all_tables_exist", lambda _: True)
        done = cli("list", *words)
    assert done.code == 3
    assert "out-of-date database schema" in done.err
    typed(advised(done.err))
    assert "nothing is stored in" in cli("list", *words).err


def test_a_sweep_that_lacks_a_dim_leads_to_its_ui(
    typed: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    from ae_sweep.runner.execution import FinishedSweep

    opened = []

    def running(place: Store, **_: object) -> None:
        opened.append(place)
        raise ConfigError("only asked for")

    monkeypatch.setattr(tracking, "running_ui", running)
    finished = FinishedSweep(
        frontier=None,  # type: ignore[arg-type]
        missing=(Condition(2, "conv"),),
        store=store,
        runs=None,  # type: ignore[arg-type]
        record=None,  # type: ignore[arg-type]
        trials=(),
    )
    with pytest.raises(NotStoredError) as caught:
        finished.check()
    typed(advised(str(caught.value)))
    assert opened == [store]


def test_no_message_writes_a_command_by_hand() -> None:
    """One that does would leave the store out, or name it unquoted."""
    names = "|".join(
        ("run|ui|frontier|dimensions|reconstruct|latent|manifold|interpolate|sample|report|identity",
         "list|show|delete|data|sync")
    )  # fmt: skip
    command = re.compile(rf"(\bae-sweep ({names})\b|\bmlflow (db|experiments|gc|server|ui)\b)")
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }  # fmt: skip
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in docstrings and command.search(text):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found <= set(WRITES_COMMANDS)


def test_an_experiment_that_was_renamed_in_the_ui_is_found(
    cli: Callable[..., Any], planned: list[SweepRequest], store: Store
) -> None:
    client = MlflowClient(tracking_uri=store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    client.rename_experiment(experiment.experiment_id, "my digits")
    where = ("--store", str(store.root))
    assert "digits" in cli("list", *where).out
    cli("run", "--name", "digits", "--resume", *where)
    assert [request.config.name for request in planned] == ["digits"]
    with pytest.raises(ae_sweep.errors.ConflictError, match="is stored already"):
        tracking.open_for_writing(store).start_sweep(
            support.config("digits"), card=support.CARD, environment={}
        )
    client.delete_experiment(experiment.experiment_id)
    assert "the experiment 'my digits' in " in cli("list", *where).err


def test_a_renamed_experiment_of_version_0_1_0_is_found_by_its_runs_and_marked(
    store: Store,
) -> None:
    client = MlflowClient(tracking_uri=store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    _delete_mark(store)
    client.rename_experiment(experiment.experiment_id, "my digits")
    other = client.create_experiment("another program's")
    client.create_run(other, tags={"kind": "sweep", "sweep": "digits"})
    assert tracking.open_for_reading(store).experiment_id == experiment.experiment_id
    marked = tracking.open_for_writing(store)
    assert marked.experiment_id == experiment.experiment_id
    tags = client.get_experiment(experiment.experiment_id).tags
    assert tags["ae_sweep.experiment"] == "sweeps"


def _delete_mark(store: Store) -> None:
    engine = sqlalchemy.create_engine(store.tracking_uri)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("DELETE FROM experiment_tags WHERE key = 'ae_sweep.experiment'")
        )
    engine.dispose()


def test_the_store_of_a_command_is_the_one_it_is_opened_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for named in (None, "mlruns", ODD_STORE):
        for variable in ("", "sqlite:///other.db"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
            made = open_at(named, announce=lambda _: None)
            words = shlex.split(made.command("list"))[2:]
            again = open_at(words[1] if words else None, announce=lambda _: None)
            assert again == made
