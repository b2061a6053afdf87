"""The system's clock is set back during a sweep, and between two."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import SMALL, faking
from fakes import FakeTraining
from mlflow import MlflowClient

import ae_sweep
from ae_sweep.records import Outcome
from ae_sweep.tracking.clock import SteadyClock

if TYPE_CHECKING:
    from ae_sweep.locations import Store

pytestmark = pytest.mark.usefixtures("faked_sweeps")

HOUR = 3_600_000_000_000


@pytest.fixture
def set_back(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the system's clock back by a number of hours; measured times go on."""
    hours = [0]
    time_ns, seconds = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: time_ns() - hours[0] * HOUR)
    monkeypatch.setattr(time, "time", lambda: seconds() - hours[0] * HOUR / 1e9)
    return lambda by: hours.__setitem__(0, hours[0] + by)


def test_time_goes_on_from_where_it_was_and_never_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([100, 107, 50, 51, 20, 25, 500])
    monkeypatch.setattr(time, "time_ns", lambda: next(told) * 1_000_000)
    clock = SteadyClock()
    assert [clock.now_ms() for _ in range(7)] == [100, 107, 107, 108, 108, 113, 588]


def test_runs_of_a_sweep_stay_in_order_and_end_after_they_began(
    store: Store, set_back: Any
) -> None:
    events = ae_sweep.iter_sweep(
        "r", engine=faking(FakeTraining()), dims=2, trials=4, lr="1e-3:1e-1", **SMALL
    )
    planned = next(events)
    ended: list[str] = []
    try:
        for number, event in enumerate(events):
            if number % 3 == 0:
                set_back(5)
            if type(event).__name__ == "TrialEnded":
                ended.append(event.trial.name)
    except BaseException:
        events.close()
        raise
    assert planned is not None
    sweep = ae_sweep.load_sweep("r")
    assert [trial.name for trial in sweep.trials] == ended, "as they were started"
    client = MlflowClient(store.tracking_uri)
    for run_id in (sweep.record.run_id, *(trial.run_id for trial in sweep.trials)):
        run = client.get_run(run_id)
        assert run.info.start_time <= run.info.end_time
        for key in run.data.metrics:
            history = client.get_metric_history(run_id, key)
            stamps = [metric.timestamp for metric in history]
            assert stamps == sorted(stamps)
            assert history[-1].value == run.data.metrics[key], "the last one counts"


@pytest.mark.slow
def test_a_sweep_resumed_before_it_began_is_whole(store: Store, set_back: Any) -> None:
    fake = FakeTraining(interrupt_at=6)
    settings: dict[str, Any] = {"dims": [2, 4], "trials": 2, "pruner": "none", **SMALL}
    with pytest.raises(KeyboardInterrupt):
        ae_sweep.run_sweep("r", engine=faking(fake), progress=False, **settings)
    set_back(5)
    sweep = ae_sweep.run_sweep("r", engine=faking(FakeTraining()), progress=False, resume=True)
    assert [trial.outcome for trial in sweep.trials] == [Outcome.FINISHED] * 4
    assert sweep.record.outcome is Outcome.FINISHED
