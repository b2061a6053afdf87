"""Isolation from third parties' settings: variables, warning filters, the working directory.

The command line owns its process and changes it once, with `isolate_process`. The process of a
Python user is left as it was: there each setting holds only while ae-sweep runs or starts a child.
Beside `locations`, this is the only module below the command line that reads the environment.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import secrets
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE_PARENT = Path(__file__).resolve().parent.parent

MLFLOW_SETTINGS: Mapping[str, str] = {
    # Importing MLflow with telemetry on writes an installation id below the home directory.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A tracking server's address of every ended run would go to stdout, which is for data.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Else a uv.lock that happens to lie in the working directory is copied into every model.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # Between our messages, and on a terminal over our own progress.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""MLflow reads these from the environment and nowhere else."""

MATPLOTLIB_SETTINGS: Mapping[str, str] = {
    # A notebook passes on its own backend, which another environment may lack.
    "MPLBACKEND": "agg",
    # Read instead of the file in the home directory; there is nothing in it.
    "MATPLOTLIBRC": os.devnull,
}

_own_process = False
_fails_at_exit = False
_lock = threading.RLock()


class TemporarySettings:
    """Environment variables that hold while any thread is inside.

    Parameters
    ----------
    settings
        Name → value; None removes the variable.
    """

    def __init__(self, settings: Mapping[str, str | None]) -> None:
        self._settings = settings
        self._before: dict[str, str | None] = {}
        self._depth = 0

    def __enter__(self) -> None:
        with _lock:
            if self._depth == 0:
                self._before = {name: os.environ.get(name) for name in self._settings}
                _set(self._settings)
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with _lock:
            self._depth -= 1
            if self._depth == 0:
                _set(self._before)


mlflow_settings = TemporarySettings(MLFLOW_SETTINGS)
"""MLflow's settings for the length of a ``with`` block."""

