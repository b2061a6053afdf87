"""Tracking of sweeps in MLflow; the only package that imports it.

A store is opened once, for writing or for reading; sweeps and trials are written by their
writers and come back as records. MLflow is imported with this package, which takes seconds:
import it inside a command.
"""

from ae_sweep.isolation import lasting_imports, mlflow_settings

# MLflow decides on its telemetry while it is imported.
with mlflow_settings, lasting_imports():
    from ae_sweep.tracking.addresses import run_url, sweep_url, view_url
    from ae_sweep.tracking.adoption import Adoption, adopt
    from ae_sweep.tracking.archive import (
        ArchivedSweep,
        ArchivedTrial,
        model_document,
        model_from,
        run_document,
        run_from,
        sweep_document,
        sweep_from,
    )
    from ae_sweep.tracking.archive_reader import ArchiveReader
    from ae_sweep.tracking.archive_writer import ArchiveWriter
    from ae_sweep.tracking.connection import open_for_reading, open_for_writing
    from ae_sweep.tracking.errors import reason_of
    from ae_sweep.tracking.health import check_runs
    from ae_sweep.tracking.journal import place_of
    from ae_sweep.tracking.kept import (
        KeptSweep,
        kept_sweep,
        kept_sweeps,
        kept_trials,
        sweeps_with_state,
    )
    from ae_sweep.tracking.reader import finished_points
    from ae_sweep.tracking.runs import table_csv, table_json
    from ae_sweep.tracking.store import TrackingStore
    from ae_sweep.tracking.stored_runs import RunOfCodec
    from ae_sweep.tracking.trial_writer import TrialWriter
    from ae_sweep.tracking.ui_server import (
        UiServer,
        check_port,
        running_ui,
        ui_command,
        ui_environment,
        wait_until_ready,
    )
    from ae_sweep.tracking.views import View
    from ae_sweep.tracking.writer import SweepWriter

__all__ = [
    "Adoption",
    "ArchiveReader",
    "ArchiveWriter",
    "ArchivedSweep",
    "ArchivedTrial",
    "KeptSweep",
    "RunOfCodec",
    "SweepWriter",
    "TrackingStore",
    "TrialWriter",
    "UiServer",
    "View",
    "adopt",
    "check_port",
    "check_runs",
    "finished_points",
    "kept_sweep",
    "kept_sweeps",
    "kept_trials",
    "model_document",
    "model_from",
    "open_for_reading",
    "open_for_writing",
    "place_of",
    "reason_of",
    "run_document",
    "run_from",
    "run_url",
    "running_ui",
    "sweep_document",
    "sweep_from",
    "sweep_url",
    "sweeps_with_state",
    "table_csv",
    "table_json",
    "ui_command",
    "ui_environment",
    "view_url",
    "wait_until_ready",
]
