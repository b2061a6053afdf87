"""Checkpoints of trials: where they are, when they are written, and whether one can be used."""

from __future__ import annotations

import contextlib
import errno
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ae_sweep.errors import StoreError
from ae_sweep.files import write_atomically
from ae_sweep.messages import visible
from ae_sweep.records import TrialIdentity
from ae_sweep.training.checkpoint_file import Snapshot, UnusableCheckpointError, read, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ae_sweep.config import TrialConfig

SHARE = 0.01
"""Of a training's time, that saving may take: 2 % is the limit for all that makes a sweep safe."""
SECONDS_BETWEEN = 30.0
"""Least time between two checkpoints within an epoch; so much training is lost at most, or a
hundred times what a checkpoint costs if that is longer."""
FIRST_BYTES_PER_SECOND = 1e8
"""A low guess of how fast a checkpoint is written, until one was: a busy disk of a laptop."""
SUFFIX = ".safetensors"
NETWORK = "-network"
"""Behind the key of the smallest dim: the nested network, which all dims share."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often checkpoints are written.

    Parameters
    ----------
    share
        Of the training's time, that saving may take.
    seconds_between
        Least time between two within an epoch.
    """

    share: float = SHARE
    seconds_between: float = SECONDS_BETWEEN


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one sweep's trials, a file each.

    Parameters
    ----------
    folder
        Made with the first checkpoint.
    dataset_digest, recipe
        Part of what identifies a trial.
    """

    folder: Path
    dataset_digest: str
    recipe: str
    pace: Pace = field(default_factory=Pace)

    def keeper(self, config: TrialConfig, *, numerics: Mapping[str, str], part: str = "") -> Keeper:
        """Return what keeps one training.

        Parameters
        ----------
        numerics
            What decides its last digits, beside the trial itself.
        part
            `NETWORK`, or empty for the training of the trial itself.
        """
        point = self._point(config)
        identity = {"trial": f"{point.key}{part}", "data set": point.dataset_digest, **numerics}
        return Keeper(self.path(config, part=part), identity=identity, pace=self.pace)

    def path(self, config: TrialConfig, *, part: str = "") -> Path:
        """Return where a training's checkpoint is, if there is one."""
        return self.folder / f"{self._point(config).key}{part}{SUFFIX}"

    def forget(self, config: TrialConfig) -> None:
        """Delete a trial's checkpoint, if there is one: the trial has ended."""
        _delete(self.path(config))

    def tidy(self) -> None:
        """Delete what no trial goes on from: unfinished files of a process that was killed."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.startswith("."):
                    _delete(path)

    def close(self) -> None:
        """Delete what all trials share, now that they have ended, and the folder if it is empty."""
        with contextlib.suppress(OSError):
            for path in self.folder.glob(f"*{NETWORK}{SUFFIX}"):
                _delete(path)
            self.folder.rmdir()

    def _point(self, config: TrialConfig) -> TrialIdentity:
        return TrialIdentity(
            dataset_digest=self.dataset_digest,
            model=config.model,
            latent_dim=config.latent_dim,
            hyperparameters=config.hyperparameters,
            seed=config.seed,
            recipe=self.recipe,
        )


class Keeper:
    """Saves one training from time to time, and finds what was saved of it.

    Nothing that happens to its file ends the training: it goes on, or begins anew, and ``notes``
    say why.

    Parameters
    ----------
    path
        The file.
    identity
        What a file must have been written for to be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        identity: Mapping[str, str],
        pace: Pace,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        """What the user should read, in order; whoever shows a note takes it out."""
        self._identity = identity
        self._pace = pace
        self._clock = clock
        self._saved_at = clock()
        self._cost_seconds: float | None = None
        self._failing = False

    def due(self, *, size: int, in_epoch: bool) -> bool:
        """Return whether to save now.

        Parameters
        ----------
        size
            About how many bytes that is.
        in_epoch
            Whether the training is between two validations.
        """
        elapsed = self._clock() - self._saved_at
        if in_epoch and elapsed < self._pace.seconds_between:
            return False
        cost = self._cost_seconds
        if cost is None:
            cost = size / FIRST_BYTES_PER_SECOND
        return elapsed * self._pace.share >= cost

    def save(self, snapshot: Snapshot) -> None:
        """Save a training in place of what was saved before; that stays if this fails."""
        started = self._clock()
        try:
            self.path.parent.mkdir(exist_ok=True)  # a store that was moved is not made anew
            write_atomically(self.path, to_bytes(snapshot, identity=self._identity))
            self._failing = False
        except OSError as error:
            if not self._failing:  # once, however often it is tried
                self.notes.append(str(_cannot_save(self.path.parent, error)))
            self._failing = True
        self._saved_at = self._clock()
        self._cost_seconds = self._saved_at - started

    def load(self) -> Snapshot | None:
        """Return what was saved; None if nothing was, or it cannot be used."""
        try:
            return read(self.path, identity=self._identity)
        except FileNotFoundError:
            return None
        except UnusableCheckpointError as problem:
            self.reject(str(problem))
            return None

    def reject(self, reason: str) -> None:
        """Delete what was saved, and note why the training begins anew."""
        self.notes.append(
            f"trained from the start: the checkpoint {visible(self.path)} is not used, because "
            f"{reason}"
        )
        _delete(self.path)

    def take_note(self) -> str:
        """Return the notes as one line, and forget them."""
        note, self.notes = "; ".join(self.notes), []
        return note


def numerics_of(*, precision: str, hardware: str, threads: int, steps: int) -> dict[str, str]:
    """Return what decides a training's last digits, by its name in messages."""
    return {
        "arithmetic": precision,
        "machine": f"{hardware} threads={threads}",
        "schedule": f"{steps} steps",
    }


def _cannot_save(folder: Path, error: OSError) -> StoreError:
    advice = {
        errno.ENOSPC: "free some space there",
        errno.EDQUOT: "free some of your quota there",
        errno.EACCES: "make it writable",
        errno.EPERM: "make it writable",
        errno.EROFS: "make it writable",
    }.get(error.errno or 0, "see whether the disk is in order")
    return StoreError(
        f"no checkpoint could be written to {visible(folder)}: {error.strerror or error}; the "
        f"training goes on, and would begin anew after an interruption; {advice}"
    )


def _delete(path: Path) -> None:
    # What stays is not used for anything else: its identity is checked.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
