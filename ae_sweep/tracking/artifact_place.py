"""Where the artifacts of a store are, so that no stored address leads anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow.utils.file_utils import local_file_uri_to_path

from ae_sweep.errors import StoreError
from ae_sweep.messages import visible

LOCAL_SCHEMES = ("", "file")


@dataclass(frozen=True, kw_only=True)
class ArtifactPlace:
    """The directory or the address that holds all artifacts of an experiment.

    MLflow stores an absolute location with every run and model. A database that comes from
    somebody else could name any file of this machine there, or an address in the network.
    """

    stored: str
    """The location that MLflow knows."""
    here: str
    """Where it is now: another one for a store that was moved or copied."""

    def find(self, location: str, name: str = "") -> Path | str:
        """Return where a file is that belongs to a stored location.

        Parameters
        ----------
        location
            As MLflow has it, of a run or a model.
        name
            The path of a file below it.

        Returns
        -------
        pathlib.Path or str
            A path of this machine, of a file that need not be there, or a remote address.

        Raises
        ------
        StoreError
            If it lies outside, by its address or by a symbolic link.
        """
        address = f"{self._moved(location).rstrip('/')}/{name}".rstrip("/")
        if urlsplit(address).scheme in LOCAL_SCHEMES:
            if urlsplit(self.here).scheme in LOCAL_SCHEMES:
                path = _path(address)
                if path.resolve().is_relative_to(_path(self.here).resolve()):
                    return path
        elif address.startswith(f"{self.here.rstrip('/')}/"):
            parts = unquote(urlsplit(address).path).replace("\\", "/").split("/")
            if ".." not in parts:
                return address
        raise StoreError(
            f"the store names a file outside of its artifacts, {visible(address, 200)}; its "
            "database was changed, or the file is a link: restore it, or delete that run in the "
            "MLflow UI and resume the sweep, which trains it again"
        )

    def _moved(self, location: str) -> str:
        prefix = f"{self.stored.rstrip('/')}/"
        if self.here == self.stored or not location.startswith(prefix):
            return location
        return f"{self.here.rstrip('/')}/{location.removeprefix(prefix)}"


def _path(address: str) -> Path:
    return Path(local_file_uri_to_path(address))  # type: ignore[no-untyped-call]
