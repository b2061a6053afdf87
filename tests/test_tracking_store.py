"""Opening the tracking store: made once, refused with a reason, never half-made."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import tracking_support as support
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from ae_sweep import tracking
from ae_sweep.errors import NotStoredError, StoreError
from ae_sweep.locations import Store
from ae_sweep.tracking import database, errors, reach

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return support.fresh_store(tmp_path)


def test_opening_makes_database_and_experiment_with_absolute_artifact_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "a b c#é" / "mlruns")
    opened = tracking.open_for_writing(store)
    sweep = opened.start_sweep(support.config(), card=support.CARD, environment={})
    support.finish(support.start(sweep))
    experiment = MlflowClient(tracking_uri=store.tracking_uri).get_experiment_by_name("ae-sweep")
    assert experiment is not None
    assert experiment.artifact_location == f"file://{quote(str(store.artifact_root))}"
    assert {path.name for path in store.root.iterdir()} - {"mlflow.db-wal", "mlflow.db-shm"} == {
        "mlflow.db",
        "artifacts",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["a b c#é"], "nothing beside the store"
    with closing(sqlite3.connect(store.root / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_finds_the_same_experiment(store: Store) -> None:
    first, again = tracking.open_for_writing(store), tracking.open_for_writing(store)
    assert first.experiment_id == again.experiment_id
    assert tracking.open_for_reading(store).experiment_id == first.experiment_id


def test_the_experiment_is_made_in_a_database_of_mlflow_that_has_none(store: Store) -> None:
    with sqlite3.connect(store.root / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags")
        connection.execute("DELETE FROM experiments WHERE name = 'ae-sweep'")
    connection.close()
    with pytest.raises(NotStoredError, match="nothing is stored"):
        tracking.open_for_reading(store)
    assert tracking.open_for_writing(store).sweeps() == []


def test_a_creation_that_fails_leaves_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    # MLflow's part takes seconds, and another test has it.
    monkeypatch.setattr(database, "_fill", lambda file, _: file.touch())
    monkeypatch.setattr(database, "_publish", cut_off)
    with pytest.raises(StoreError, match=r"No space left on device; free some space"):
        tracking.open_for_writing(Store(tmp_path / "mlruns"))
    assert list((tmp_path / "mlruns").iterdir()) == []


def test_a_database_that_another_process_made_meanwhile_stays(store: Store, tmp_path: Path) -> None:
    content = (store.root / "mlflow.db").read_bytes()
    (tmp_path / "fresh.db").write_bytes(b"mine")
    database._publish(tmp_path / "fresh.db", store.root / "mlflow.db")
    assert (store.root / "mlflow.db").read_bytes() == content


def test_an_empty_file_counts_as_no_database(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(NotStoredError):
        tracking.open_for_reading(store)
    shutil.copy(support.fresh_store(tmp_path / "other").root / "mlflow.db", tmp_path / "fresh.db")
    database._publish(tmp_path / "fresh.db", tmp_path / "mlflow.db")
    database.check(tmp_path / "mlflow.db")


@pytest.mark.parametrize("root", ["missing", "missing/deeper", "."])
def test_reading_where_nothing_is_stored_says_so_and_makes_nothing(
    tmp_path: Path, root: str
) -> None:
    with pytest.raises(NotStoredError, match=r"nothing is stored in .*`ae-sweep run .*--store"):
        tracking.open_for_reading(Store(tmp_path / root))
    assert list(tmp_path.iterdir()) == []


OPENERS = [tracking.open_for_writing, tracking.open_for_reading]


@pytest.mark.parametrize("opener", OPENERS)
class TestRefusals:
    """Each names the value and the way out, for writing and for reading."""

    def test_a_store_that_is_a_file(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        (tmp_path / "mlruns").write_text("a file")
        with pytest.raises(StoreError, match=r"mlruns is a file; .*--store"):
            opener(Store(tmp_path / "mlruns"))

    def test_a_store_below_a_file(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        (tmp_path / "file").write_text("a file")
        with pytest.raises(StoreError, match=r"Not a directory; .*--store"):
            opener(Store(tmp_path / "file" / "mlruns"))

    def test_a_database_that_is_garbage(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1_000)
        with pytest.raises(StoreError, match=r"mlflow\.db .* not a database; move it away"):
            opener(Store(tmp_path))
        assert (tmp_path / "mlflow.db").read_bytes() == b"garbage" * 1_000

    def test_a_database_that_is_a_directory(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        (tmp_path / "mlflow.db").mkdir()
        with pytest.raises(StoreError, match=r"mlflow.db is a directory; move it away"):
            opener(Store(tmp_path))

    def test_a_database_cut_off_in_the_middle(
        self, store: Store, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        file = store.root / "mlflow.db"
        file.write_bytes(file.read_bytes()[:5_000])
        with pytest.raises(StoreError, match=r"malformed"):
            opener(store)

    def test_a_database_of_another_program_stays_as_it_is(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
            connection.execute("CREATE TABLE cakes (name TEXT)")
        before = (tmp_path / "mlflow.db").read_bytes()
        with pytest.raises(StoreError, match=r"is a database, but not MLflow's"):
            opener(Store(tmp_path))
        assert (tmp_path / "mlflow.db").read_bytes() == before

    def test_a_database_of_a_newer_mlflow(
        self, store: Store, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        with sqlite3.connect(store.root / "mlflow.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
        connection.close()
        with pytest.raises(StoreError, match=r"fedcba987654.*upgrade MLflow"):
            opener(store)

    def test_a_database_of_a_newer_mlflow_that_lacks_a_table(
        self, store: Store, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        with sqlite3.connect(store.root / "mlflow.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
            connection.execute("DROP TABLE webhooks")
        connection.close()
        with pytest.raises(StoreError, match=r"fedcba987654.*upgrade MLflow"):
            opener(store)

    @pytest.mark.parametrize(("name", "sign"), [("why?", r"'\?'"), ("100%", "'%'")])
    def test_a_path_that_no_database_address_can_hold(
        self,
        tmp_path: Path,
        opener: Callable[[Store], tracking.TrackingStore],
        name: str,
        sign: str,
    ) -> None:
        with pytest.raises(StoreError, match=f"has a {sign} in its path"):
            opener(Store(tmp_path / name))

    def test_a_deleted_experiment(
        self, store: Store, opener: Callable[[Store], tracking.TrackingStore]
    ) -> None:
        client = MlflowClient(tracking_uri=store.tracking_uri)
        experiment = client.get_experiment_by_name("ae-sweep")
        assert experiment is not None
        client.delete_experiment(experiment.experiment_id)
        with pytest.raises(
            StoreError,
            match=r"is deleted; restore it with `MLFLOW_TRACKING_URI=.* mlflow experiments",
        ):
            opener(store)

    @pytest.mark.parametrize(
        "address",
        [
            "http://127.0.0.1:{port}",
            "postgresql://user@127.0.0.1:{port}/runs",
            "http://no-such-host.invalid",
        ],
    )
    def test_a_tracking_server_that_cannot_be_reached(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore], address: str
    ) -> None:
        store = Store(tmp_path, tracking_override=address.format(port=support.free_port()))
        with pytest.raises(StoreError, match=r"cannot be reached: .*MLFLOW_TRACKING_URI"):
            opener(store)

    @pytest.mark.parametrize("address", ["carrier-pigeon://loft", "file:///tmp/runs", "./mlruns"])
    def test_a_tracking_address_that_mlflow_refuses(
        self, tmp_path: Path, opener: Callable[[Store], tracking.TrackingStore], address: str
    ) -> None:
        with pytest.raises(StoreError, match=r"failed: "):
            opener(Store(tmp_path, tracking_override=address))


def test_a_store_in_a_directory_that_cannot_be_written() -> None:
    root = Path("/proc/ae-sweep/mlruns")
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(StoreError, match=r"/proc/ae-sweep/mlruns.*--store"):
        tracking.open_for_writing(Store(root))


def test_a_moved_store_is_read_but_not_written_beside(store: Store, tmp_path: Path) -> None:
    moved = Store(tmp_path / "moved")
    store.root.rename(moved.root)
    assert tracking.open_for_reading(moved).sweeps() == []
    with pytest.raises(StoreError, match=r"was moved or copied; to write.*doctor --adopt"):
        tracking.open_for_writing(moved)


def test_nothing_is_added_to_a_copied_store_whose_files_are_elsewhere(
    store: Store, tmp_path: Path
) -> None:
    copied = Store(tmp_path / "copied")
    shutil.copytree(store.root, copied.root)
    before = sorted(store.root.rglob("*"))
    with pytest.raises(StoreError, match=r"was moved or copied; to write.*doctor --adopt"):
        tracking.open_for_reading(copied).add_to_run("any", files={"picture.png": b"x"})
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MlflowException("(sqlite3.OperationalError) database is locked\n[SQL]"), "end the other"),
        (OperationalError("x", {}, Exception("attempt to write a readonly database")), "--store"),
        (PermissionError(13, "Permission denied"), "can be written"),
        (OSError(28, "No space left on device"), "free some space"),
        (MlflowException("database disk image is malformed"), "restore it from a copy"),
        (MlflowException("API request to http://x failed"), "check that the tracking server runs"),
        (MlflowException("x" * 5_000), "check that it can be read"),
        (MlflowException(""), "MlflowException; check that it can be read"),
    ],
)
def test_every_exception_of_mlflow_becomes_one_line_with_a_next_step(
    error: Exception, message: str
) -> None:
    with pytest.raises(StoreError, match=message) as caught, errors.translated("/store"):
        raise error
    text = str(caught.value)
    assert "/store" in text
    assert "\n" not in text
    assert len(text) < 600
    assert caught.value.exit_code == 3


def test_a_broken_database_is_told_by_every_call(store: Store) -> None:
    opened = tracking.open_for_writing(store)
    sweep = opened.start_sweep(support.config(), card=support.CARD, environment={})
    trial = support.start(sweep)
    with sqlite3.connect(store.root / "mlflow.db") as connection:
        for table in ("latest_metrics", "metrics", "tags"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()
    calls: list[Callable[[], object]] = [
        opened.sweeps,
        opened.sweep,
        lambda: opened.trials("first"),
        lambda: tracking.finished_points(opened.trials("first")),
        lambda: opened.start_sweep(support.config("b"), card=support.CARD, environment={}),
        lambda: opened.resume_sweep(support.config(), card=support.CARD),
        lambda: support.start(sweep),
        lambda: trial.log_epoch(support.epoch()),
        lambda: support.finish(trial),
        trial.prune,
        trial.interrupt,
        lambda: trial.fail("x"),
        lambda: support.finish_sweep(sweep),
        sweep.interrupt,
    ]
    for call in calls:
        with pytest.raises(StoreError, match="no such table"):
            call()


@pytest.mark.slow
def test_mlflow_says_nothing_and_reports_nothing(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
import tracking_support as support
from ae_sweep.locations import Store
from ae_sweep import tracking
import mlflow.telemetry
store = tracking.open_for_writing(Store(Path({str(tmp_path / "mlruns")!r})))
sweep = store.start_sweep(support.config(), card=support.CARD, environment=dict())
support.finish(support.start(sweep))
support.finish_sweep(sweep)
assert mlflow.telemetry.get_telemetry_client() is None, "telemetry is on"
import sys
assert not {{"torch", "optuna", "matplotlib"}} & set(sys.modules), "heavy imports"
"""
    disabling = {"CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "PYTEST_VERSION"}
    environment = {key: value for key, value in os.environ.items() if key not in disabling}
    environment = {key: value for key, value in environment.items() if "MLFLOW" not in key}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["mlruns"], "nothing in the home directory"


def test_a_server_error_counts_as_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error
    import urllib.request
    from email.message import Message

    def answer(code: int) -> Callable[..., object]:
        def refuse(address: str, **_: object) -> object:
            raise urllib.error.HTTPError(address, code, "reason", Message(), None)

        return refuse

    monkeypatch.setattr(urllib.request, "urlopen", answer(503))
    with pytest.raises(StoreError, match="503"):
        reach.check_reachable("http://server", "http://server")
    monkeypatch.setattr(urllib.request, "urlopen", answer(401))
    reach.check_reachable("http://server", "http://server")
