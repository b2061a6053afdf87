"""A sweep is resumed after its runs were edited in MLflow: no edited number passes for a result."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from fake_engine import SMALL, faking
from fakes import FakeTraining
from mlflow import MlflowClient

import ae_sweep
from ae_sweep import plots
from ae_sweep.errors import ConflictError, NotStoredError, StoreError
from ae_sweep.locations import Store
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Done

SETTINGS = {"dims": [2], "trials": 2, "lr": [4e-3, 1e-2], "epochs": 1, "pruner": "none", **SMALL}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store a sweep of two trials, once."""
    folder = tmp_path_factory.mktemp("template")
    store = support.fresh_store(folder, name="first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "frontier_figure", lambda *_, **__: None)
        patch.setattr(plots, "reconstructions_figure", lambda *_, **__: None)
        patch.setattr(plots, "render", lambda _, kind: support.png())
        ae_sweep.run_sweep(
            "r", engine=faking(FakeTraining()), progress=False, store=store.root, **SETTINGS
        )
    return store.root


@pytest.fixture
def store(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(template, tmp_path / "mlruns")
    ae_sweep.adopt_store(tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "mlruns")


class Runs:
    """The runs of the sweep, to be edited as MLflow's interface can, and its database."""

    def __init__(self, store: Store) -> None:
        self._database = store.root / "mlflow.db"
        self.client = MlflowClient(tracking_uri=store.tracking_uri)
        experiment = self.client.get_experiment_by_name("ae-sweep")
        assert experiment is not None
        found = self.client.search_runs(
            [experiment.experiment_id], order_by=["attributes.start_time ASC"]
        )
        self.sweep, self.trial, self.other = (run.info.run_id for run in found)

    def tag(self, key: str, text: str, *, of_sweep: bool = False) -> None:
        self.client.set_tag(self.sweep if of_sweep else self.trial, key, text)

    def remove(self, key: str, *, of_sweep: bool = False) -> None:
        self.client.delete_tag(self.sweep if of_sweep else self.trial, key)

    def parameter(self, key: str, text: str) -> None:
        with contextlib.closing(sqlite3.connect(self._database)) as connection, connection:
            done = connection.execute(
                "UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?",
                (text, self.trial, key),
            )
            assert done.rowcount == 1

    def metric(self, key: str, value: float) -> None:
        self.client.log_metric(self.trial, key, value, step=1_000)

    def other_space(self) -> None:
        run = self.client.get_run(self.sweep)
        config = json.loads(run.data.tags["config"])
        self.tag("config", json.dumps({**config, "lr": "0.5"}), of_sweep=True)


TRAINED_AGAIN: dict[str, Callable[[Runs], None]] = {
    "a lower test error": lambda runs: runs.metric("test_mse", 1e-6),
    "a lower validation error": lambda runs: runs.metric("val_mse", 1e-6),
    "a digest of other numbers": lambda runs: runs.tag("measured", "0123456789abcdef"),
    "another learning rate": lambda runs: runs.parameter("lr", "0.02"),
    "another dim": lambda runs: runs.parameter("latent_dim", "3"),
    "another seed": lambda runs: runs.parameter("seed", "9"),
    "no dim": lambda runs: runs.parameter("latent_dim", "many"),
    "another point": lambda runs: runs.tag("point", "0123456789abcdef"),
    "another sweep": lambda runs: runs.tag("sweep", "other"),
    "no sweep": lambda runs: runs.remove("sweep"),
    "no trial": lambda runs: runs.remove("kind"),
    "no number": lambda runs: runs.metric("test_mse", float("nan")),
}
MISSING = ("no dim", "another sweep", "no sweep", "no trial", "no number")
"""Of these nothing is left to be named: they are no result of the sweep."""
LEFT: dict[str, Callable[[Runs], None]] = {
    "nothing": lambda _: None,
    "no digest, as of an earlier version": lambda runs: runs.remove("measured"),
    "no point": lambda runs: runs.remove("point"),
    "another outcome": lambda runs: runs.tag("outcome", "pruned"),
    "no outcome": lambda runs: runs.remove("outcome"),
    "a note": lambda runs: runs.tag("mlflow.note.content", "mine"),
    "no configuration": lambda runs: runs.remove("config", of_sweep=True),
    "no configuration but a word": lambda runs: runs.tag("config", "x", of_sweep=True),
}
Errors = type[Exception] | tuple[type[Exception], ...]
REFUSED: dict[str, tuple[Callable[[Runs], None], Errors, str]] = {
    "another role": (lambda runs: runs.tag("role", "mine"), StoreError, "tag role"),
    "a sweep without a name": (
        lambda runs: runs.remove("sweep", of_sweep=True), StoreError, "tag sweep",
    ),
    "another space": (lambda runs: runs.other_space(), ConflictError, "0.5"),
    "other images": (
        lambda runs: runs.tag("dataset_digest", "0", of_sweep=True), ConflictError, "digest",
    ),
    "no sweep": (
        lambda runs: runs.remove("kind", of_sweep=True), (ConflictError, NotStoredError), "deleted",
    ),
}  # fmt: skip


def resume(**changes: Any) -> tuple[FakeTraining, Any]:
    fake = FakeTraining()
    return fake, ae_sweep.run_sweep("r", resume=True, engine=faking(fake), **changes)


def numbers(sweep: Any) -> dict[str, tuple[float | None, float | None]]:
    return {trial.point.key: (trial.val_mse, trial.test_mse) for trial in sweep.trials}


@pytest.mark.usefixtures("no_probe", "plain_pictures")
@pytest.mark.parametrize("name", TRAINED_AGAIN)
def test_what_was_edited_is_trained_again_with_a_word_or_refused(
    store: Store, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = numbers(ae_sweep.load_sweep("r"))
    TRAINED_AGAIN[name](Runs(store))
    fake, sweep = resume()
    assert len(fake.started) == 1
    after = numbers(sweep)
    assert {key: after[key] for key in before} == before
    said = capfd.readouterr().err
    assert ("does not count, since its" in said) is (name not in MISSING)
    again, _ = resume(progress=False)
    assert again.started == [], "once is enough"


@pytest.mark.usefixtures("no_probe", "plain_pictures")
def test_what_was_edited_is_no_point_of_a_curve_until_it_is_trained_again(
    store: Store, cli: Callable[..., Done]
) -> None:
    lines: list[str] = []
    before = ae_sweep.load_sweep("r", announce=lines.append)
    runs = Runs(store)
    for edited in (runs.trial, runs.other):
        runs.client.log_metric(edited, "test_mse", 1e-6, step=1_000)
    assert lines == []
    edited_sweep = ae_sweep.load_sweep("r", announce=lines.append)
    assert {trial.outcome for trial in edited_sweep.trials} == {Outcome.FAILED}
    with pytest.raises(NotStoredError):
        edited_sweep.frontier  # noqa: B018
    first, second = lines
    assert first == (
        f"'d=2 trial 0' of r (run {runs.trial!r}) does not count, since its numbers were edited in "
        "MLflow; `run --resume` trains it again"
    )
    assert runs.other in second
    shown = cli("show", "--json")
    assert shown.err.count("does not count, since its numbers were edited") == 2
    assert json.loads(shown.out)["counts"]["failed"] == 2
    resume(progress=False)
    lines.clear()
    after = ae_sweep.load_sweep("r", announce=lines.append)
    assert lines == []
    assert numbers(after) == numbers(before)


@pytest.mark.usefixtures("no_probe", "plain_pictures")
@pytest.mark.parametrize("name", LEFT)
def test_what_changes_no_result_is_left_as_it_is(
    store: Store, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = numbers(ae_sweep.load_sweep("r"))
    LEFT[name](Runs(store))
    fake, sweep = resume()
    assert fake.started == []
    assert numbers(sweep) == before
    assert "does not count" not in capfd.readouterr().err


@pytest.mark.usefixtures("no_probe", "plain_pictures")
@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_mended_is_refused_by_name(store: Store, name: str) -> None:
    edit, kind, match = REFUSED[name]
    edit(Runs(store))
    with pytest.raises(kind, match=match):
        resume(progress=False)