PATIENT: Mapping[str, str] = {
    # A server that is gone, or hangs, is noticed within half a minute. MLflow's own 7 repetitions
    # of 120 seconds take minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Of boto3, where artifacts go to S3 without a server in between.
    "AWS_MAX_ATTEMPTS": "2",
}
SHIELDED: Mapping[str, str] = {
    # A signal waits until the call has ended, and nobody tries again.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
    "AWS_MAX_ATTEMPTS": "1",
}
HURRIED: Mapping[str, str] = {
    # Whoever hurries tries again by other means, and a signal waits until the call has ended.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "AWS_MAX_ATTEMPTS": "1",
}
GLANCING: Mapping[str, str] = {
    # A command that is to end asks once more what to advise, and does without an answer.
    **HURRIED,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
}
ONCE: Mapping[str, str | None] = {
    # MLflow repeats a request whose answer was lost, and would create a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}

once = TemporarySettings(ONCE)
"""Has MLflow send each request to its server once, whatever the user has set."""


@contextlib.contextmanager
def unless_set(settings: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables hold that are not set, for the length of a ``with`` block."""
    with _lock:
        missing = {name: value for name, value in settings.items() if name not in os.environ}
        _set(missing)
    try:
        yield
    finally:
        with _lock:
            _set(dict.fromkeys(missing))


_THREADS = re.compile(r"[ \t]*\+?0*[1-9][0-9]{0,8}[ \t]*(,[ \t]*\+?0*[1-9][0-9]{0,8}[ \t]*)*")


def threads_are_set() -> bool:
    """Return whether the user has said with how many threads torch computes.

    That is a number, or a list of numbers for nested levels. OpenMP ignores anything else, and so
    does this; MKL takes one thread then, which is hardly meant.
    """
    texts = (os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    return any(_THREADS.fullmatch(text) for text in texts)


PRECISION_VARIABLE = "AE_SWEEP_PRECISION"


def asked_precision() -> str:
    """Return the name of the precision that the user asks for in place of a calibration, if any."""
    return os.environ.get(PRECISION_VARIABLE, "")


KERNELS_VARIABLE = "AE_SWEEP_KERNELS"


def asked_kernels() -> str:
    """Return what the user says of kernels that are compiled here, if anything."""
    return os.environ.get(KERNELS_VARIABLE, "")


def leave_kernels_out() -> None:
    """Have this process, and those that it starts, load none, whatever the user says."""
    os.environ[KERNELS_VARIABLE] = "off"


COMPILER_SETTINGS = (
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "LIBRARY_PATH",
    "COMPILER_PATH", "GCC_EXEC_PREFIX", "GCC_COMPARE_DEBUG", "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES", "LD_RUN_PATH",
)  # fmt: skip
"""Variables that have GCC and its linker read or write other files (GCC's manual, section
"Environment Variables Affecting GCC"; that of ld)."""


def absolute_search_path() -> str:
    """Return where programs are looked for, without what depends on the working directory."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(each for each in entries if Path(each).is_absolute())


def compiler_environment(*, temporary: str) -> dict[str, str]:
    """Return the environment in which a compiler depends on nothing of the user's projects.

    Parameters
    ----------
    temporary
        Directory of its temporary files.
    """
    left = {name: value for name, value in os.environ.items() if name not in COMPILER_SETTINGS}
    return left | {"PATH": absolute_search_path(), "LC_ALL": "C", "TMPDIR": temporary}


RAY_MODE, RAY_TOKEN, RAY_TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Whether Ray's processes prove to each other that they belong together, and by what."""


def ray_settings(*, local: bool) -> TemporarySettings:
    """Return what has Ray report nothing, and a cluster of this machine's own have a token.

    Without one, Ray would write one into the home directory.
    """
    # Nor is a cluster to be started by whatever touches Ray when there is none.
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}
    if local and not has_ray_token():
        settings[RAY_TOKEN] = secrets.token_hex(16)
    return TemporarySettings(settings)


def have_ray_authenticate() -> bool:
    """Have Ray use tokens unless the user has decided it; return whether it will.

    Ray reads the variable once, when it is imported.
    """
    late = RAY_MODE not in os.environ and "ray" in sys.modules
    os.environ.setdefault(RAY_MODE, "token")
    return not late


def has_ray_token() -> bool:
    """Return whether there is a token for Ray, or the user wants none."""
    if os.environ.get(RAY_MODE, "token").lower() != "token" or os.environ.get(RAY_TOKEN):
        return True
    path = os.environ.get(RAY_TOKEN_PATH) or os.path.expanduser("~/.ray/auth_token")  # noqa: PTH111
    return os.path.isfile(path)  # noqa: PTH113 - of a home directory that there may not be


def note_failing_exit() -> None:
    """Note that a library would crash this process while Python shuts down."""
    global _fails_at_exit  # noqa: PLW0603 - a property of the process
    _fails_at_exit = True


def fails_at_exit() -> bool:
    """Return whether this process had better end without Python's shutting down."""
    return _fails_at_exit


def isolate_process() -> None:
    """Free this process, and all that it starts, of settings that are not for ae-sweep.

    For a process that runs one command and ends.
    """
    global _own_process  # noqa: PLW0603 - a property of the process
    _own_process = True
    for name, value in child_environment(os.environ).items():
        os.environ[name] = value
    os.environ.pop("PYTHONWARNINGS", None)
    os.environ.update(MLFLOW_SETTINGS)
    os.environ.update(MATPLOTLIB_SETTINGS)
    if not _runs_from_checkout():
        here = os.path.realpath(os.curdir)
        sys.path[:] = [part for part in sys.path if os.path.realpath(part) != here]
    sys.warnoptions.clear()
    _drop_error_filters()


def child_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Python child process.

    Without the working directory as an import path and without the user's warning filters: a file
    such as ``mlflow.py`` there would be imported, a foreign deprecation would end the child.
    """
    kept = {name: value for name, value in base.items() if name != "PYTHONWARNINGS"}
    if "PYTHONPATH" in kept:
        # An empty part, as a colon too many leaves it, means the working directory.
        parts = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(part for part in parts if part not in ("", "."))
    return {**kept, "PYTHONSAFEPATH": "1"}


@contextlib.contextmanager
def starting_python() -> Iterator[None]:
    """Let `multiprocessing` start processes as `child_environment` would have it.

    It takes the environment, the import paths and the warning options from this process. The
    directory of a script stays an import path: `multiprocessing` imports the script again.
    """
    with _lock:
        environment = child_environment(os.environ)
        names = ("PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONPATH")
        before = {name: os.environ.get(name) for name in names}
        path, options = list(sys.path), list(sys.warnoptions)
        _set({name: environment.get(name) for name in names})
        # In place, as others hold these lists.
        sys.path[:] = path if _runs_from_checkout() else [part for part in path if part]
        sys.warnoptions.clear()
        try:
            yield
        finally:
            _set(before)
            sys.path[:] = path
            sys.warnoptions[:] = options


@contextlib.contextmanager
def importing_matplotlib() -> Iterator[None]:
    """Keep matplotlib from reading a ``matplotlibrc`` in the working directory.

    It looks there first, whatever the environment says. In a Python user's process their own
    settings are read, as figures of theirs may need them; ours are drawn without them.
    """
    if not _own_process or "matplotlib" in sys.modules:
        yield
        return
    with contextlib.chdir(Path(__file__).parent):
        yield


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Pause Python's garbage collector, for code that makes many objects and no garbage.

    Reading 10,000 runs takes 20 seconds with it and 5 without.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def lasting_imports() -> Iterator[None]:
    """Import what stays until the process ends, without the collector's going through it.

    Pausing it saves a seventh of MLflow's import. In a process of ours, which runs one command, all
    objects that there are afterwards are left out of later collections, the last one at its end
    among them: that one alone takes a tenth of `ae-sweep list`.
    """
    if _own_process:
        gc.collect()  # what is garbage by now would never be freed
    before = len(sys.modules)
    with paused_collector():
        yield
        if _own_process and len(sys.modules) > before:
            gc.freeze()


def _runs_from_checkout() -> bool:
    """Return whether ae-sweep itself may be imported from the working directory."""
    return os.path.realpath(os.curdir) == str(PACKAGE_PARENT)


def _drop_error_filters() -> None:
    """Let no warning end the process; filters that hide or show warnings stay."""
    kept = [each for each in warnings.filters if each[0] != "error"]
    warnings.resetwarnings()
    warnings.filters.extend(kept)  # type: ignore[attr-defined]


def _set(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
