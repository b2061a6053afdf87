"""One process runs a sweep; a second is refused, and a dead one is shown and resumed as such."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from fake_engine import SMALL, faking
from fakes import FakeTraining

import ae_sweep
from ae_sweep import process_identity
from ae_sweep.errors import ConfigError, ConflictError
from ae_sweep.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ae_sweep.locations import Store

pytestmark = pytest.mark.usefixtures("faked_sweeps")

ADVISED = re.compile(r"`(ae-sweep .*?)`")


def run(**changes: Any) -> Any:
    settings = {"dims": [2, 4], "trials": 1, "engine": faking(FakeTraining()), **SMALL}
    return ae_sweep.iter_sweep("r", **{**settings, **changes})


def resume(**changes: Any) -> Any:
    return ae_sweep.run_sweep(
        "r", resume=True, engine=faking(FakeTraining()), progress=False, **changes
    )


@pytest.fixture
def killed(store: Store) -> Callable[..., None]:
    """Leave a sweep in its first trial, as a process does that is killed."""

    def leave(**changes: Any) -> None:
        with contextlib.closing(run()) as events, pytest.MonkeyPatch.context() as patch:
            for _ in range(3):
                next(events)
            for place in ("tracking.writer.RunWriter.interrupt", "sweep.Driver._abandon"):
                patch.setattr(f"ae_sweep.{place}", lambda *_: None)
            events.close()
        folder = store.running("r")
        folder.mkdir(parents=True)
        owner = dataclasses.replace(
            process_identity.this_process(), **{"pid": 2**22 + 1, "started": "1", **changes}
        )
        (folder / "owner.json").write_text(json.dumps(dataclasses.asdict(owner)))

    return leave


def test_a_sweep_that_runs_is_refused_whatever_asks_for_it_and_is_not_disturbed(
    store: Store, cli: Callable[..., Any]
) -> None:
    here = process_identity.this_process()
    words = ("run", "--name", "r", "--store", str(store.root))
    with contextlib.closing(run()) as events:
        for _ in range(3):
            next(events)
        for refused in (resume, lambda: next(run()), lambda: ae_sweep.plan_sweep("r", resume=True)):
            with pytest.raises(ConflictError, match=f"is being run by process {here.pid} on "):
                refused()
        for more in ([], ["--resume"], ["--resume", "--take-over"], ["--resume", "--dry-run"]):
            done = cli(*words, *more)
            assert done.code == 4
            assert f"error: the sweep r is being run by {here}" in done.err
        assert ae_sweep.list_sweeps()[0].outcome is Outcome.RUNNING
        list(events)
    sweep = ae_sweep.load_sweep("r")
    assert [trial.outcome for trial in sweep.trials] == [Outcome.FINISHED] * 2
    assert not store.running("r").exists()


def test_two_that_begin_at_once_are_told_apart_where_they_begin(store: Store) -> None:
    first, second = run(), run()
    with contextlib.closing(first), contextlib.closing(second):
        next(first)  # both are planned
        next(second)
        next(first)
        with pytest.raises(ConflictError, match="is being run by"):
            next(second)
        list(first)
    assert len(ae_sweep.load_sweep("r").trials) == 2


def test_a_sweep_whose_process_is_dead_is_shown_as_interrupted_and_resumed(
    killed: Callable[..., None], cli: Callable[..., Any], store: Store
) -> None:
    killed()
    (listed,) = ae_sweep.list_sweeps()
    assert listed.outcome is Outcome.INTERRUPTED
    assert listed.counts[Outcome.RUNNING] == 0
    assert listed.counts[Outcome.INTERRUPTED] == 1
    assert [trial.outcome for trial in ae_sweep.load_sweep("r").trials] == [Outcome.INTERRUPTED]
    at = ("--store", str(store.root))
    assert cli("list", *at).out.splitlines()[1].split().count("running") == 0
    assert "r: interrupted" in cli("show", "r", *at).err
    planned = cli("run", "--name", "r", "--resume", "--dry-run", *at)
    assert planned.code == 0, planned.err
    assert f"process {2**22 + 1} on" in planned.err
    assert "which ran r, has ended; what it trained is tried again" in planned.err
    assert resume().record.outcome is Outcome.FINISHED


def test_a_sweep_of_another_machine_is_taken_over_by_the_command_that_the_message_prints(
    killed: Callable[..., None], cli: Callable[..., Any], store: Store
) -> None:
    killed(host="far", machine="m", boot="b")
    at = ("--store", str(store.root))
    assert cli("list", *at).out.splitlines()[1].split().count("running") == 1, "nobody knows"
    refused = cli("run", "--name", "r", "--resume", *at, "--image-memory", "0.5")
    assert refused.code == 4
    assert "on 'far', which this machine cannot see" in refused.err
    (advice,) = ADVISED.findall(refused.err)
    typed = cli(*shlex.split(advice)[1:], "--dry-run")
    assert typed.code == 0, typed.err
    assert "on 'far', which ran r, is given up" in typed.err
    with pytest.raises(ConflictError, match="take the sweep over"):
        resume()
    assert resume(take_over=True).record.outcome is Outcome.FINISHED


def test_only_a_stored_sweep_can_be_taken_over(store: Store) -> None:
    with pytest.raises(ConfigError, match="add --resume and --name"):
        next(run(take_over=True))


def test_a_process_that_learns_that_its_sweep_was_taken_over_ends_and_leaves_it_alone(
    store: Store,
) -> None:
    with contextlib.closing(run()) as events:
        for _ in range(3):
            next(events)
        record = store.running("r") / "owner.json"
        record.unlink()
        far = dataclasses.replace(process_identity.this_process(), host="far", pid=7)
        record.write_text(json.dumps(dataclasses.asdict(far)))
        with pytest.raises(ConflictError, match="was taken over by process 7 on 'far'"):
            list(events)
    assert record.exists()
    status = support.tracking.open_for_reading(store)._runs.parent("r").info.status
    assert status == "RUNNING", "it is the other's"
