"""What a newer version stored is refused by its name, not passed over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from mlflow import MlflowClient
from mlflow.entities import Param

import ae_sweep
from ae_sweep import tracking
from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.locations import Store

ENVIRONMENT = {"ae_sweep_version": __version__, "torch_version": "2.14.1", "git_dirty": "False"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with a sweep of one finished trial."""
    store = support.fresh_store(tmp_path)
    sweep = tracking.open_for_writing(store).start_sweep(
        support.config(), card=support.CARD, environment=ENVIRONMENT
    )
    support.finish(support.start(sweep))
    support.finish_sweep(sweep)
    return store


def add_trial(store: Store, **parameters: str) -> str:
    """Copy the finished trial's run, with other parameters."""
    client = MlflowClient(tracking_uri=store.tracking_uri)
    runs = tracking.open_for_reading(store)
    told = client.get_run(runs.trials("first")[0].run_id)
    tags = {name: text for name, text in told.data.tags.items() if not name.startswith("mlflow.")}
    run = client.create_run(runs.experiment_id, tags=tags)
    logged = {**told.data.params, **parameters}
    client.log_batch(run.info.run_id, params=[Param(*each) for each in logged.items()])
    return str(run.info.run_id)


def set_config(store: Store, **changes: str) -> None:
    client = MlflowClient(tracking_uri=store.tracking_uri)
    record = tracking.open_for_reading(store).sweep_settings("first")
    client.set_tag(record.run_id, "config", json.dumps({**record.config, **changes}))


def test_a_trial_of_an_unknown_hyperparameter_is_named_with_its_version(store: Store) -> None:
    run_id = add_trial(
        store, hyperparameters="batch_size dropout", dropout="0.5", ae_sweep_version="9.1.0"
    )
    with pytest.raises(StoreError) as caught:
        ae_sweep.load_sweep("first", store=store.root)
    said = str(caught.value)
    assert run_id in said
    assert "was trained with 'dropout' by ae-sweep '9.1.0'" in said
    assert f"ae-sweep {__version__} does not know; upgrade ae-sweep" in said
    assert [sweep.name for sweep in ae_sweep.list_sweeps(store=store.root)] == ["first"]


def test_a_trial_of_known_hyperparameters_is_read_whatever_version_wrote_it(store: Store) -> None:
    add_trial(store, hyperparameters="batch_size", batch_size="64", ae_sweep_version="9.1.0")
    batches = [trial.point.hyperparameters.batch_size for trial in
               ae_sweep.load_sweep("first", store=store.root).trials]  # fmt: skip
    assert batches == [128, 64]


@pytest.mark.parametrize("name", ["dropout", "warm_up"])
def test_a_sweep_of_an_unknown_setting_is_not_resumed_without_it(
    cli: Callable[..., Any], store: Store, name: str
) -> None:
    set_config(store, **{name: "0.5"})
    done = cli("run", "--name", "first", "--resume", "--store", str(store.root))
    assert done.code == 4
    assert f"is stored with {name!r}, which ae-sweep {__version__} does not know" in done.err
    with pytest.raises(ConflictError, match=name):
        ae_sweep.plan_sweep("first", resume=True, store=store.root)


def test_a_sweep_of_an_unknown_recipe_is_not_resumed_with_another(
    cli: Callable[..., Any], store: Store
) -> None:
    set_config(store, recipe="99")
    done = cli("run", "--name", "first", "--resume", "--store", str(store.root))
    assert done.code == 4
    assert f"stored with recipe '99', which ae-sweep {__version__} does not know" in done.err


def test_versions_that_stand_in_for_a_lost_configuration_are_no_settings(
    cli: Callable[..., Any], store: Store
) -> None:
    client = MlflowClient(tracking_uri=store.tracking_uri)
    record = tracking.open_for_reading(store).sweep_settings("first")
    client.set_tag(record.run_id, "config", "no JSON")
    words = ("run", "--name", "first", "--resume", "--dry-run", "--store", str(store.root))
    done = cli(*words, "--dims", "2")
    assert done.code == 4
    assert "resuming it without 8 would forget" in done.err, "the next check, not that of names"
