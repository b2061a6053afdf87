"""Tags that were edited or removed in MLflow's UI: a message names the run and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import shared
import tracking_support as support
from mlflow import MlflowClient

from ae_sweep import tracking
from ae_sweep.locations import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("plain_pictures")

COMMANDS = {"list": ("list",), "show": ("show", "first"), "frontier": ("frontier", "first")}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Store a sweep of one trial; return the store and the ids of both runs."""
    store = support.fresh_store(tmp_path_factory.mktemp("template"))
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment={}
    )
    trial = support.start(sweep)
    support.finish(trial)
    support.finish_sweep(sweep)
    return store.root, sweep.run_id, trial.run_id


@pytest.fixture
def stored(template: tuple[Path, str, str], tmp_path: Path) -> tuple[MlflowClient, str, str]:
    """Copy that store to where commands find it; return MLflow's client and the ids."""
    root, sweep, trial = template
    copied = Store(shared.copy_store(root, tmp_path / DEFAULT_STORE))
    return MlflowClient(copied.tracking_uri), sweep, trial


@pytest.mark.parametrize("command", ["list", "show", "frontier"])
def test_a_role_that_was_edited_is_named_and_mended_as_the_message_says(
    stored: tuple[MlflowClient, str, str], cli: Callable[..., Any], command: str
) -> None:
    client, _, trial = stored
    client.set_tag(trial, "role", "mine")
    done = cli(*COMMANDS[command])
    if command == "list":  # which counts trials, whatever they were for
        assert done.code == 0, done.err
        return
    assert done.code == 3
    assert f"the tag role of 'd=8 trial 0' (run '{trial}') is 'mine'" in done.err
    client.delete_tag(trial, "role")
    assert "is '', not search or repeat" in cli(*COMMANDS[command]).err
    client.set_tag(trial, "role", "search")
    assert cli(*COMMANDS[command]).code == 0


@pytest.mark.parametrize("whose", ["sweep", "trial"])
def test_a_run_whose_sweep_was_removed_is_named_and_mended_as_the_message_says(
    stored: tuple[MlflowClient, str, str], cli: Callable[..., Any], whose: str
) -> None:
    client, sweep, trial = stored
    run = sweep if whose == "sweep" else trial
    client.delete_tag(run, "sweep")
    done = cli("list")
    assert done.code == 3
    assert f"(run '{run}'); set it again in the MLflow UI" in done.err
    client.set_tag(run, "sweep", "first")
    assert cli("list").code == 0


@pytest.mark.parametrize("tag", ["outcome", "point", "method", "dataset_digest", "config"])
def test_no_command_ends_in_a_bug_whatever_tag_is_removed(
    stored: tuple[MlflowClient, str, str], cli: Callable[..., Any], tag: str
) -> None:
    client, sweep, trial = stored
    for run in (sweep, trial):
        if tag in client.get_run(run).data.tags:
            client.delete_tag(run, tag)
    for words in (COMMANDS["list"], COMMANDS["show"], COMMANDS["frontier"]):
        done = cli(*words)
        assert done.code in (0, 3), done.err
        assert done.code == 0 or "first" in done.err
