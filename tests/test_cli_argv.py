"""Space-separated lists on the command line, shell completion and ``python -m ae_sweep``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, environment
from typer.main import get_command

from ae_sweep.cli.app import app
from ae_sweep.cli.argv import spread

if TYPE_CHECKING:
    from collections.abc import Callable

LISTS = {"--dims", "--lr", "--digits", "--classes"}
COMPLETING = """
import sys
from ae_sweep.cli.app import main

try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
heavy = {"torch", "torchvision", "mlflow", "optuna", "matplotlib", "pandas", "scipy", "numpy"}
sys.exit(f"imported: {heavy & set(sys.modules)}" if heavy & set(sys.modules) else 0)
"""


def test_a_list_ends_at_the_next_option_and_other_words_stay_as_they_are() -> None:
    words = ["--dims", "2", "-3", "--name", "8", "--lr", "1e-3", "--json", "9"]
    assert spread(words, LISTS) == [
        "--dims=2", "--dims=-3", "--name", "8", "--lr=1e-3", "--json", "9",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["--digits", "3", "8", "NAME"],
        ["--digits", "3 8", "NAME"],
        ["--digits=3", "8", "NAME"],
        ["--digits", "3", "--digits", "8", "NAME"],
    ],
    ids=" ".join,
)
def test_a_name_behind_a_list_of_numbers_is_not_part_of_it(words: list[str]) -> None:
    assert spread(words, LISTS, numbers_only=True) == ["--digits=3", "--digits=8", "NAME"]


def test_a_list_of_names_takes_all_words_up_to_the_next_option_and_keeps_their_spaces() -> None:
    words = ["NAME", "--classes", "sports car", "dog", "8", "--count", "3"]
    assert spread(words, LISTS, numbers_only=True) == [
        "NAME", "--classes=sports car", "--classes=dog", "--classes=8", "--count", "3",
    ]  # fmt: skip
    assert spread(["--classes", "--count", "3"], LISTS) == ["--classes=", "--count", "3"]
    assert spread(["--classes=a b", "c"], LISTS) == ["--classes=a b", "--classes=c"]


@pytest.mark.parametrize("name", ["digits", "2024-digits", "8x", "e", "v1.2", "3rd"])
def test_a_name_may_begin_with_a_digit_behind_a_list(name: str) -> None:
    spread_words = spread(["--dims", "2", name], LISTS, numbers_only=True)
    assert spread_words == ["--dims=2", name]


@pytest.mark.parametrize("value", ["-3", "+4", ".5", "1e-3", "1E3", "1e-3:1e-2", "2:8", "2.5"])
def test_every_form_of_a_number_continues_a_list(value: str) -> None:
    spread_words = spread(["--lr", "1", value], LISTS, numbers_only=True)
    assert spread_words == ["--lr=1", f"--lr={value}"]


def test_the_first_word_behind_a_list_option_is_its_value_whatever_it_is() -> None:
    assert spread(["--dims", "x"], LISTS, numbers_only=True) == ["--dims=x"]
    assert spread(["--dims", "--json"], LISTS, numbers_only=True) == ["--dims=", "--json"]
    assert spread(["--dims"], LISTS) == ["--dims="]


def test_words_behind_two_dashes_are_names() -> None:
    words = ["--dims", "2", "--", "--dims", "8"]
    assert spread(words, LISTS) == ["--dims=2", "--", "--dims", "8"]


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("command", ["reconstruct", "identity", "interpolate"])
def test_a_sweeps_name_may_stand_before_and_behind_a_list(command: str, place: str) -> None:
    parser: Any = get_command(app).commands[command]  # type: ignore[attr-defined]
    words = ["digits", "--dims", "3", "8"] if place == "before" else ["--dims", "3", "8", "digits"]
    parsed = parser.make_context(command, words).params
    assert (parsed["sweep"], list(parsed["dims"])) == ("digits", ["3", "8"])


def test_a_typing_error_in_a_list_of_a_command_without_names_is_named(
    cli: Callable[..., Any],
) -> None:
    done = cli("run", "--dims", "2", "x")
    assert done.code == 2
    assert done.err.startswith("error: --dims 'x' is not a whole number")


def _completed(words: str, cwd: Path, program: tuple[str, ...] = ("-c", COMPLETING)) -> list[str]:
    """Return what is offered for the last word of a command line, as a shell asks for it."""
    done = subprocess.run(
        [sys.executable, *program],
        cwd=cwd,
        env=environment(
            PYTHONPATH=str(ROOT),
            _AE_SWEEP_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split(" ")) - 1),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ae-sweep run --dims 2 8 32 --dat", ["--dataset", "--data-dir", "--data-on-nodes"]),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("ae-sweep re", ["reconstruct", "report"]),
                ("ae-sweep run --dat", ["--dataset", "--data-dir", "--data-on-nodes"]),
                ("ae-sweep reconstruct digits --digits 3 8 --res", ["--residuals"]),
                ("ae-sweep reconstruct --digits 3 8 digits --res", ["--residuals"]),
                ("ae-sweep run --dims ", []),
            )
        ),
    ],
    ids=str,
)
def test_a_shell_completes_commands_and_options_behind_lists_too(
    tmp_path: Path, words: str, offered: list[str]
) -> None:
    assert sorted(_completed(words, tmp_path)) == sorted(offered)
    assert not list(tmp_path.iterdir())


def test_completion_imports_no_heavy_library_and_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    assert _completed("ae-sweep fron", tmp_path) == ["frontier"]
    assert time.monotonic() - started < 20.0, "0.4 s where it was written; torch alone takes 5"


@pytest.mark.slow
def test_bash_completes_a_command_by_the_script_that_is_shown(tmp_path: Path) -> None:
    bash, program = shutil.which("bash"), Path(sys.executable).with_name("ae-sweep")
    if bash is None or not program.exists():
        pytest.skip("bash and an installed ae-sweep are needed")
    script = (
        'eval "$(_AE_SWEEP_COMPLETE=source_bash ae-sweep)"; '
        "COMP_WORDS=(ae-sweep reconstruct --dims 2 --resi); COMP_CWORD=4; "
        "$(complete -p ae-sweep | sed 's/.*-F \\([^ ]*\\).*/\\1/') ae-sweep; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        cwd=tmp_path,
        env=environment(PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("--residuals", "")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), pytest.param(["no-such-command"], 2, marks=pytest.mark.slow)],
    ids=str,
)
def test_python_m_ae_sweep_is_the_command_line(
    process: Callable[..., Any], tmp_path: Path, words: list[str], code: int
) -> None:
    module = process(
        *words,
        cwd=tmp_path,
        command=[sys.executable, "-m", "ae_sweep"],
        changes={"PYTHONPATH": str(ROOT)},
    )
    assert module == process(*words, cwd=tmp_path, command=[sys.executable, str(ROOT / "cli.py")])
    assert module.code == code
