"""Execution of a planned sweep, to its stored frontier, as a stream of events."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ae_sweep import analysis, ownership, sweep, tracking, training
from ae_sweep.errors import AeSweepError, ConflictError, NotStoredError, StoreError
from ae_sweep.isolation import GLANCING, unless_set
from ae_sweep.messages import ignore
from ae_sweep.records import Outcome
from ae_sweep.runner.chosen_dims import dim_search, further_studies
from ae_sweep.runner.commands import stored_commands
from ae_sweep.runner.dim_answer import dim_answer
from ae_sweep.runner.environment import environment
from ae_sweep.runner.publishing import kept_error, publish_first, store_frontier
from ae_sweep.runner.tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ae_sweep.analysis import Frontier
    from ae_sweep.analysis.dim_choice import DimAnswer
    from ae_sweep.config import Condition
    from ae_sweep.locations import Store
    from ae_sweep.records import SweepRecord, TrialRecord
    from ae_sweep.runner.engine import Announce
    from ae_sweep.runner.estimate import Estimate
    from ae_sweep.runner.request import SweepRequest
    from ae_sweep.runner.setup import SweepSetup
    from ae_sweep.sweep import Shield, SweepEvent
    from ae_sweep.tracking import SweepWriter, TrackingStore

LISTED_REASONS = 3
"""Of failed trials, in the error of a sweep without results."""


@dataclass(frozen=True)
class SweepPlanned:
    """A sweep is about to begin."""

    estimate: Estimate


RunEvent: TypeAlias = "SweepPlanned | SweepEvent"


@dataclass(frozen=True, kw_only=True)
class FinishedSweep:
    """A sweep whose results are stored."""

    frontier: Frontier
    missing: tuple[Condition, ...]
    """Conditions of which no trial finished."""
    store: Store
    runs: TrackingStore
    record: SweepRecord
    """As it is stored now that it has ended."""
    trials: tuple[TrialRecord, ...]
    """In the order they were started."""
    answer: DimAnswer | None = None
    """What its dims were chosen for; None where they were listed."""

    def check(self) -> None:
        """Refuse a frontier that lacks a condition.

        Raises
        ------
        NotStoredError
            With the missing conditions.
        """
        if self.missing:
            raise NotStoredError(
                f"no trial finished for {analysis.listed_conditions(self.missing)}; the MLflow UI "
                f"shows why each trial failed: `{self.store.command('ui')}`"
            )


def execute(
    request: SweepRequest,
    estimate: Estimate,
    *,
    shield: Shield = nullcontext,
    announce: Announce = ignore,
) -> Generator[SweepEvent, None, FinishedSweep]:
    """Train what is planned, store it, and yield what happens.

    A caller that stops early must close the generator (``contextlib.closing``): like an
    interruption, that leaves every trial ended and the sweep resumable.

    Parameters
    ----------
    shield
        Gives a context in which no interruption arrives; bookkeeping happens inside one.
    announce
        Called with one line where the tracking store fails, and when it is back.

    Yields
    ------
    SweepEvent
        A trial has started, validated or ended.

    Returns
    -------
    FinishedSweep
        The frontier, which is also stored on the sweep's run.

    Raises
    ------
    NotStoredError
        If no trial finished.
    NotPublishedError
        If the tracking store fails in the end; then a journal keeps what is not stored.
    ConflictError
        If another process runs the sweep, or has taken it over.
    StoreError
        If the store was moved or deleted meanwhile.
    """
    runs = tracking.open_for_writing(request.store)
    config = estimate.setup.config
    with contextlib.ExitStack() as owned, contextlib.ExitStack() as held:
        holding = owned.enter_context(
            ownership.hold(
                request.store.running(config.name),
                take_over_command=request.take_over_command,
                take_over=request.take_over,
            )
        )
        if request.resume:
            publish_first(runs, request.store, config.name, announce=announce)
        # From its creation to the try that ends it, no interruption may come between.
        held.enter_context(shield())
        writer = _open_sweep(request, estimate, runs, announce)
        owned.callback(writer.release)

        def check() -> None:
            holding.check()
            writer.check()

        try:
            held.close()
            # Read again: what was planned may have been trained by another process since.
            trials = runs.trials_to_keep(config.name) if request.resume else []
            reasons: list[str] = []
            # Of its own number, since fewer may run for want of trials.
            workers = request.workers or estimate.engine.workers
            events = _train(
                estimate,
                writer,
                check,
                trials,
                workers=workers,
                in_turn=request.share_cores,
                shield=shield,
                announce=announce,
            )
            yield from _noting_failures(events, reasons)
            check()
            try:
                writer.flush()
                return _publish(request, runs, writer, setup=estimate.setup)
            except NotStoredError as error:
                raise _with_reasons(error, reasons) from error
            except StoreError as error:
                check()
                linear_mse = _linear_mse(estimate.setup, known={})
                raise kept_error(request.store, writer, error, linear_mse=linear_mse) from error
        except (KeyboardInterrupt, GeneratorExit):
            # A second Ctrl-C has nothing to add.
            # A store that cannot be written, or is another process's, is not why it ended.
            with contextlib.suppress(KeyboardInterrupt, AeSweepError), shield():
                check()
                writer.interrupt()
            raise
        except ConflictError:  # it is another process's sweep now
            raise
        except Exception as error:
            check()  # that the store is gone says more than what came of it
            with contextlib.suppress(StoreError):  # the first error says what went wrong
                writer.fail(f"{type(error).__name__}: {error}")
            raise


def is_stored(request: SweepRequest) -> bool:
    """Return whether there is a sweep to resume, as far as can be found out within seconds."""
    try:
        with unless_set(GLANCING):
            tracking.open_for_reading(request.store).sweep_settings(request.config.name)
    except NotStoredError:
        return False
    except AeSweepError:
        return True
    return True


def _open_sweep(
    request: SweepRequest, estimate: Estimate, runs: TrackingStore, announce: Announce
) -> SweepWriter:
    config, card = estimate.setup.config, estimate.setup.card
    commands = stored_commands(request)
    if request.resume:
        return runs.resume_sweep(
            config,
            card=card,
            commands=commands,
            journal=announce,
            take_over_command=request.take_over_command,
            take_over=request.take_over,
        )
    return runs.start_sweep(
        config, card=card, environment=environment(), commands=commands, journal=announce
    )


def _train(
    estimate: Estimate,
    writer: SweepWriter,
    check: Callable[[], None],
    trials: Sequence[TrialRecord],
    *,
    workers: int,
    in_turn: bool,
    shield: Shield,
    announce: Announce,
) -> Generator[SweepEvent, None, None]:
    setup, engine = estimate.setup, estimate.engine
    config, checkpoints = setup.config, setup.checkpoints
    if checkpoints is not None:
        checkpoints.tidy()
    with contextlib.closing(engine.open()) as worker:
        family = sweep.StudyFamily(
            estimate.store.optuna_path,
            config,
            identity=setup.identity(),
            held=sweep.held_configurations(config, trials),
        )
        search = None
        if config.auto is not None:
            search = dim_search(estimate, trials, workers=workers, announce=announce)
        driver = sweep.Driver(
            config,
            studies=family.open(config.conditions) if search is None else (),
            worker=worker,
            tracker=MlflowTracker(
                writer,
                card=setup.card,
                recipe=training.recipe_name(config),
                parameters={**setup.parameters(), **engine.parameters(), **environment()},
                finished=tracking.finished_points(trials),
            ),
            shield=shield,
            guard=check,
            forget=None if checkpoints is None else checkpoints.forget,
            in_turn=in_turn,
            more=partial(further_studies, search, family, config),
        )
        with contextlib.closing(driver.run()) as events:
            for event in events:
                if search is not None:
                    search.take(event)
                yield event
    if checkpoints is not None:
        checkpoints.close()


def _noting_failures(
    events: Generator[SweepEvent, None, None], reasons: list[str]
) -> Generator[SweepEvent, None, None]:
    """Pass events on, and add the reason of each failed trial's last try to a list."""
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, sweep.TrialEnded) and event.reason and not event.again:
                reasons.append(event.reason)
            yield event


