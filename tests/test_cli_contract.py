"""What holds for all commands: help, the two streams, colours, exit codes, quick start."""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = (
    "run",
    "ui",
    "frontier",
    "dimensions",
    "reconstruct",
    "latent",
    "manifold",
    "interpolate",
    "sample",
    "encode",
    "decode",
    "inspect",
    "report",
    "identity",
    "sync",
    "list",
    "show",
    "delete",
    "export",
    "import",
    "data",
    "doctor",
)
ESCAPE = "\x1b"
LAUNCHERS = {
    "python cli.py": [sys.executable, str(ROOT / "cli.py")],
    "ae-sweep": [str(Path(sys.executable).with_name("ae-sweep"))],
}
WITHOUT_HEAVY_IMPORTS = """
import sys
from ae_sweep.cli.app import main

sys.argv = ["ae-sweep", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
heavy = {"torch", "torchvision", "mlflow", "optuna", "matplotlib", "pandas", "scipy", "numpy"}
sys.exit(f"imported: {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(
    cli: Callable[..., Any], command: str
) -> None:
    done = cli(command, "--help")
    assert done.code == 0
    assert re.search(rf"^\s*Example: ae-sweep {command}\b", done.out, re.MULTILINE), done.out
    assert done.err == ""
    assert cli(command, "-h") == done


def test_the_help_of_the_program_lists_every_command(cli: Callable[..., Any]) -> None:
    listed = re.findall(r"^  ([a-z]+)  ", cli("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert tuple(listed) == COMMANDS


def test_every_option_of_the_design_is_in_the_help_of_run(cli: Callable[..., Any]) -> None:
    wanted = (
        "dims lr epochs trials repeats seed dataset data-dir train-limit model device sampler "
        "pruner name resume dry-run store json"
    )
    told = set(re.findall(r"^  --([a-z-]+)", cli("run", "--help").out, re.MULTILINE))
    assert set(wanted.split()) <= told


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_no_heavy_library_and_is_quick(tmp_path: Path, words: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEAVY_IMPORTS, *words],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of a processor, which other work on the machine hardly changes.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2.0, "0.2 s where it was written; no machine is that slow"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["run", "--help"], 0),
        (["run", "--dims", "0"], 2),
        (["run", "--dims", "2", "x"], 2),
        (["run", "--lr", "1e-2:1e-3", "--json"], 2),
        (["data", "--data-dir", str(ROOT / "README.md")], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_launcher_of_a_checkout_and_the_installed_command_behave_alike(
    process: Callable[..., Any], tmp_path: Path, words: list[str], code: int
) -> None:
    if not Path(LAUNCHERS["ae-sweep"][0]).exists():
        pytest.skip("ae-sweep is not installed beside this Python")
    ended = [process(*words, cwd=tmp_path, command=command) for command in LAUNCHERS.values()]
    assert ended[0] == ended[1]
    assert ended[0].code == code
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wrong_setting_is_refused_without_the_libraries_of_tracking_and_search(
    tmp_path: Path,
) -> None:
    program = (
        "import sys; from ae_sweep.cli.app import main\n"
        "try:\n    main()\n"
        "finally:\n    print(*{'mlflow', 'optuna', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--dims", "0"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (2, ""), done.stderr


def test_an_error_goes_to_stderr_and_leaves_stdout_to_data(cli: Callable[..., Any]) -> None:
    done = cli("frontier", "--json", "--store", "none")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: nothing is stored in ")


def test_a_bug_is_told_as_one_with_exit_code_1(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ae_sweep import tracking

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("page one\n" + "and on " * 1_000)

    monkeypatch.setattr(tracking, "open_for_reading", break_down)
    done = cli("list")
    assert done.code == 1
    assert done.err.startswith("error: this is a bug in ae-sweep: ZeroDivisionError: page one and")
    assert "run again with --debug and report the traceback" in done.err
    assert done.err.count("\n") == 1
    assert len(done.err) < 600


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("Unable to allocate 96.0 MiB"), " (Unable to allocate 96.0 MiB)"),
        (MemoryError(), ""),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), " ([Errno 12] Cannot allocate memory)"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory\nframe #1"),
            " (DefaultCPUAllocator: can't allocate memory)",
        ),
    ],
    ids=["Python's", "no text", "the system's", "torch's"],
)
def test_a_lack_of_memory_is_no_bug(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    from ae_sweep import tracking

    def take_memory(*_: object) -> None:
        raise error

    monkeypatch.setattr(tracking, "open_for_reading", take_memory)
    done = cli("list")
    assert done.code == 3
    assert done.err == (
        f"error: there is not enough memory{reason}; free some, then run it again\n"
    )


def test_ctrl_c_ends_a_command_with_130(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ae_sweep import tracking

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking, "open_for_reading", interrupt)
    done = cli("list")
    assert (done.code, done.err) == (130, "interrupted\n")


def test_debug_shows_the_traceback_and_keeps_message_and_exit_code(cli: Callable[..., Any]) -> None:
    quiet = cli("list", "--store", "none")
    loud = cli("--debug", "list", "--store", "none")
    assert "Traceback" not in quiet.err
    assert "Traceback (most recent call last)" in loud.err
    assert loud.err.endswith(quiet.err)
    assert loud.code == quiet.code == 3


def test_debug_is_understood_after_the_command_too(
    process: Callable[..., Any], tmp_path: Path
) -> None:
    launcher = LAUNCHERS["python cli.py"]
    done = process("ui", "--port", "0", "--debug", cwd=tmp_path, command=launcher)
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err


def test_nothing_in_the_package_asks_the_user_a_question() -> None:
    asks = re.compile(r"\b(input|getpass|prompt|confirm)\(|prompt=")
    sources = list((ROOT / "ae_sweep").rglob("*.py"))
    assert len(sources) > 50
    assert [path.name for path in sources if asks.search(path.read_text())] == []


def _on_a_terminal(words: list[str], *, cwd: Path, **changes: str) -> str:
    """Run a command on a terminal of its own and tell all that it wrote there."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    master, slave = pty.openpty()
    command = [*LAUNCHERS["python cli.py"], *words]
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(TERM="xterm", **changes), stdin=slave, stdout=slave,
        stderr=slave,
    )  # fmt: skip
    os.close(slave)
    told = b""
    while select.select([master], [], [], 60)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:  # Linux's way to tell the end
            break
        if not piece:
            break
        told += piece
    process.wait(60)
    os.close(master)
    return told.decode()


@pytest.mark.slow
def test_colours_and_escape_codes_are_for_terminals_only(
    process: Callable[..., Any], tmp_path: Path
) -> None:
    words = ["data", "shapes"]
    assert ESCAPE in _on_a_terminal(words, cwd=tmp_path)
    launcher = LAUNCHERS["python cli.py"]
    done = process(*words, cwd=tmp_path, changes={"TERM": "xterm"}, command=launcher)
    assert ESCAPE not in done.out + done.err
    colour = re.compile(rf"{ESCAPE}\[[0-9;]*(3[0-9]|4[0-9]|9[0-7])[;m]")
    assert not colour.search(_on_a_terminal(words, cwd=tmp_path, NO_COLOR="1"))
