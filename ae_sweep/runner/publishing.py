"""Publishing of a sweep: its frontier in the end, and what a journal keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ae_sweep import tracking
from ae_sweep.config import dataset_title
from ae_sweep.errors import ConflictError, NotPublishedError, NotStoredError, StoreError
from ae_sweep.locations import Store
from ae_sweep.messages import counted, ignore, shorten, visible
from ae_sweep.runner.settings import make_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ae_sweep.analysis import Frontier
    from ae_sweep.config import SweepConfig
    from ae_sweep.records import SweepRecord, TrialRecord
    from ae_sweep.runner.engine import Announce
    from ae_sweep.tracking import KeptSweep, SweepWriter, TrackingStore


@dataclass(frozen=True, kw_only=True)
class PublishedSweep:
    """A sweep whose journal was published."""

    sweep: str
    trials: int
    """How many trials were published, in whole or in part."""
    is_finished: bool
    """Whether the sweep has ended, so that its frontier is stored too."""


def store_frontier(
    runs: TrackingStore,
    writer: SweepWriter,
    config: SweepConfig,
    *,
    linear_mse: Callable[[Mapping[int, float]], Mapping[int, float]],
) -> tuple[Frontier, SweepRecord, list[TrialRecord]]:
    """Read the trials back, and store the frontier on the sweep's run.

    Parameters
    ----------
    linear_mse
        Returns the test MSE of principal components by their number, given what is stored of it.

    Raises
    ------
    NotStoredError
        If no trial finished.
    StoreError
        If the store fails.
    """
    from ae_sweep import analysis, plots  # slow to import, and not needed by `waiting`

    record, trials = runs.sweep_with_trials(config.name)
    frontier = analysis.frontier(
        trials,
        sweep=record.name,
        dataset=dataset_title(config.dataset),
        linear_mse=linear_mse(record.linear_mse),
    )
    figure = plots.frontier_figure(frontier)
    writer.finish(
        figures={f"frontier.{kind}": plots.render(figure, kind) for kind in ("png", "svg")},
        table=analysis.table_rows(frontier),
        document=analysis.to_document(frontier),
        points=frontier.points,
        findings=_findings(frontier),
        linear_mse=frontier.linear_mse,
    )
    return frontier, record, trials


def kept_error(
    store: Store, writer: SweepWriter, error: StoreError, *, linear_mse: Mapping[int, float]
) -> NotPublishedError:
    """Leave the end of a sweep to its journal, and return the error that says so.

    Parameters
    ----------
    error
        Why it could not be published.
    linear_mse
        Test MSE of principal components by their number, if it was measured.

    Raises
    ------
    StoreError
        If the journal cannot be written.
    """
    kept = writer.keep(linear_mse=linear_mse)
    what = (
        f"{counted(kept.trials, 'trial')} and the frontier of {writer.config.name} are"
        if kept.trials
        else f"the frontier of {writer.config.name} is"
    )
    return NotPublishedError(
        f"{what} not in {shorten(store.runs_place, 200)}, but kept in {visible(kept.folder)}: "
        f"{tracking.reason_of(error)}; when that is mended, publish with "
        f"`{store.command('sync', writer.config.name)}`"
    )


def publish_first(runs: TrackingStore, store: Store, sweep: str, *, announce: Announce) -> None:
    """Publish what the journal of a sweep keeps that is to go on.

    Raises
    ------
    ConflictError
        If it belongs to another tracking server, or is being published.
    StoreError
        If the store fails, or the journal is damaged.
    """
    kept = tracking.kept_sweep(store, sweep)
    if kept is None:
        return
    if kept.place != tracking.place_of(store):
        raise _elsewhere(store, kept)
    journal = runs.publish(kept, announce=announce)
    if journal.waiting:  # its end, which is another now
        journal.done()
    journal.close()
    announce(f"published {counted(kept.trials, 'trial')} that {visible(kept.folder)} kept")


def sync(
    store: Store, sweep: str | None = None, *, announce: Announce = ignore
) -> list[PublishedSweep]:
    """Publish what journals keep, of one sweep or of all; see `ae_sweep.sync`."""
    if sweep is None:
        return [_sync(store, kept, announce) for kept in tracking.kept_sweeps(store)]
    if (kept := tracking.kept_sweep(store, sweep)) is not None:
        return [_sync(store, kept, announce)]
    tracking.open_for_reading(store).sweep_settings(sweep)
    return []


def _sync(store: Store, kept: KeptSweep, announce: Announce) -> PublishedSweep:
    runs = tracking.open_for_writing(_place(store, kept))
    journal = runs.publish(kept, announce=announce)
    try:
        finish = journal.finish
        if finish is not None:
            writer = runs.finish_of(
                journal.run_id,
                make_config(kept.name, {}, finish.config, announce=ignore),
                card=finish.card,
                commands=finish.commands,
            )
            _finish(runs, writer, finish.linear_mse)
            journal.done()
    finally:
        journal.close()
    return PublishedSweep(sweep=kept.name, trials=kept.trials, is_finished=finish is not None)


def _finish(runs: TrackingStore, writer: SweepWriter, linear_mse: Mapping[int, float]) -> None:
    try:
        store_frontier(
            runs, writer, writer.config, linear_mse=lambda known: {**known, **linear_mse}
        )
    except NotStoredError as error:  # as it would have ended
        writer.fail(f"{type(error).__name__}: {error}")


def _place(store: Store, kept: KeptSweep) -> Store:
    """Return the store that trials belong to.

    Raises
    ------
    ConflictError
        If that cannot be known.
    """
    if kept.place == tracking.place_of(store):
        return store
    if kept.place and store.tracking_override is None and "***" not in kept.place:
        return Store(store.root, kept.place)
    raise _elsewhere(store, kept)


def _elsewhere(store: Store, kept: KeptSweep) -> ConflictError:
    theirs = Store(store.root, kept.place or None)
    command = f"`{theirs.command('sync', kept.name)}`"
    if kept.place:
        command += f" in {visible(store.root.parent)} with MLFLOW_TRACKING_URI set to that address"
    return ConflictError(
        f"the trials of {kept.name} that {visible(kept.folder)} keeps belong to "
        f"{shorten(theirs.runs_place, 200)}; run {command}"
    )


def _findings(frontier: Frontier) -> list[str]:
    from ae_sweep import analysis

    knee = frontier.knee
    return [
        *([f"Knee at d = {knee.latent_dim}: {knee.advice}"] if knee else []),
        *frontier.notes,
        *analysis.code_use(frontier.points),
    ]
