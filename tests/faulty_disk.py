"""A disk on which the Nth write, fsync, rename or new directory fails, below one directory."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


class FaultyDisk:
    """Fails operation number ``fail_at``, counted from 1, and with ``stays`` all that follow.

    A write that fails has written half of its bytes. Files can be removed all the same, as on a
    full disk.
    """

    def __init__(
        self, root: Path, *, fail_at: int, stays: bool = False, number: int = errno.ENOSPC
    ) -> None:
        self.root = root
        self.fail_at = fail_at
        self.stays = stays
        self.number = number
        self.operations: list[str] = []

    @property
    def has_failed(self) -> bool:
        return len(self.operations) >= self.fail_at

    def pass_or_fail(self, operation: str, path: Any) -> None:
        if not self.is_ours(path):
            return
        self.operations.append(f"{operation} {Path(os.fsdecode(path)).name}")
        count = len(self.operations)
        if count == self.fail_at or (self.stays and count > self.fail_at):
            raise OSError(self.number, os.strerror(self.number), os.fsdecode(path))

    def is_ours(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return Path(os.fsdecode(path)).is_relative_to(self.root)

    @contextlib.contextmanager
    def mounted(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDisk]:
        with monkeypatch.context() as patch:
            real_open = io.open
            for module in (io, builtins):
                patch.setattr(module, "open", self._open_by(real_open))
            real_fsync = os.fsync
            patch.setattr(os, "fsync", lambda fd: self._fsync(real_fsync, fd))
            for name in ("replace", "rename", "link"):
                patch.setattr(os, name, self._moving(name, getattr(os, name)))
            patch.setattr(os, "mkdir", self._making(os.mkdir))
            yield self

    def _open_by(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            opened = real(file, mode, *args, **kwargs)
            path = _path_of(file) if isinstance(file, int) else file
            if not self.is_ours(path) or not set(mode) & set("wxa+"):
                return opened
            return _File(opened, self, path)

        return open_file

    def _fsync(self, real: Callable[[int], None], descriptor: int) -> None:
        self.pass_or_fail("fsync", _path_of(descriptor))
        real(descriptor)

    def _moving(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **kwargs: Any) -> None:
            self.pass_or_fail(name, target)
            real(source, target, **kwargs)

        return move

    def _making(self, real: Callable[..., None]) -> Callable[..., None]:
        def make(path: Any, *args: Any, **kwargs: Any) -> None:
            if not Path(path).is_dir():
                self.pass_or_fail("mkdir", path)
            real(path, *args, **kwargs)

        return make


def _path_of(descriptor: int) -> Path | None:
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except FileNotFoundError:  # a system without /proc
        return None


class _File:
    """A file whose writes may fail; all else is the real one's."""

    def __init__(self, real: Any, disk: FaultyDisk, path: Any) -> None:
        self._real = real
        self._disk = disk
        self._path = path

    def write(self, content: Any) -> Any:
        try:
            self._disk.pass_or_fail("write", self._path)
        except OSError:
            self._real.write(content[: len(content) // 2])
            raise
        return self._real.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> _File:
        self._real.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._real.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._real)
