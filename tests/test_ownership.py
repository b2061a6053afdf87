"""One process runs a sweep: the second is refused, a dead one is recognised."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, environment

from ae_sweep import ownership, process_identity
from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.ownership import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ae_sweep.process_identity import ProcessIdentity

TAKE_OVER = "ae-sweep run --name r --resume --take-over"
HOLDER = """
import sys, time
from pathlib import Path
from ae_sweep import ownership
with ownership.hold(Path(sys.argv[1]), take_over_command=""):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "running" / "r"


def hold(folder: Path, *, take_over: bool = False) -> Any:
    return ownership.hold(folder, take_over_command=TAKE_OVER, take_over=take_over)


def leave(folder: Path, **changes: Any) -> ProcessIdentity:
    """Leave the record of a process that is not there, as a killed one does."""
    folder.mkdir(parents=True)
    owner = dataclasses.replace(process_identity.this_process(), **changes)
    (folder / "owner.json").write_text(json.dumps(dataclasses.asdict(owner)))
    return owner


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env=environment(PYTHONPATH=str(ROOT)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_sweep_that_runs_is_refused_to_a_second_process_which_is_told_the_first(
    folder: Path,
) -> None:
    me = process_identity.this_process()
    with hold(folder):
        assert ownership.find(folder) == ownership.Found(me, State.ALIVE)
        with pytest.raises(ConflictError, match=f"the sweep r is being run by process {me.pid} on"):
            ownership.check_free(folder, take_over_command=TAKE_OVER)
        for take_over in (False, True):
            with (
                pytest.raises(ConflictError, match="is being run by"),
                hold(folder, take_over=take_over),
            ):
                pass
        assert ownership.find(folder) is not None, "the refused one removes nothing"
    assert ownership.find(folder) is None
    assert not folder.parent.exists(), "nothing is left behind"
    with hold(folder):
        pass


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_record_decides(folder: Path) -> None:
    with hold(folder):
        found = ownership.find(folder)
        assert found is not None
        assert found.state is State.ALIVE
        with pytest.raises(ConflictError), hold(folder):
            pass


@pytest.mark.parametrize("locks", ["with locks", "without locks"])
@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},
        {"started": "1"},
        {"boot": "an earlier start of this machine"},
    ],
    ids=["the process has ended", "its id is another's now", "the machine was started anew"],
)
def test_a_dead_process_is_recognised_and_its_place_taken(
    folder: Path, request: pytest.FixtureRequest, locks: str, changes: dict[str, Any]
) -> None:
    if locks == "without locks":
        request.getfixturevalue("without_locks")
    owner = leave(folder, **changes)
    found = ownership.check_free(folder, take_over_command=TAKE_OVER)
    assert found == ownership.Found(owner, State.DEAD)
    with hold(folder):
        assert (found := ownership.find(folder)) is not None
        assert found.owner == process_identity.this_process()


def test_a_process_on_another_machine_is_not_taken_for_dead_but_can_be_taken_over(
    folder: Path,
) -> None:
    leave(folder, host="far", machine="other", boot="other", pid=77)
    found = ownership.find(folder)
    assert found is not None
    assert found.state is State.UNKNOWN
    message = "begun by process 77 on 'far', which this machine cannot see; .*`(.*)`"
    with pytest.raises(ConflictError, match=message) as caught, hold(folder):
        pass
    assert TAKE_OVER in str(caught.value)
    with hold(folder, take_over=True):
        assert (found := ownership.find(folder)) is not None
        assert found.owner == process_identity.this_process()


def test_a_machine_that_is_given_up_may_hold_its_lock_for_ever(
    folder: Path, other_process: subprocess.Popen[str]
) -> None:
    """Its lock, kept by a server of files, looks as that of a process here with another record."""
    owner = dataclasses.replace(process_identity.this_process(), host="far", machine="o", boot="o")
    with (folder / "owner.json").open("r+") as file:
        file.truncate()
        file.write(json.dumps(dataclasses.asdict(owner)))
    with pytest.raises(ConflictError, match="which this machine cannot see"), hold(folder):
        pass
    with hold(folder, take_over=True) as holding:
        holding.check()


def test_a_process_whose_sweep_was_taken_over_ends(folder: Path) -> None:
    with hold(folder) as holding:
        holding.check()
        (folder / "owner.json").unlink()
        folder.rmdir()
        other = leave(folder, host="far", pid=77)
        with pytest.raises(ConflictError, match="was taken over by process 77 on 'far'"):
            holding.check()
    assert json.loads((folder / "owner.json").read_text())["pid"] == other.pid, "it is the other's"


def test_a_process_whose_record_is_gone_or_a_copy_ends(folder: Path) -> None:
    message = f"the store {folder.parent.parent} was moved or deleted while the sweep r ran"
    with hold(folder) as holding:
        copy = (folder / "owner.json").read_bytes()
        (folder / "owner.json").unlink()
        with pytest.raises(StoreError, match=re.escape(message)):
            holding.check()
        (folder / "owner.json").write_bytes(copy)
        with pytest.raises(StoreError, match=re.escape(message)):
            holding.check()
    assert (folder / "owner.json").read_bytes() == copy, "nothing is removed that is not its own"


def test_a_killed_process_lets_go_and_what_it_wrote_half_is_nobodys(
    folder: Path, other_process: subprocess.Popen[str]
) -> None:
    found = ownership.find(folder)
    assert found is not None
    assert found.owner is not None
    assert (found.owner.pid, found.state) == (other_process.pid, State.ALIVE)
    other_process.kill()
    other_process.wait()
    assert (found := ownership.find(folder)) is not None
    assert found.state is State.DEAD
    whole = (folder / "owner.json").read_bytes()
    for length in range(len(whole)):
        (folder / "owner.json").write_bytes(whole[:length])
        found = ownership.find(folder)
        assert found == ownership.Found(None, State.DEAD)
    with hold(folder):
        pass


@pytest.mark.parametrize("text", ["[]", "null", "1", '{"pid": []}', '{"pid": "x"}', "[" * 4000])
def test_a_record_that_is_none_is_nobodys(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "owner.json").write_text(text)
    with hold(folder):
        pass


def test_a_process_that_only_asks_keeps_nobody_from_beginning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(folder, pid=2**22 + 1)
    asking = os.open(folder / "owner.json", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
    with hold(folder):
        pass
    os.close(asking)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"), hold(tmp_path / "running" / "r"):
        pass


def test_other_files_in_the_folder_are_left(folder: Path) -> None:
    with hold(folder):
        (folder / "journal.jsonl").write_text("kept")
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]


def test_a_system_without_proc_is_asked_by_its_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def say(*command: str) -> str:
        asked.append(command[0])
        return "Thu Nov 26 21:30:26 2026"

    monkeypatch.setattr(process_identity, "PROC", Path("/nowhere"))
    monkeypatch.setattr(process_identity, "_said", say)
    owner = process_identity.this_process()
    assert owner.started == owner.boot == "Thu Nov 26 21:30:26 2026"
    assert asked == ["sysctl", "ps"]
