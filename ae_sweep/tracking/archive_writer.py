"""A sweep of an export, written into a store: none of it is a sweep until all of it is there."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_sweep.tracking import names, reader
from ae_sweep.tracking.description import moved
from ae_sweep.tracking.entries import (
    SWEEP_RUN,
    EndRun,
    LogFiles,
    LogMetrics,
    LogModel,
    Measurement,
    StartRun,
)
from ae_sweep.tracking.errors import translated
from ae_sweep.tracking.publisher import Publisher
from ae_sweep.tracking.runs import begin_run, describe_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ae_sweep.tracking.access import StoreAccess
    from ae_sweep.tracking.archive import ArchivedRun, ArchivedSweep, ArchivedTrial
    from ae_sweep.tracking.entries import Content

MOST_METRICS = 900
"""In one request: MLflow takes 1,000."""
ANY_RUN_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
TEXT_FILES = (".json", ".csv")
"""Files of ours in which runs are named by their ids."""


class ArchiveWriter:
    """Writes one sweep.

    Parameters
    ----------
    access
        Of the open store.
    name
        Of the sweep here.
    commands
        Purpose → command, for the description of its run.
    """

    def __init__(self, access: StoreAccess, name: str, *, commands: Mapping[str, str]) -> None:
        self._access = access
        self._name = name
        self._commands = commands
        self._publisher = Publisher(
            access.client, place=access.place, experiment_id=access.experiment_id, sweep=name
        )
        self._sweep: ArchivedSweep | None = None
        self._words: dict[str, str] = {}
        """Of the runs that were begun, by their ids in the export."""

    def discard_remains(self) -> bool:
        """Delete what a killed import of the same name has left; return whether there was any."""
        with translated(self._access.place):
            found = list(self._search(names.import_filter(self._name)))
            for parent in found:
                self._discard_family(parent)
        return bool(found)

    def begin(self, sweep: ArchivedSweep) -> None:
        """Make the sweep's run, which is none to ae-sweep before `finish`.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        self._sweep, run = sweep, sweep.run
        client = self._access.client
        tags = {**self._tags(run), names.KIND: names.KIND_IMPORT}
        if names.CONFIG in tags:
            tags[names.CONFIG] = self._renamed(tags[names.CONFIG])
        if names.NOTE in tags:
            tags[names.NOTE] = moved(
                tags[names.NOTE], commands=self._commands, was=sweep.name, name=self._name
            )
        with translated(self._access.place):
            run_id = begin_run(
                client,
                experiment_id=self._access.experiment_id,
                name=self._name if run.name == sweep.name else run.name,
                tags=tags,
                start_ms=run.start_ms,
            )
            self._publisher.know(SWEEP_RUN, run_id)
            self._words[run.run_id] = SWEEP_RUN
            named = {"name": self._name} if "name" in run.parameters else {}
            describe_run(client, run_id, parameters={**run.parameters, **named}, card=sweep.card)
        self._log(SWEEP_RUN, run.metrics)

    def add_trial(
        self, trial: ArchivedTrial, *, weights: Content | None, files: Mapping[str, Content]
    ) -> None:
        """Write a trial with its model and its files, as a sweep does.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        assert self._sweep is not None, "begun before"  # noqa: S101
        run, model = trial.run, trial.model
        word = f"{run.start_ms}-{run.run_id}"
        self._words[run.run_id] = word
        start = StartRun(
            run=word,
            name=run.name,
            tags={
                **self._tags(run),
                names.KIND: names.KIND_TRIAL,
                names.PARENT: self._id(SWEEP_RUN),
            },
            parameters=run.parameters,
            card=self._sweep.card,
            start_ms=run.start_ms,
        )
        self._publisher.apply(start)
        self._log(word, run.metrics)
        if model is not None and weights is not None:
            self._publisher.apply(
                LogModel(
                    run=word,
                    step=model.step,
                    image_shape=model.image_shape,
                    parameters=model.parameters,
                    tags={**model.tags, names.SWEEP: self._name},
                    weights=weights,
                )
            )
        for name, content in files.items():
            self._publisher.apply(LogFiles(run=word, files={name: content}))
        self._end(word, run, metrics=() if model is None else model.metrics)

    def finish(self, files: Mapping[str, Content]) -> None:
        """Write the files of the sweep's run and end it: the sweep is there.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        assert self._sweep is not None, "begun before"  # noqa: S101
        for name, content in files.items():
            adapted = {name: lambda name=name, content=content: self._adapted(name, content())}
            self._publisher.apply(LogFiles(run=SWEEP_RUN, files=adapted))
        self._end(SWEEP_RUN, self._sweep.run, tags={names.KIND: names.KIND_SWEEP})

    def discard(self) -> None:
        """Delete what was written, as far as the store allows it."""
        with contextlib.suppress(Exception):
            if (parent := self._publisher.run_id(SWEEP_RUN)) is not None:
                self._discard_family(parent)
            self.discard_remains()

    def _id(self, word: str) -> str:
        run_id = self._publisher.run_id(word)
        assert run_id is not None, "it was created"  # noqa: S101
        return run_id

    def _tags(self, run: ArchivedRun) -> dict[str, str]:
        return {
            **{key: text for key, text in run.tags.items() if key != names.OUTCOME},
            names.SWEEP: self._name,
        }

    def _log(self, word: str, metrics: Sequence[Measurement]) -> None:
        for first in range(0, len(metrics), MOST_METRICS):
            batch = tuple(metrics[first : first + MOST_METRICS])
            self._publisher.apply(LogMetrics(run=word, metrics=batch))

    def _end(
        self,
        word: str,
        run: ArchivedRun,
        *,
        tags: Mapping[str, str] | None = None,
        metrics: Sequence[Measurement] = (),
    ) -> None:
        outcome = {names.OUTCOME: run.tags[names.OUTCOME]} if names.OUTCOME in run.tags else {}
        self._publisher.apply(
            EndRun(
                run=word,
                status=run.status,
                tags={**outcome, **(tags or {})},
                end_ms=run.end_ms,
                metrics=tuple(metrics),
            )
        )

    def _renamed(self, text: str) -> str:
        """Return a sweep's configuration with its name here."""
        config = _json_object(text)
        return text if "name" not in config else json.dumps({**config, "name": self._name})

    def _adapted(self, name: str, content: bytes) -> bytes:
        """Return a file of the sweep's run with the ids that runs have here, and its name."""
        if not name.endswith(TEXT_FILES):
            return content
        content = ANY_RUN_ID.sub(self._id_here, content)
        document = _json_object(content) if name == names.DOCUMENT else {}
        if self._sweep is None or document.get("sweep") in (None, self._name):
            return content
        return json.dumps({**document, "sweep": self._name}, indent=2).encode()

    def _id_here(self, found: re.Match[bytes]) -> bytes:
        word = self._words.get(found[0].decode())
        return found[0] if word is None else self._id(word).encode()

    def _search(self, filter_string: str) -> Iterator[str]:
        for run in reader.search(
            self._access.client,
            experiment_id=self._access.experiment_id,
            filter_string=filter_string,
        ):
            yield str(run.info.run_id)

    def _discard_family(self, parent: str) -> None:
        for child in list(self._search(names.children_filter(parent))):
            self._discard(child)
        self._discard(parent)

    def _discard(self, run_id: str) -> None:
        """Delete a run with its model; what lies on this machine, for good."""
        client = self._access.client
        run = client.get_run(run_id)
        logged = [] if run.outputs is None else run.outputs.model_outputs
        for output in logged:
            self._remove(client.get_logged_model(output.model_id).artifact_location)
            client.delete_logged_model(output.model_id)
        self._remove(run.info.artifact_uri)
        client.delete_run(run_id)

    def _remove(self, location: str) -> None:
        found = self._access.artifacts.find(location)
        if isinstance(found, Path):
            shutil.rmtree(found, ignore_errors=True)


def _json_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a text holds; an empty one if it holds something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
