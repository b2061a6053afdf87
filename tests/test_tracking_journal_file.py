"""A journal keeps every line that was written, drops a torn tail, and refuses anything else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support  # noqa: F401 - imports MLflow without its warnings

from ae_sweep.errors import ConflictError, StoreError
from ae_sweep.tracking import journal_file
from ae_sweep.tracking.journal_file import DamagedError, JournalFile, line_of, parse

if TYPE_CHECKING:
    from pathlib import Path

RECORDS: list[dict[str, Any]] = [
    {"op": "start", "run": "1-ab", "tags": {"name": "d=2 trial 0"}},
    {"op": "metrics", "values": [0.1, 1e-300, 3, 0.1 + 0.2], "text": 'Zürich\n\u2028 \\ "'},
    {},
    {"op": "end", "nested": {"empty": [], "none": None, "yes": True}},
]
LINES = [line_of(record) for record in RECORDS]
WHOLE = b"".join(LINES)


@pytest.fixture
def journal(tmp_path: Path) -> JournalFile:
    return JournalFile(tmp_path / "running" / "first")


def whole_lines(length: int) -> int:
    """Count the lines that end within so many bytes."""
    return sum(sum(map(len, LINES[: n + 1])) <= length for n in range(len(LINES)))


def test_records_come_back_as_they_were_written() -> None:
    assert parse(WHOLE) == (RECORDS, len(WHOLE))
    assert parse(b"") == ([], 0)


def test_a_file_cut_off_at_any_length_holds_the_lines_before_the_cut() -> None:
    for length in range(len(WHOLE) + 1):
        count = whole_lines(length)
        assert parse(WHOLE[:length]) == (RECORDS[:count], sum(map(len, LINES[:count]))), length


@pytest.mark.parametrize("length", [0, 1, len(LINES[0]) - 1, len(LINES[0]), len(WHOLE) - 1])
def test_a_journal_that_was_cut_off_goes_on(journal: JournalFile, length: int) -> None:
    journal.folder.mkdir(parents=True)
    journal.path.write_bytes(WHOLE[:length])
    before = RECORDS[: whole_lines(length)]
    assert journal_file.read(journal.folder) == before
    assert journal.open() == before
    journal.append({"op": "after"})
    journal.close()
    assert journal_file.read(journal.folder) == [*before, {"op": "after"}]


def test_no_changed_bit_passes_for_what_was_written() -> None:
    for position in range(len(WHOLE)):
        for bit in (0, 6):
            changed = bytearray(WHOLE)
            changed[position] ^= 1 << bit
            try:
                records, _ = parse(bytes(changed))
            except DamagedError:
                continue
            # Only the end can pass for a line that was cut off; a lost newline joins two lines.
            assert records == RECORDS[: len(records)]
            assert len(records) >= len(RECORDS) - (2 if WHOLE[position] == ord("\n") else 1)


@pytest.mark.parametrize(
    "tail", [b"\0" * 40, b"\0" * 40 + b"\n", b"\n\n", b"0123456789abcdef {}\n"]
)
def test_what_a_power_cut_leaves_after_the_last_line_is_dropped(tail: bytes) -> None:
    assert parse(WHOLE + tail) == (RECORDS, len(WHOLE))


def test_a_line_that_is_no_object_is_damaged() -> None:
    text = b"[1]"
    line = journal_file._checksum(text) + b" " + text + b"\n"
    with pytest.raises(DamagedError):
        parse(line + LINES[0])


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(journal: JournalFile) -> None:
    journal.folder.mkdir(parents=True)
    content = LINES[0] + LINES[1].replace(b"metrics", b"Metrics") + LINES[2]
    journal.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"journal\.jsonl is damaged in line 2; .*--resume"):
        journal_file.read(journal.folder)
    with pytest.raises(StoreError, match="line 2"):
        journal.open()
    assert journal.path.read_bytes() == content, "it is left as it is, for whoever mends it"


def test_a_number_that_is_not_finite_is_not_written(journal: JournalFile) -> None:
    journal.open()
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"value": float("nan")})
    assert journal_file.read(journal.folder) == []


def test_there_is_nothing_where_there_is_no_journal(journal: JournalFile) -> None:
    assert journal_file.read(journal.folder) == []
    assert not journal.folder.exists()
    with pytest.raises(RuntimeError, match="not open"):
        journal.append({})


def test_files_are_kept_beside_it_and_removed_with_it(journal: JournalFile, tmp_path: Path) -> None:
    journal.open()
    names = [journal.keep(content) for content in (b"weights", b"", b"weights")]
    assert names[0] == names[2] != names[1]
    assert [journal.content(name) for name in names[:2]] == [b"weights", b""]
    journal.append({"op": "model", "weights": names[0]})
    journal.remove()
    assert [*tmp_path.iterdir()] == []


def test_what_others_keep_in_its_directory_stays(journal: JournalFile) -> None:
    journal.open()
    (journal.folder / "owner.json").write_text("{}")
    journal.remove()
    assert [path.name for path in journal.folder.iterdir()] == ["owner.json"]
    assert journal.open() == []


def test_a_file_that_was_changed_is_not_returned(journal: JournalFile) -> None:
    journal.open()
    name = journal.keep(b"weights")
    (journal.folder / journal_file.BLOBS / name).write_bytes(b"others")
    with pytest.raises(StoreError, match="not what was kept"):
        journal.content(name)


@pytest.mark.parametrize(
    "name", ["../journal.jsonl", "/etc/passwd", "", "a" * 63, "../" * 21 + "a"]
)
def test_a_name_cannot_lead_out_of_the_directory(journal: JournalFile, name: str) -> None:
    journal.open()
    with pytest.raises(StoreError, match="not what was kept"):
        journal.content(name)


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", range(1, 5))
def test_a_record_that_cannot_be_written_leaves_the_ones_before_it(
    journal: JournalFile, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    journal.open()
    original, count = getattr(os, call), 0

    def fail(descriptor: int, *content: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            if call == "write":  # half of it arrives
                original(descriptor, bytes(content[0])[: len(content[0]) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(descriptor, *content)

    monkeypatch.setattr(os, call, fail)
    written = []
    for record in RECORDS:
        try:
            journal.append(record)
            written.append(record)
        except OSError:
            pass
    assert written == [*RECORDS[: number - 1], *RECORDS[number:]]
    assert journal_file.read(journal.folder) == written


def test_one_process_has_it_at_a_time(journal: JournalFile) -> None:
    journal.open()
    journal.append({"op": "ours"})
    other = JournalFile(journal.folder)
    with pytest.raises(ConflictError, match="another process has the journal"):
        other.open()
    journal.close()
    assert other.open() == [{"op": "ours"}]


def test_a_journal_that_was_removed_meanwhile_is_made_anew(
    journal: JournalFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.open()
    lock = journal_file._lock

    def lock_late(descriptor: int, path: Path) -> None:
        monkeypatch.setattr(journal_file, "_lock", lock)
        journal.remove()
        path.parent.mkdir(parents=True)
        lock(descriptor, path)

    monkeypatch.setattr(journal_file, "_lock", lock_late)
    other = JournalFile(journal.folder)
    other.open()
    other.append({"op": "kept"})
    assert journal_file.read(journal.folder) == [{"op": "kept"}]


KILLED = """
import os, sys
from pathlib import Path
from ae_sweep.tracking.journal_file import JournalFile
journal = JournalFile(Path(sys.argv[1]))
journal.open()
for number in range(1_000_000):
    journal.append({"number": number})
    if number == 5:
        print("begun", flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_record_that_it_had_written(journal: JournalFile) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(journal.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
    records = journal.open()
    assert len(records) > 5
    assert records == [{"number": number} for number in range(len(records))]
