"""Downloads from torchvision's mirrors, through torchvision's own classes."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import traceback
import zlib
from typing import TYPE_CHECKING, Any

from ae_sweep.data.image_set import SourceError
from ae_sweep.messages import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ae_sweep.data.image_set import ImageSet

STALL_SECONDS = 5.0
"""Seconds of silence after which a connection has failed. torchvision sets no limit, and a
firewall that drops packets would hold it for minutes."""

# What urllib, torchvision's MD5 check and its unpacking raise. A torchvision that does not fit the
# installed torch raises ImportError or RuntimeError.
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    ImportError,
    AttributeError,
    zlib.error,
    http.client.HTTPException,
)


def dataset_class(folder: str) -> Callable[..., Any]:
    """Return torchvision's class of this name."""
    import torchvision.datasets  # noqa: PLC0415  # seconds of import, and only a download needs it

    found: Callable[..., Any] = getattr(torchvision.datasets, folder)
    return found


class TorchvisionMirrors:
    """Downloads by torchvision's own data set class, which has the addresses.

    Parameters
    ----------
    find_class
        Function from an image set's folder to a class with torchvision's signature.
    stall_seconds
        Seconds for which a connection may be silent.
    """

    name = "torchvision mirrors"

    def __init__(
        self,
        *,
        find_class: Callable[[str], Callable[..., Any]] = dataset_class,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._find_class = find_class
        self._stall_seconds = stall_seconds

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        """Download into ``scratch`` in torchvision's layout."""
        try:
            with _silence(), _socket_timeout(self._stall_seconds):
                # The download brings all four files; train=False then parses the smaller two.
                self._find_class(image_set.folder)(scratch, train=False, download=True)
        except FAILURES as error:
            # torchvision's frames hold the failed responses in a cycle: close their sockets now.
            traceback.clear_frames(error.__traceback__)
            raise SourceError(visible(error) or type(error).__name__) from error
        return image_set.layout(scratch)


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision calls urlopen without a timeout, so the process-wide default is the only handle.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    # torchvision always draws progress bars.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