def _with_reasons(error: NotStoredError, reasons: Sequence[str]) -> NotStoredError:
    """Return an error of missing results that says why trials failed, the most frequent first."""
    counts = Counter(reasons).most_common()
    listed = [f"{count} × {reason}" for reason, count in counts[:LISTED_REASONS]]
    if len(counts) > LISTED_REASONS:
        listed.append(f"{len(counts) - LISTED_REASONS} more reasons")
    return NotStoredError("\n  - ".join([str(error), *listed]))


def _publish(
    request: SweepRequest, runs: TrackingStore, writer: SweepWriter, *, setup: SweepSetup
) -> FinishedSweep:
    """Read the trials back, and store the frontier on the sweep's run."""
    config = setup.config
    frontier, record, trials = store_frontier(
        runs, writer, config, linear_mse=lambda known: _linear_mse(setup, known=known)
    )
    measured = {point.condition for point in frontier.points}
    wanted = config.conditions
    if config.auto is not None:
        tried = {trial.point.condition for trial in trials}
        wanted = tuple(each for each in wanted if each in tried)
    missing = tuple(each for each in wanted if each not in measured)
    return FinishedSweep(
        frontier=frontier,
        missing=missing,
        answer=dim_answer(config, trials),
        store=request.store,
        runs=runs,
        record=dataclasses.replace(record, outcome=Outcome.FINISHED),
        trials=tuple(trials),
    )


def _linear_mse(setup: SweepSetup, *, known: Mapping[int, float]) -> Mapping[int, float]:
    """Measure principal components on own images, of which nobody knows how hard they are."""
    config, dataset = setup.config, setup.dataset
    if not config.own_images:
        return {}
    if set(config.dims) <= set(known):
        return known
    return analysis.linear_errors(dataset.train_NCHW, dataset.test_NCHW, dims=config.dims)
