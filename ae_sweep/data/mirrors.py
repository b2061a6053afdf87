"""Downloads from the mirrors that torchvision's classes name, of limited size and time.

torchvision's own download writes as many bytes as a mirror sends, waits for it as long as the
system does, and draws progress bars. A file with another SHA-256 is not used.
"""

from __future__ import annotations

import http.client
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from ae_sweep.data.image_set import SourceError
from ae_sweep.data.verify import GZ_OVERHEAD, read
from ae_sweep.errors import DataError
from ae_sweep.messages import visible
from ae_sweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ae_sweep.data.image_set import ImageSet, Resource

STALL_SECONDS = 5.0
"""Seconds of silence after which a connection has failed: a firewall that drops packets would hold
it for minutes."""
MOST_SECONDS = 1_800.0
"""For a file, of at most 10 MB: a mirror may send a byte now and then."""
BLOCK_BYTES = 1 << 16

# What urllib raises. A torchvision that does not fit the installed torch raises ImportError or
# RuntimeError.
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    ImportError,
    AttributeError,
    http.client.HTTPException,
)


def dataset_class(folder: str) -> Callable[..., Any]:
    """Return torchvision's class of this name."""
    import torchvision.datasets  # noqa: PLC0415  # seconds of import, and only a download needs it

    found: Callable[..., Any] = getattr(torchvision.datasets, folder)
    return found


class TorchvisionMirrors:
    """Downloads from the addresses that torchvision's own data set class has.

    Parameters
    ----------
    find_class
        Function from an image set's folder to a class with torchvision's ``mirrors``.
    stall_seconds
        Seconds for which a connection may be silent.
    """

    name = "torchvision mirrors"

    def __init__(
        self,
        *,
        find_class: Callable[[str], Any] = dataset_class,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._find_class = find_class
        self._stall_seconds = stall_seconds

    def bring(self, image_set: ImageSet, scratch: Path) -> Path:
        """Download into ``scratch`` in torchvision's layout."""
        try:
            mirrors = tuple(map(str, self._find_class(image_set.folder).mirrors))
        except FAILURES as error:
            raise SourceError(visible(error) or type(error).__name__) from error
        directory = image_set.layout(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        for resource in image_set.resources:
            file = directory / f"{resource.name}.gz"
            self._first(mirrors, resource, file)
        return directory

    def _first(self, mirrors: Sequence[str], resource: Resource, file: Path) -> None:
        """Download a file from the first mirror that has the right one.

        Raises
        ------
        SourceError
            With the reason of each mirror.
        """
        reasons = []
        for mirror in mirrors:
            address = f"{mirror.rstrip('/')}/{file.name}"
            try:
                content = _content(
                    address,
                    most_bytes=resource.size + GZ_OVERHEAD,
                    stall_seconds=self._stall_seconds,
                )
                file.write_bytes(content)
                read(resource, file)
            except (*FAILURES, DataError) as error:
                reasons.append(f"{address}: {visible(error) or type(error).__name__}")
            else:
                return
        raise SourceError(f"Error downloading {file.name}: {'; '.join(reasons) or 'no mirror'}")


def _content(address: str, *, most_bytes: int, stall_seconds: float) -> bytes:
    """Return what is at an address.

    Raises
    ------
    OSError, http.client.HTTPException
        If it cannot be fetched.
    ValueError
        If it is not a web address, is larger, or takes too long.
    """
    if not address.startswith(("http://", "https://")):
        raise ValueError("not a web address")
    request = urllib.request.Request(  # noqa: S310 - checked above
        address, headers={"User-Agent": f"ae-sweep/{__version__}"}
    )
    deadline = time.monotonic() + MOST_SECONDS
    content = bytearray()
    with urllib.request.urlopen(request, timeout=stall_seconds) as answer:  # noqa: S310
        while block := answer.read(BLOCK_BYTES):
            content += block
            if len(content) > most_bytes:
                raise ValueError(f"it sends more than {most_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise ValueError(f"it has not sent the file within {MOST_SECONDS:,.0f} s")
    return bytes(content)
