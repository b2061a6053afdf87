"""Plan of a sweep: what there is to train, with what, and how long it should take."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ae_sweep import sweep, tracking
from ae_sweep.runner.chosen_dims import at_most, counted_plan
from ae_sweep.runner.cluster_engine import open_place
from ae_sweep.runner.estimate import Estimate
from ae_sweep.runner.setup import prepare, with_stored_options

if TYPE_CHECKING:
    from ae_sweep.records import TrialRecord
    from ae_sweep.runner.engine import Announce
    from ae_sweep.runner.request import SweepRequest
    from ae_sweep.runner.setup import SweepSetup


def plan_sweep(request: SweepRequest, *, announce: Announce) -> Estimate:
    """Load the data, choose the precision, measure the speed and count what is to be trained.

    Nothing is written to the store. Close the estimate if it is not executed: seats of a cluster
    may have been started for it.

    Raises
    ------
    ConfigError
        If a name is unknown, or a dim needs more memory than the device has.
    DeviceError, DataError
        If the device or the data set is not available.
    ClusterError, WorkerError
        If the cluster cannot be joined, or a seat or process cannot be set up.
    ConflictError
        If the sweep is stored with other settings or another data set.
    """
    store = request.store
    with contextlib.ExitStack() as opened:
        place = None
        if request.cluster is not None:
            place = open_place(
                request.cluster,
                device_name=request.device,
                workers=request.workers,
                announce=announce,
            )
            opened.callback(place.close)
        setup = prepare(
            request.config,
            data_dir=request.data_dir,
            device_name=request.device,
            workers=request.workers,
            unsettled=request.unsettled,
            image_memory=request.image_bytes,
            place=place,
            announce=announce,
        )
        setup = _checked(request, setup)
        trials: list[TrialRecord] = []
        if request.resume:  # what a journal keeps is as good as stored: it is published first
            runs = tracking.open_for_reading(store)
            trials += runs.trials_to_keep(setup.config.name, announce=announce)
            trials += tracking.kept_trials(store, setup.config.name)
        plan = counted_plan(setup.config, trials, store, announce=announce)
        if setup.config.auto is not None:
            plan = at_most(plan, trials, workers=request.workers or 1)
        factory = request.engine_factory if place is None else place.engine
        engine = factory(setup, plan.trials, announce)
        opened.pop_all()
    cluster = None if request.cluster is None else request.cluster.address
    return Estimate(
        plan=plan,
        setup=setup,
        engine=engine,
        store=store,
        cluster=cluster,
        in_turn=request.share_cores,
    )


def _checked(request: SweepRequest, setup: SweepSetup) -> SweepSetup:
    """Return the setup of a sweep that does not conflict with what is stored."""
    sweep.check_conflict(
        request.store.optuna_path,
        setup.config,
        identity=setup.identity(),
        resume=request.resume,
        reasons=request.changed_options,
    )
    if request.stored_options is not None:
        setup = with_stored_options(setup, request.stored_options)
    return setup.saved_in(request.store.running(setup.config.name))
