"""Sweeps whose dims are chosen while they run: what is planned, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import sweep
from ae_sweep.messages import counted, ignore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ae_sweep.config import SweepConfig
    from ae_sweep.locations import Store
    from ae_sweep.records import TrialRecord
    from ae_sweep.runner.engine import Announce
    from ae_sweep.runner.estimate import Estimate


def counted_plan(
    config: SweepConfig,
    trials: Sequence[TrialRecord],
    store: Store,
    *,
    announce: Announce = ignore,
) -> sweep.Plan:
    """Count what is wanted of all dims and neither finished nor given up.

    Parameters
    ----------
    announce
        Called with a line on each condition of which trials were given up.
    """
    path, held = store.optuna_path, sweep.held_configurations(config, trials)
    given_up = sweep.given_up(path, config, held=held)
    for condition, tries in given_up.items():
        if number := tries.trials + tries.repeats:
            announce(
                f"{counted(number, 'trial')} of {condition} failed too often to be tried again; "
                "--retries N tries more often, unless it diverged twice"
            )
    repeated = sweep.finished_repeats(config, trials)
    return sweep.make_plan(
        config,
        filled=sweep.count_filled(config, sweep.filled_slots(path, config, held=held), trials),
        repeated={
            each: repeated.get(each, 0) + (given_up[each].repeats if each in given_up else 0)
            for each in config.conditions
        },
    )


def at_most(plan: sweep.Plan, trials: Sequence[TrialRecord], *, workers: int) -> sweep.Plan:
    """Return the most that a sweep whose dims are chosen may train.

    Those that may come beyond the next ones are the largest, which take longest.
    """
    config = plan.config
    search = sweep.DimSearch(
        config,
        trials=trials,
        complete=plan.complete_dims,
        at_once=sweep.dims_at_once(config, workers),
    )
    following = search.peek()
    dims = {*search.begun, *following}
    if following:
        others = [dim for dim in config.dims if dim not in dims]
        dims |= set(others[::-1][: max(config.most_dims - len(dims), 0)])
    return plan.of_dims(dims)


def dim_search(
    estimate: Estimate, trials: Sequence[TrialRecord], *, workers: int, announce: Announce
) -> sweep.DimSearch:
    """Return what chooses the dims of a sweep that is about to run.

    Parameters
    ----------
    trials
        Of the sweep, as stored.
    workers
        How many trials are meant to run at a time.
    """
    config = estimate.setup.config
    return sweep.DimSearch(
        config,
        trials=trials,
        complete=counted_plan(config, trials, estimate.store).complete_dims,
        at_once=sweep.dims_at_once(config, workers),
        dim_seconds=estimate.dim_seconds,
        announce=announce,
    )


def further_studies(
    search: sweep.DimSearch | None, family: sweep.StudyFamily, config: SweepConfig
) -> list[sweep.ConditionStudy]:
    """Open the studies of the dims that come next."""
    if search is None:
        return []
    chosen = search.next_round()
    return family.open(each for each in config.conditions if each.latent_dim in chosen)
