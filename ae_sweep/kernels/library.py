"""The kernels as a shared library: compiled on this machine for its processor, once, and kept."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ae_sweep.errors import ConfigError
from ae_sweep.files import check_own, make_private, open_own, write_atomically
from ae_sweep.isolation import (
    KERNELS_VARIABLE,
    absolute_search_path,
    asked_kernels,
    compiler_environment,
)
from ae_sweep.locations import cache_dir
from ae_sweep.messages import shorten, visible

SOURCE = Path(__file__).with_name("source")
COMPILERS = ("g++", "c++")
"""GCC, whose OpenMP is torch's."""
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=fast",
)  # fmt: skip
X86_FLAGS = ("-mprefer-vector-width=512",)
"""Where a processor has such vectors, compilers take half of one by themselves."""
MOST_SECONDS = 60.0
DIGEST_BYTES = 32
PROCESSOR_LINES = ("model name", "flags", "CPU part", "Features")
"""Of /proc/cpuinfo, on which the machine code depends."""

_POINTER, _INDEX, _FLOAT, _INT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float, ctypes.c_int
_TYPES, _WAYS = ("fp32", "bf16"), ("forward", "backward")
_SIGNATURES = {
    "batch_norm_relu_forward": (
        *(_POINTER,) * 2, *(_INDEX,) * 2, *(_POINTER,) * 2, *(_FLOAT,) * 2, *(_POINTER,) * 4, _INT,
    ),
    "batch_norm_relu_backward": (*(_POINTER,) * 3, *(_INDEX,) * 2, *(_POINTER,) * 6, _INT),
    "narrow_conv_forward": (*(_POINTER,) * 3, *(_INDEX,) * 4, _INT),
    "narrow_conv_backward": (*(_POINTER,) * 5, *(_INDEX,) * 4, _INT),
    "to_bf16": (*(_POINTER,) * 2, _INDEX, _INT),
}  # fmt: skip
"""Types of the parameters in source/kernels.cpp."""
_FUNCTIONS = {
    **{
        f"{name}_{way}_{kind}": f"{name}_{way}"
        for name in ("batch_norm_relu", "narrow_conv")
        for way in _WAYS
        for kind in _TYPES
    },
    "to_bf16": "to_bf16",
}
"""All functions of the library, and whose signatures they have."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """The loaded library, or why there is none."""

    handle: ctypes.CDLL | None
    what: str
    """In words: what compiled it, or why there is none."""
    version: str
    """Changes with the source, the compiler and the processor; empty where there is none."""


@functools.cache
def library() -> Library:
    """Compile the kernels unless they are in the user cache, and load them.

    Raises
    ------
    ConfigError
        If ``AE_SWEEP_KERNELS`` is neither on nor off.
    """
    if asked_kernels() not in ("", "on", "off"):
        raise ConfigError(f"{KERNELS_VARIABLE} is {shorten(asked_kernels())}; it may be on or off")
    if asked_kernels() == "off":
        return _none(f"{KERNELS_VARIABLE} turns them off")
    try:
        return _load_or_compile(*_compiler())
    except _UnavailableError as error:
        why = str(error)
    except subprocess.CalledProcessError as error:
        lines = [line for line in str(error.stderr).splitlines() if "error" in line]
        code = error.returncode
        ended = f"signal {-code} ended it" if code < 0 else f"exit status {code}"
        why = f"{visible(error.cmd[0])} fails: {visible(lines[0], 200) if lines else ended}"
    except subprocess.TimeoutExpired as error:
        why = f"{visible(error.cmd[0])} took more than {MOST_SECONDS:g} s"
    except (OSError, AttributeError) as error:
        why = f"they cannot be compiled or loaded: {visible(error, 200)}"
    return _none(why)


def _none(why: str) -> Library:
    return Library(handle=None, what=why, version="")


class _UnavailableError(Exception):
    """There are no kernels here, and why."""


def _compiler() -> tuple[str, str]:
    """Return the path of a compiler that will do, and its name and version."""
    # A relative PATH may lead to a program of that name in the working directory.
    places = absolute_search_path()
    path = next(filter(None, (shutil.which(each, path=places) for each in COMPILERS)), None)
    if sys.platform != "linux" or path is None:
        raise _UnavailableError("ae-sweep's own need Linux and g++")
    name = visible(_output([path, "--version"], place="/").partition("\n")[0], 80)
    if "clang" in name.lower():
        raise _UnavailableError(f"{name} has an OpenMP of its own; g++ has torch's")
    return path, name


def _load_or_compile(compiler: str, compiler_name: str) -> Library:
    version = _version(compiler_name)
    path = cache_dir() / "kernels" / f"{version}.so"
    what = f"compiled by {compiler_name or visible(compiler)}"
    handle = _load_kept(path)
    if handle is None:
        handle, not_kept = _compile(compiler, path)
        if not_kept is not None:
            what += f"; by each process anew, since {visible(path.parent)} cannot keep them: "
            what += visible(not_kept.strerror or not_kept)
    return Library(handle=handle, what=what, version=version)


def _version(compiler_name: str) -> str:
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCE.glob("*.[ch]*"))]
    parts = [compiler_name, *_flags(), _processor(), *sources]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _flags() -> tuple[str, ...]:
    return FLAGS + (X86_FLAGS if platform.machine() == "x86_64" else ())


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0].splitlines()
    return "\n".join(
        [platform.machine(), *(each for each in lines if each.startswith(PROCESSOR_LINES))]
    )


def _load_kept(path: Path) -> ctypes.CDLL | None:
    """Load what an earlier process compiled, if it is whole and nobody else can have written it."""
    try:
        return _load_whole(path)
    except (OSError, AttributeError):
        return None


def _load_whole(path: Path) -> ctypes.CDLL:
    with open_own(path) as file:
        content = file.read()
        if _digest(content[:-DIGEST_BYTES]) != content[-DIGEST_BYTES:]:
            raise OSError(errno.EIO, "it is damaged")
        # By its descriptor: the name may be given to another file meanwhile.
        return _load(Path(f"/proc/self/fd/{file.fileno()}"))


def _compile(compiler: str, path: Path) -> tuple[ctypes.CDLL, OSError | None]:
    """Compile the kernels, keep them under ``path`` if possible, and load them.

    Returns
    -------
    The library, and why the next process does not find it under ``path``, None if it does.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If that fails.
    """
    with tempfile.TemporaryDirectory(prefix="ae-sweep-") as folder:
        compiled, linked = Path(folder, "kernels.o"), Path(folder, "kernels.so")
        _output(
            [compiler, *_flags(), "-c", str(SOURCE / "kernels.cpp"), "-o", str(compiled)],
            place=folder,
        )
        # Linked without -fopenmp: a second runtime of OpenMP would have threads of its own, and
        # torch's makes its symbols global.
        _output([compiler, "-shared", str(compiled), "-o", str(linked)], place=folder)
        content = linked.read_bytes()
        try:
            make_private(path.parent)
            check_own(path.parent)
            # Whatever follows the library does not matter to who loads it.
            write_atomically(path, content + _digest(content))
            return _load_whole(path), None
        except OSError as error:
            return _load(linked), error


def _digest(content: bytes) -> bytes:
    """Return what a damaged library does not have, which would end a process by a signal."""
    return hashlib.sha256(content).digest()


def _load(path: Path) -> ctypes.CDLL:
    handle = ctypes.CDLL(str(path))
    for name, signature in _FUNCTIONS.items():
        function = getattr(handle, name)
        function.argtypes, function.restype = _SIGNATURES[signature], _INT
        function.errcheck = _check_status
    return handle


def _check_status(status: int, function: Any, _: tuple[Any, ...]) -> None:
    """Raise what torch raises where a function had no memory."""
    if status != 0:
        raise torch.OutOfMemoryError(f"out of memory in the kernel {function.__name__}")


def _output(command: list[str], *, place: str) -> str:
    """Run a compiler in a directory, and in an environment that has it read no file of others.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If it fails, or takes longer than ``MOST_SECONDS``.
    """
    with subprocess.Popen(
        command, cwd=place, env=compiler_environment(temporary=place), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        start_new_session=True,
    ) as compiler:  # fmt: skip
        try:
            output, errors = compiler.communicate(timeout=MOST_SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(compiler.pid, signal.SIGKILL)  # and the programs that it has started
            raise
    if compiler.returncode != 0:
        raise subprocess.CalledProcessError(compiler.returncode, command, output, errors)
    return output
