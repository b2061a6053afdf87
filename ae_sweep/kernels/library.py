"""The kernels as a shared library: compiled on this machine for its processor, once, and kept."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ae_sweep.errors import ConfigError
from ae_sweep.files import make_private, open_regular, write_atomically
from ae_sweep.isolation import KERNELS_VARIABLE, asked_kernels
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
MOST_SECONDS = 120.0
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
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
    # A relative PATH may lead to a program of that name in the working directory.
    compilers = [
        found
        for each in COMPILERS
        if (found := shutil.which(each)) is not None and Path(found).is_absolute()
    ]
    if sys.platform != "linux" or not compilers:
        return _none("they need Linux and g++")
    compiler = compilers[0]
    try:
        name = _output([compiler, "--version"], place="/").partition("\n")[0]
        if "clang" in name.lower():
            return _none(f"{visible(name, 80)} has an OpenMP of its own; g++ has torch's")
        version = _version(name)
        path = cache_dir() / "kernels" / f"{version}.so"
        handle = _load_kept(path)
        if handle is None:
            handle = _compile(compiler, path)
    except subprocess.CalledProcessError as error:
        lines = [line for line in str(error.stderr).splitlines() if "error" in line]
        return _none(f"{compiler} fails: {visible(lines[0] if lines else error, 200)}")
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        return _none(f"they cannot be compiled or loaded: {visible(error, 200)}")
    return Library(handle=handle, what=f"compiled by {visible(name, 80)}", version=version)


def _none(why: str) -> Library:
    return Library(handle=None, what=why, version="")


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
        with open_regular(path) as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid() or found.st_mode & OTHERS_MAY_WRITE:
                return None
            # By its descriptor: the name may be given to another file meanwhile.
            return _load(Path(f"/proc/self/fd/{file.fileno()}"))
    except (OSError, AttributeError):
        return None


def _compile(compiler: str, path: Path) -> ctypes.CDLL:
    """Compile the kernels, keep them under ``path`` if that can be written, and load them.

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
        with contextlib.suppress(OSError):  # it is compiled again the next time
            make_private(path.parent)
            write_atomically(path, linked.read_bytes())
        kept = _load_kept(path)  # temporary files may not be executed in some places
        return _load(linked) if kept is None else kept


def _load(path: Path) -> ctypes.CDLL:
    handle = ctypes.CDLL(str(path))
    for name, signature in _FUNCTIONS.items():
        function = getattr(handle, name)
        function.argtypes, function.restype = _SIGNATURES[signature], None
    return handle


def _output(command: list[str], *, place: str) -> str:
    """Run a compiler in a directory, from which some environment variables have it read files."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace", cwd=place,
        stdin=subprocess.DEVNULL, timeout=MOST_SECONDS,
    )  # fmt: skip
    return done.stdout
