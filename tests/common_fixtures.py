"""Fixtures that tests of several files share: stores, memory in place of one, threads.

``conftest`` imports them for all tests. Libraries are imported where they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlflow import MlflowClient

    from ae_sweep.locations import Store
    from ae_sweep.tracking import TrackingStore


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, where a command that runs in the test's directory looks for it."""
    import tracking_support as support

    return support.fresh_store(tmp_path)


@pytest.fixture
def opened(store: Store) -> TrackingStore:
    from ae_sweep import tracking

    return tracking.open_for_writing(store)


@pytest.fixture
def client(store: Store) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=store.tracking_uri)


@pytest.fixture
def faked_sweeps(
    tmp_path: Path, plain_pictures: None, no_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run sweeps of faked trainings in the test's directory; nothing is measured or drawn."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def careless() -> Iterator[None]:
    """Have SQLite not wait for the disk."""
    from fakes import careless_sqlite

    with careless_sqlite():
        yield


@pytest.fixture
def new_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Put a new storage without a file in place of Optuna's database, each time it is called."""
    import optuna

    from ae_sweep.sweep import studies

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def renew() -> Any:
        storage = optuna.storages.InMemoryStorage()
        monkeypatch.setattr(studies, "open_storage", lambda _path: storage)
        return storage

    return renew


@pytest.fixture
def in_memory(new_memory: Callable[[], Any]) -> Any:
    """A storage without a file: what it is kept in changes the time of a test alone."""
    return new_memory()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny images train no faster with more, and much slower beside another busy process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let coding use two cores, and torch two threads."""
    import torch

    from ae_sweep.models import coding

    before = torch.get_num_threads()
    monkeypatch.setattr(coding, "usable_cores", lambda: 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
