"""A sweep as plain files, and back: equal in both databases, shown and resumed as before."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from export_support import everything, small_export
from fake_engine import SMALL, faking
from fakes import FakeTraining
from mlflow import MlflowClient
from old_store import unpack
from tracking_servers import MlflowServer

import ae_sweep
from ae_sweep import ownership, plots, tracking
from ae_sweep.errors import (
    ConfigError,
    ConflictError,
    NotStoredError,
    StoreError,
    TrainingFailedError,
)
from ae_sweep.locations import Store
from ae_sweep.records import Outcome
from ae_sweep.tracking.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("faked_sweeps")

SETTINGS = {"dims": [2, 4], "trials": 2, "repeats": 1, "lr": [4e-3, 1e-2], "epochs": 1, **SMALL}


def run(store: Store, fake: FakeTraining | None = None, **changes: Any) -> Any:
    settings = {} if changes.get("resume") else SETTINGS
    return ae_sweep.run_sweep(
        "r",
        engine=faking(fake or FakeTraining()),
        progress=False,
        store=store.root,
        **{**settings, **changes},
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with a sweep in which one trial failed, and its export, once."""
    folder = tmp_path_factory.mktemp("template")
    store = support.fresh_store(folder, name="a b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "frontier_figure", lambda *_, **__: None)
        patch.setattr(plots, "reconstructions_figure", lambda *_, **__: None)
        patch.setattr(plots, "render", lambda _, kind: support.png())
        run(store, FakeTraining(error=_one_fails()), retries=0)
    ae_sweep.export_sweep("r", folder / "out", store=store.root)
    return folder


@pytest.fixture
def store(template: Path) -> Store:
    """The store, to be read."""
    return Store(template / "a b")


@pytest.fixture
def copied(template: Path, tmp_path: Path) -> Store:
    """A copy of the store, to be written."""
    shutil.copytree(template / "a b", tmp_path / "a copy")
    assert ae_sweep.adopt_store(tmp_path / "a copy").changed > 0
    return Store(tmp_path / "a copy")


def _one_fails() -> Any:
    errors = iter([None, TrainingFailedError("no memory in /home/secret/user")])
    return lambda _config: next(errors, None)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return support.fresh_store(tmp_path, name="other")


@pytest.fixture
def exported(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template / "out", tmp_path / "out")
    return tmp_path / "out"


def ae_sweep_names(store: Store) -> list[str]:
    """Return the names of every sweep and trial that is stored, deleted ones left out."""
    client = MlflowClient(tracking_uri=store.tracking_uri)
    experiment = client.get_experiment_by_name("ae-sweep")
    found = client.search_runs([experiment.experiment_id])
    studies = everything(store, "r")["studies"] if store.optuna_path.exists() else {}
    return [*(run.info.run_name for run in found), *studies]


def test_an_imported_sweep_is_the_exported_one_in_both_databases(
    store: Store, other: Store, exported: Path
) -> None:
    done = ae_sweep.import_sweep(exported, store=other.root)
    assert (done.sweep, done.trials, done.models) == ("r", 6, 4)
    before, after = everything(store, "r"), everything(other, "r")
    failed = [run for run in before["runs"].values() if run["status"] == "FAILED"]
    assert len(failed) == 1
    for run in failed:
        run["tags"]["failure"] = run["tags"]["failure"].replace("/home/secret/", "/")
    for trials in before["studies"].values():
        for trial in trials:
            if "failure" in trial["user"]:
                trial["user"]["failure"] = trial["user"]["failure"].replace("/home/secret/", "/")
    assert after["studies"] == before["studies"]
    assert after["runs"].keys() == before["runs"].keys()
    for name, run in before["runs"].items():
        assert after["runs"][name] == run, name


@pytest.mark.slow
def test_an_imported_sweep_is_complete_and_grows_as_the_original_would(
    copied: Store, other: Store, exported: Path
) -> None:
    ae_sweep.import_sweep(exported, store=other.root)
    trained = []
    for place in (copied, other):
        fake = FakeTraining()
        run(place, fake, resume=True, retries=0)
        assert fake.started == []
        run(place, fake, resume=True, dims=[2, 4, 8], repeats=2)
        trained.append(fake.started)
    assert trained[0] == trained[1]
    assert len(trained[0]) > 3, "the new dim, a repeat more, and the failed trial"


def test_the_curve_is_the_same_from_the_command_line(
    cli: Callable[..., Any], store: Store, exported: Path, tmp_path: Path
) -> None:
    new = support.fresh_store(tmp_path, name="new").root
    done = cli("import", str(exported), "--store", str(new), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials"] == 6
    curves = []
    for root in (store.root, new):
        words = ("frontier", "r", "--json", "--store", str(root))
        document = json.loads(cli(*words).out)
        for point in document["points"]:
            point.pop("run_id")
            point.pop("seed_run_ids", None)
        curves.append(document)
    assert curves[0] == curves[1]
    assert "--store" in done.err, "the command that shows it names the store"
    note = MlflowClient(tracking_uri=Store(new).tracking_uri)
    record = tracking.open_for_reading(Store(new)).sweep("r")
    text = note.get_run(record.run_id).data.tags["mlflow.note.content"]
    assert f"ae-sweep frontier r --store {new}" in text
    assert str(store.root) not in text


def test_what_is_exported_are_plain_files_that_say_nothing_of_the_machine(
    template: Path, exported: Path
) -> None:
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*")}
    assert {"manifest.json", "sweep.json", "trials.json", "trials.csv", "metrics.csv"} < names
    assert {"studies.json", "runs", "models"} < names
    manifest = json.loads((exported / "manifest.json").read_text())
    files = {path for path in exported.rglob("*") if path.is_file()} - {exported / "manifest.json"}
    assert manifest["files"] == {
        path.relative_to(exported).as_posix(): {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }
    user = os.environ.get("USER", "root")
    for path in files | {exported / "manifest.json"}:
        content = path.read_bytes()
        for private in (str(template), "/home/secret", "mlflow.user", f"/{user}/"):
            assert private.encode() not in content, (path, private)
    assert [path.stat().st_mode & 0o077 for path in (exported, *files)] == [0] * (len(files) + 1)
    assert sorted(path.name for path in template.iterdir()) == ["a b", "out"]


@pytest.mark.slow
def test_a_sweep_is_imported_under_another_name(
    copied: Store, exported: Path, cli: Callable[..., Any]
) -> None:
    store = copied
    done = cli("import", str(exported), "--store", str(store.root))
    assert done.code == 4
    assert "stored already under the name r" in done.err
    done = cli("import", str(exported), "--name", "again", "--store", str(store.root))
    assert done.code == 0, done.err
    old, new = (ae_sweep.load_sweep(name, store=store.root) for name in ("r", "again"))
    assert new.record.config == {**old.record.config, "name": "again"}
    assert [t.test_mse for t in new.trials] == [t.test_mse for t in old.trials]
    fake = FakeTraining()
    ae_sweep.run_sweep(
        "again", resume=True, retries=0, store=store.root, engine=faking(fake), progress=False
    )
    assert fake.started == []
    stored = new.runs.run_file(new.record.run_id, "frontier.json")
    assert stored is not None
    assert json.loads(stored)["sweep"] == "again"
    with pytest.raises(ConfigError, match="cannot name a sweep"):
        ae_sweep.import_sweep(exported, store=store.root, name="../x")


def test_an_export_is_written_over_only_if_it_is_one_and_with_force(
    cli: Callable[..., Any], store: Store, exported: Path, tmp_path: Path
) -> None:
    words = ("export", "r", str(exported), "--store", str(store.root))
    done = cli(*words)
    assert done.code == 4
    assert "give --force to replace it" in done.err
    (exported / "left.txt").write_text("x")
    assert cli(*words, "--force").code == 0
    assert not (exported / "left.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    done = cli("export", "r", str(mine), "--force", "--store", str(store.root))
    assert done.code == 4
    assert "files in it, and is not an export" in done.err
    assert (mine / "thesis.tex").read_text() == "x"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli("export", "r", str(empty), "--store", str(store.root)).code == 0
    assert sorted(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("a-file", "it is a file; name another directory"),
        ("none/there", "it is in no directory; name another one"),
    ],
)
def test_a_directory_that_cannot_be_made_is_refused_before_anything_is_read(
    store: Store, tmp_path: Path, directory: str, message: str
) -> None:
    (tmp_path / "a-file").write_text("x")
    with pytest.raises(StoreError, match=message):
        ae_sweep.export_sweep("r", tmp_path / directory, store=store.root)


def test_an_export_that_fails_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, iter(range(10))

    def full(descriptor: int) -> None:
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        real(descriptor)

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device; free some space there"):
        ae_sweep.export_sweep("r", tmp_path / "out", store=store.root)
    assert sorted(tmp_path.iterdir()) == before


def test_a_sweep_that_runs_is_not_exported(store: Store, tmp_path: Path) -> None:
    with (
        ownership.hold(store.running("r"), take_over_command=""),
        pytest.raises(ConflictError, match="is being run by"),
    ):
        ae_sweep.export_sweep("r", tmp_path / "out", store=store.root)
    with pytest.raises(NotStoredError, match="no sweep is named"):
        ae_sweep.export_sweep("../r", tmp_path / "out", store=store.root)


class Killed(BaseException):
    """Stands for a signal in the middle of an import."""


def test_an_import_interrupted_at_any_write_leaves_nothing(
    other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = small_export(tmp_path / "small")
    real, number, writes = Publisher.apply, 0, iter(())

    def apply(self: Publisher, entry: Any, *, again: bool = False) -> None:
        if next(writes, None) is None:
            raise Killed
        real(self, entry, again=again)

    monkeypatch.setattr(Publisher, "apply", apply)
    while True:
        writes = iter(range(number))
        try:
            ae_sweep.import_sweep(exported, store=other.root)
        except Killed:
            assert ae_sweep_names(other) == [], number
            assert not list((other.root / "artifacts").rglob("*.safetensors"))
            number += 1
            continue
        break
    assert number == 10, "every write of the export"
    assert tracking.open_for_reading(other).count_runs("r") == (1, 2)


@pytest.mark.slow
def test_what_a_killed_import_left_is_no_sweep_and_makes_room_for_the_next(
    exported: Path, other: Store, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(tracking.ArchiveWriter, "discard", lambda _: None)
        context.setattr(
            tracking.ArchiveWriter, "finish", lambda *_: (_ for _ in ()).throw(Killed())
        )
        context.setattr("ae_sweep.sweep.delete_studies", lambda *_: 0)
        with pytest.raises(Killed):
            ae_sweep.import_sweep(exported, store=other.root)
    assert len(ae_sweep_names(other)) > 6, "as a killed process leaves it"
    assert ae_sweep.list_sweeps(store=other.root) == []
    done = cli("run", "--name", "r", "--dims", "2", "--store", str(other.root))
    assert done.code == 4
    assert "ae-sweep delete r --yes" in done.err
    ae_sweep.import_sweep(exported, store=other.root)
    assert len(ae_sweep_names(other)) == 7 + 2


def test_a_trial_whose_model_was_deleted_is_trained_again_where_it_is_imported(
    copied: Store, other: Store, tmp_path: Path
) -> None:
    store = copied
    client = MlflowClient(tracking_uri=store.tracking_uri)
    gone = next(
        trial
        for trial in ae_sweep.load_sweep("r", store=store.root).trials
        if trial.outcome is Outcome.FINISHED
    )
    (output,) = client.get_run(gone.run_id).outputs.model_outputs
    client.delete_logged_model(output.model_id)
    ae_sweep.export_sweep("r", tmp_path / "out", store=store.root)
    ae_sweep.import_sweep(tmp_path / "out", store=other.root)
    fake = FakeTraining()
    run(other, fake, resume=True, retries=0)
    assert [config.hyperparameters for config in fake.started] == [gone.point.hyperparameters]


@pytest.mark.slow
def test_a_sweep_goes_to_a_tracking_server_and_comes_back(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MlflowServer(tmp_path / "server")
    server.start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        assert ae_sweep.import_sweep(exported).trials == 6
        ae_sweep.export_sweep("r", tmp_path / "back")
        with pytest.raises(ConflictError, match="stored already under the name r"):
            ae_sweep.import_sweep(exported)
    finally:
        server.stop()
    assert plain(tmp_path / "back") == plain(exported)


def plain(directory: Path) -> list[Any]:
    """Return the documents and files of an export, free of the ids of its runs."""
    sweep, trials, studies = (
        json.loads((directory / f"{name}.json").read_text())
        for name in ("sweep", "trials", "studies")
    )
    ids = [sweep["run"].pop("run_id"), *(trial.pop("run_id") for trial in trials)]
    files = [
        {
            path.relative_to(directory / folder).as_posix(): path.read_bytes()
            for path in sorted((directory / folder).rglob("*"))
            if path.is_file() and path.suffix != ".json"
        }
        for run_id in ids
        for folder in [f"runs/{run_id}"]
    ]
    weights = [directory / f"models/{run_id}.safetensors" for run_id in ids]
    return [sweep, trials, studies, files, [w.is_file() and w.read_bytes() for w in weights]]


@pytest.mark.parametrize("name", [pytest.param("digits", marks=pytest.mark.slow), "fsq"])
def test_a_sweep_of_version_0_1_0_is_exported_imported_and_complete(
    cli: Callable[..., Any], other: Store, tmp_path: Path, name: str
) -> None:
    old = Store(unpack(tmp_path / "old"))
    ae_sweep.export_sweep(name, tmp_path / "out", store=old.root)
    ae_sweep.import_sweep(tmp_path / "out", store=other.root)
    before, after = everything(old, name), everything(other, name)
    assert after["studies"] == before["studies"]
    assert after["runs"] == before["runs"]
    words = ("run", "--name", name, "--resume", "--dry-run", "--json", "--store", str(other.root))
    done = cli(*words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["trials_to_train"] == 0
