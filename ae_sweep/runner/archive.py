"""Export of a sweep to plain files, and import of one into another store."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_sweep import analysis, ownership, sweep, tracking
from ae_sweep.config import NAME_PATTERN
from ae_sweep.errors import ConfigError, ConflictError, DataError
from ae_sweep.messages import counted, ignore, shorten, visible
from ae_sweep.runner.commands import commands_on
from ae_sweep.runner.deletion import stored_parts
from ae_sweep.runner.export_files import ExportWriter, new_directory
from ae_sweep.runner.verified_export import verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ae_sweep.locations import Store
    from ae_sweep.runner.verified_export import ExportReader
    from ae_sweep.tracking import ArchivedSweep, ArchivedTrial, ArchiveReader, TrackingStore

SWEEP = "sweep.json"
TRIALS = "trials.json"
TRIALS_CSV = "trials.csv"
METRICS_CSV = "metrics.csv"
STUDIES = "studies.json"
RUNS = "runs"
MODELS = "models"


@dataclass(frozen=True, kw_only=True)
class ExportedSweep:
    """A sweep that was exported or imported."""

    sweep: str
    """Its name in the store."""
    directory: Path
    """Of the plain files."""
    trials: int
    models: int
    files: int
    """Of the export, without its manifest."""
    size: int
    """Of these files, in bytes."""

    def __str__(self) -> str:
        return (
            f"{counted(self.trials, 'trial')} and {counted(self.models, 'model')} in "
            f"{counted(self.files, 'file')}, {self.size / 10**6:,.1f} MB"
        )


def export_sweep(
    name: str | None,
    directory: Path,
    store: Store,
    *,
    force: bool = False,
    announce: Callable[[str], None] = ignore,
) -> ExportedSweep:
    """Write a sweep to plain files; see `ae_sweep.export_sweep`.

    Parameters
    ----------
    directory
        Absolute.
    announce
        Called with a line if something is not in the export that an import would need.
    """
    runs = tracking.open_for_reading(store)
    name = runs.sweep_settings(name).name
    _refuse_unfinished(name, store)
    with new_directory(directory, force=force) as out:
        reader = runs.archive_reader(name, private_paths=_private_paths(store))
        studies = sweep.study_documents(store.optuna_path, name, clean=reader.private.clean)
        if not studies:
            announce(
                f"{store.optuna_path.parent} has no studies of {name}: where it is imported, its "
                "search begins anew when it is extended"
            )
        out.write_json(STUDIES, studies)
        trials = _write_trials(out, runs, reader)
        out.write(TRIALS_CSV, _trials_table(runs, name))
        out.write_json(SWEEP, tracking.sweep_document(_write_sweep(out, reader)))
        out.finish(sweep=name)
    return ExportedSweep(
        sweep=name,
        directory=directory,
        trials=len(trials),
        models=sum(trial.model is not None for trial in trials),
        files=len(out.entries) - 1,
        size=sum(entry.size for entry in out.entries.values()),
    )


def import_sweep(directory: Path, store: Store, *, name: str | None = None) -> ExportedSweep:
    """Write an exported sweep into a store; see `ae_sweep.import_sweep`.

    If that fails or is interrupted, what was written is deleted. What a killed import has left is
    no sweep, and is deleted by the next import of that name.

    Parameters
    ----------
    directory
        Of the export, absolute.
    """
    export = verified(directory)
    archived, trials, studies = _read(export)
    name = _checked_name(archived.name if name is None else name, given=name is not None)
    for document in studies:  # before anything is written
        sweep.read_study(document, sweep=name)
    folder = store.running(name)
    again = store.command("run", "--name", name, "--resume", "--take-over")
    runs = tracking.open_for_writing(store)
    with ownership.hold(folder, take_over_command=again):
        _write(runs, export, store, name, archived, trials, studies)
    return ExportedSweep(
        sweep=name,
        directory=directory,
        trials=len(trials),
        models=sum(trial.model is not None for trial in trials),
        files=len(export.entries),
        size=sum(entry.size for entry in export.entries.values()),
    )


def _refuse_unfinished(name: str, store: Store) -> None:
    """Refuse a sweep that is not all in its databases, or is changing."""
    ownership.check_free(
        store.running(name),
        take_over_command=store.command("run", "--name", name, "--resume", "--take-over"),
    )
    if (kept := tracking.kept_sweep(store, name)) is not None:
        raise ConflictError(
            f"{counted(kept.trials, 'trial')} of {name} wait to be published; first "
            f"`{store.command('sync', name)}`"
        )


def _private_paths(store: Store) -> list[str]:
    paths = [str(store.root), str(Path.cwd())]
    with contextlib.suppress(RuntimeError):  # a user without a home directory
        paths.append(str(Path.home()))
    return [path for path in paths if path != "/"]


def _write_trials(
    out: ExportWriter, runs: TrackingStore, reader: ArchiveReader
) -> list[ArchivedTrial]:
    trials, documents, rows = [], [], []
    for trial in reader.trials():
        run = trial.run
        with reader.files(run.run_id) as files:
            for name, path in files.items():
                out.copy(f"{RUNS}/{run.run_id}/{name}", path)
        if trial.model is not None:
            with runs.model_file(run.run_id) as file:
                out.copy(f"{MODELS}/{run.run_id}.safetensors", file)
            document = tracking.model_document(trial.model)
            out.write_json(f"{MODELS}/{run.run_id}.json", document)
        trials.append(trial)
        documents.append(tracking.run_document(run))
        rows += [{"run_id": run.run_id, "name": run.name, **vars(each)} for each in run.metrics]
    out.write_json(TRIALS, documents)
    out.write(METRICS_CSV, tracking.table_csv(rows).encode())
    return trials


def _write_sweep(out: ExportWriter, reader: ArchiveReader) -> ArchivedSweep:
    archived = reader.sweep()
    with reader.files(archived.run.run_id) as files:
        for name, path in files.items():
            out.copy(f"{RUNS}/{archived.run.run_id}/{name}", path)
    return archived


def _trials_table(runs: TrackingStore, name: str) -> bytes:
    return tracking.table_csv(analysis.trial_rows(runs.trials(name))).encode()


def _read(export: ExportReader) -> tuple[ArchivedSweep, list[ArchivedTrial], list[Any]]:
    """Return what an export holds, but for the files of runs and models.

    Raises
    ------
    DataError
        If a document is none of an export, or a file is missing.
    """
    with _documents_of(export, SWEEP):
        archived = tracking.sweep_from(export.document(SWEEP))
    trials = []
    with _documents_of(export, TRIALS):
        for document in _list(export.document(TRIALS)):
            run = tracking.run_from(document)
            described = f"{MODELS}/{run.run_id}.json"
            model = None
            if described in export.entries:
                model = tracking.model_from(export.document(described))
                if f"{MODELS}/{run.run_id}.safetensors" not in export.entries:
                    raise ValueError(f"the weights of run {run.run_id} are missing")
            trials.append(tracking.ArchivedTrial(run=run, model=model))
        ids = [archived.run.run_id, *(trial.run.run_id for trial in trials)]
        if len(set(ids)) != len(ids):
            raise ValueError("two runs have the same id")
    with _documents_of(export, STUDIES):
        studies = _list(export.document(STUDIES))
    return archived, trials, studies


@contextlib.contextmanager
def _documents_of(export: ExportReader, name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{visible(export.directory / name)} is not what an export holds: {visible(error)}; "
            "export the sweep again"
        ) from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("it is not a list")  # noqa: TRY004 - caught as one kind
    return value


def _checked_name(name: str, *, given: bool) -> str:
    if NAME_PATTERN.fullmatch(name):
        return name
    if not given:
        raise DataError(
            f"the export is of a sweep {shorten(name)}, which ae-sweep gives none as a name; give "
            "it one with --name"
        )
    raise ConfigError(
        f"{shorten(name)} cannot name a sweep; use up to 100 letters, digits, '.', '_' and '-', "
        "and begin with a letter or a digit"
    )


def _write(
    runs: TrackingStore,
    export: ExportReader,
    store: Store,
    name: str,
    archived: ArchivedSweep,
    trials: list[ArchivedTrial],
    studies: list[Any],
) -> None:
    resume = ("run", "--name", name, "--resume")
    writer = runs.archive_writer(name, commands=commands_on(name, store, resume=resume))
    if writer.discard_remains():
        sweep.delete_studies(store.optuna_path, name)
    _refuse_stored(name, store)
    try:
        writer.begin(archived)
        for trial in trials:
            run_id = trial.run.run_id
            writer.add_trial(
                trial,
                weights=functools.partial(export.content, f"{MODELS}/{run_id}.safetensors"),
                files=_contents(export, run_id),
            )
        if studies:
            sweep.add_studies(store.optuna_path, studies, sweep=name)
        writer.finish(_contents(export, archived.run.run_id))
    except BaseException:
        writer.discard()
        with contextlib.suppress(Exception):
            sweep.delete_studies(store.optuna_path, name)
        raise


def _contents(export: ExportReader, run_id: str) -> dict[str, Callable[[], bytes]]:
    files = export.below(f"{RUNS}/{run_id}")
    return {name: functools.partial(export.content, path) for name, path in files.items()}


def _refuse_stored(name: str, store: Store) -> None:
    parts = stored_parts(name, store)
    if not parts:
        return
    raise ConflictError(
        f"{parts} are stored already under the name {name}; import the sweep under another with "
        f"--name, or delete what is there: `{store.command('delete', name, '--yes')}`"
    )
