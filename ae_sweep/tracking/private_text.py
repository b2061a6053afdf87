"""Removal of what stored texts say of a machine: directories and users."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ae_sweep.messages import redacted
from ae_sweep.tracking import names
from ae_sweep.tracking.description import without_commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PATH = re.compile(r"""(?<![\w.:/~-])/(?:[^/\s'"`|,;:()<>\\]+/)+""")
"""The directories of an absolute path in a text."""
WIDE_PATH = re.compile(r"/.*/")
"""The same in a text that ends with a path, which may have spaces."""
LEFT_OUT = (
    "mlflow.runName",  # which is the name of the run
    "mlflow.user",
    "mlflow.source.git.repoURL",
    names.PARENT,
    names.EARLIER_TRY,
    names.OWNER,
)
"""Tags that say nothing more, or of the user, or of runs that another store does not have."""


class PrivateText:
    """Writes texts without the directories in them: ``/home/me/pictures`` becomes ``/pictures``.

    Parameters
    ----------
    known
        Paths that occur in them, which may have spaces.
    """

    def __init__(self, known: Iterable[str]) -> None:
        longest_first = sorted({path for path in known if path.startswith("/")}, key=len)[::-1]
        self._known = [(path, _last(path)) for path in longest_first if path != _last(path)]

    def clean(self, text: str) -> str:
        """Return a text without directories and passwords."""
        if "/" not in text:
            return text
        for path, last in self._known:
            text = text.replace(path, last)
        return PATH.sub("/", redacted(text))

    def source(self, text: str) -> str:
        """Return what a data set's source says, which ends with a path."""
        return self.clean(WIDE_PATH.sub("/", text))

    def parameters(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return parameters without directories."""
        return {key: self.clean(text) for key, text in texts.items()}

    def tags(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return tags without directories, users and commands, which name the store."""
        kept = {key: text for key, text in texts.items() if key not in LEFT_OUT}
        if names.NOTE in kept:
            kept[names.NOTE] = without_commands(kept[names.NOTE])
        return self.parameters(kept)


def _last(path: str) -> str:
    return "/" + path.rstrip("/").rpartition("/")[2]
