"""The kernels are compiled once, kept, and done without where they cannot be had."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from process_fakes import wait_until_gone

from ae_sweep import training
from ae_sweep.errors import ConfigError
from ae_sweep.kernels import choice, library
from ae_sweep.kernels.choice import kernels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Forget what is loaded, and give the cache a directory of its own."""
    monkeypatch.setattr(library, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.delenv("AE_SWEEP_KERNELS", raising=False)
    library.library.cache_clear()
    kernels.cache_clear()
    yield
    library.library.cache_clear()
    kernels.cache_clear()


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """The file of kernels that were just compiled."""
    found = kernels()
    if not found.used:
        pytest.skip(found.what)
    (file,) = (tmp_path / "cache" / "kernels").iterdir()
    library.library.cache_clear()
    return file


def refuse(*_: object) -> None:
    raise AssertionError("compiled again")


def compiler(folder: Path, script: str) -> str:
    file = folder / "c++"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def test_they_are_compiled_once_for_all_processes(
    compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = library.library().version
    assert compiled.name == f"{before}.so"
    assert stat.S_IMODE(compiled.stat().st_mode) & 0o077 == 0
    library.library.cache_clear()
    monkeypatch.setattr(library, "_compile", refuse)
    again = library.library()
    assert (again.version, again.handle is None) == (before, False)


@pytest.mark.parametrize("changed", ["source", "flags", "processor"])
def test_another_source_processor_or_compiler_has_a_file_of_its_own(
    compiled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    match changed:
        case "source":
            source = shutil.copytree(library.SOURCE, tmp_path / "source")
            with (source / "numbers.h").open("a") as file:
                file.write("// another\n")
            monkeypatch.setattr(library, "SOURCE", source)
        case "flags":
            monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-DOTHER"))
        case _:
            monkeypatch.setattr(library, "_processor", lambda: "another")
    assert library.library().version not in ("", compiled.stem)
    assert len(list(compiled.parent.iterdir())) == 2


def test_damaged_files_are_compiled_again(compiled: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "other" / "kernels" / compiled.name
    damaged.parent.mkdir(parents=True)
    # In a new process: this one has them, and the system loads nothing twice.
    program = (
        "import pathlib, sys\n"
        "from ae_sweep.kernels import library\n"
        "library.cache_dir = lambda: pathlib.Path(sys.argv[1])\n"
        "whole = pathlib.Path(sys.argv[3]).read_bytes()\n"
        "cut = [whole[:len(whole) * part // 5] for part in range(1, 5)]\n"
        "page = whole[:8192] + bytes(4096) + whole[12288:]\n"
        "bit = whole[:20000] + bytes([whole[20000] ^ 1]) + whole[20001:]\n"
        "for content in (b'', b'no library', b'\\x7fELF', *cut, whole[:-1], page, bit):\n"
        "    pathlib.Path(sys.argv[2]).write_bytes(content)\n"
        "    assert library._load_kept(pathlib.Path(sys.argv[2])) is None\n"
        "print(library.library().what)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "other"), str(damaged), str(compiled)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("compiled by"), done
    assert damaged.stat().st_size == compiled.stat().st_size


@pytest.mark.parametrize(
    "change",
    ["owner", "group", "others", "a link", "a device", "a directory for others", "a linked one"],
)
def test_a_file_that_others_can_have_written_is_not_loaded(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    match change:
        case "owner":
            monkeypatch.setattr(os, "getuid", lambda: 12_345)
        case "group" | "others":
            compiled.chmod(0o620 if change == "group" else 0o602)
        case "a link":
            compiled.rename(tmp_path / "mine")
            compiled.symlink_to(tmp_path / "mine")
        case "a device":
            compiled.unlink()
            compiled.symlink_to("/dev/zero")
        case "a directory for others":
            compiled.parent.chmod(0o770)
        case _:
            compiled.parent.rename(tmp_path / "mine")
            compiled.parent.symlink_to(tmp_path / "mine")
    monkeypatch.setattr(library, "_compile", refuse)
    with pytest.raises(AssertionError, match="compiled again"):
        library.library()


def test_a_compiler_is_not_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, "touch called")
    monkeypatch.chdir(tmp_path)
    there = os.environ["PATH"]
    found = kernels()
    for path, what in ((".", "ae-sweep's own need Linux and g++"), (f".::{there}", found.what)):
        library.library.cache_clear()
        kernels.cache_clear()
        monkeypatch.setenv("PATH", path)
        assert kernels().what == what
    assert not (tmp_path / "called").exists()


@pytest.mark.usefixtures("compiled")
def test_the_compiler_reads_no_file_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cmath").write_text("#error read")
    monkeypatch.chdir(tmp_path)
    for name in ("CPATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX"):
        monkeypatch.setenv(name, f".:{tmp_path}")
    monkeypatch.setenv("DEPENDENCIES_OUTPUT", str(tmp_path / "written"))
    monkeypatch.setattr(library, "cache_dir", lambda: tmp_path / "other")
    kernels.cache_clear()
    assert kernels().used, kernels().what
    assert (tmp_path / "other").exists(), "they were compiled again"
    assert not (tmp_path / "written").exists()


def test_a_compiler_that_hangs_is_ended_with_the_programs_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, f"sleep 60 & echo $! > {tmp_path}/started; wait")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(library, "COMPILERS", ("c++",))
    monkeypatch.setattr(library, "MOST_SECONDS", 1.0)
    assert not kernels().used
    started = int((tmp_path / "started").read_text())
    assert wait_until_gone([started], 10) == []


def test_without_a_cache_they_are_compiled_by_each_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels().used:
        pytest.skip(kernels().what)
    library.library.cache_clear()
    (tmp_path / "file").touch()
    monkeypatch.setattr(library, "cache_dir", lambda: tmp_path / "file" / "cache")
    assert library.library().handle is not None
    why = f"; by each process anew, since {tmp_path}/file/cache/kernels cannot keep them: "
    assert why in library.library().what


@pytest.mark.usefixtures("compiled")
def test_a_directory_that_others_can_write_keeps_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared" / "kernels"
    shared.mkdir(parents=True)
    shared.chmod(0o775)
    monkeypatch.setattr(library, "cache_dir", lambda: shared.parent)
    assert library.library().what.endswith(f"{shared} cannot keep them: others can write there")
    assert not list(shared.iterdir())


def test_without_memory_torchs_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernels().used:
        pytest.skip(kernels().what)
    x_BCHW = torch.zeros(1, 32, 128, 128).contiguous(memory_format=torch.channels_last)
    # Memory is taken for each thread, before they start: more than there are addresses.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2**30)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory in the kernel narrow_conv"):
        kernels().narrow_conv(x_BCHW, torch.ones(1, 32, 3, 3))


def test_without_a_compiler_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = kernels()
    assert (found.used, found.what) == (False, "ae-sweep's own need Linux and g++")
    x_BCHW = torch.zeros(2, 32, 4, 4).contiguous(memory_format=torch.channels_last)
    assert not found.take(x_BCHW, torch.ones(32))
    assert "kernels=none" in training.hardware(torch.device("cpu"))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("[ $1 = --version ] && echo fake && exit; echo 'x.cpp:1: error: broken' >&2; exit 1",
         "fails: x.cpp:1: error: broken"),
        ("kill -9 $$", "c++ fails: signal 9 ended it"),
        ("[ $1 = --version ] && echo fake && exit; exit 3", "c++ fails: exit status 3"),
        ("[ $1 = --version ] && echo fake; exit 0", "cannot be compiled or loaded"),
        ("echo Debian clang version 14", "Debian clang version 14 has an OpenMP of its own"),
        ("sleep 60", "c++ took more than 0.5 s"),
    ],
    ids=["an error", "killed", "a status", "nothing written", "clang", "hangs"],
)  # fmt: skip
def test_a_compiler_that_fails_leaves_it_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    compiler(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(library, "COMPILERS", ("c++",))
    monkeypatch.setattr(library, "MOST_SECONDS", 0.5)
    found = kernels()
    assert (found.used, found.version) == (False, "none")
    assert why in found.what


@pytest.mark.parametrize(("factor", "said"), [(-1.0, "200.0%"), (float("nan"), "nan%")])
def test_kernels_that_compute_something_else_are_not_used(
    monkeypatch: pytest.MonkeyPatch, factor: float, said: str
) -> None:
    if library.library().handle is None:
        pytest.skip(library.library().what)
    monkeypatch.setattr(choice, "to_bf16", lambda x: factor * x)
    found = kernels()
    assert not found.used
    assert f"off by {said} here" in found.what


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that kind")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_they_agree_with_torch_for_processors_with_shorter_vectors(
    monkeypatch: pytest.MonkeyPatch, processor: str
) -> None:
    if "avx2" not in library._processor():
        pytest.skip("no AVX2 here")
    flags = tuple(each.replace("native", processor) for each in library.FLAGS)
    monkeypatch.setattr(library, "FLAGS", flags)
    if library.library().handle is None:
        pytest.skip(library.library().what)
    assert kernels().used, kernels().what


def test_the_check_starts_no_threads_that_a_forked_process_would_lack() -> None:
    program = (
        "import os, torch\n"
        "from ae_sweep.kernels import kernels\n"
        "torch.set_num_threads(2)\n"
        "kernels()\n"
        "assert torch.get_num_threads() == 2\n"
        "if not os.fork():\n"
        "    torch.ones(1_000_000).add_(1)\n"
        "    os._exit(0)\n"
        "os.wait()"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == 0


def test_the_environment_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AE_SWEEP_KERNELS", "off")
    assert (kernels().used, kernels().what) == (False, "AE_SWEEP_KERNELS turns them off")


def test_anything_else_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AE_SWEEP_KERNELS", "fast")
    with pytest.raises(ConfigError, match="AE_SWEEP_KERNELS is 'fast'; it may be on or off"):
        kernels()


def test_a_checkpoint_and_a_calibration_know_the_kernels() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("meta")
    assert f"kernels={kernels().version}" in training.hardware(cpu)
    assert "kernels=none" in training.hardware(gpu)
