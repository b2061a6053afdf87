"""A tracking server in memory that fails when it is told to, before or after it has done the work.

It has what the publisher uses of ``MlflowClient``, and is as strict: what is not idempotent there
is not here.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = (
    "create_run", "log_batch", "log_inputs", "create_logged_model", "log_model_artifacts",
    "log_outputs", "finalize_logged_model", "log_artifacts", "set_terminated", "search_runs",
    "search_logged_models", "get_run", "delete_run",
)  # fmt: skip


class FakeMlflow:
    """The server: what it holds, and when it fails."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.fails: Callable[[int], bool] = lambda _: False
        """Whether the call of a number, from 1, fails."""
        self.late = False
        """Whether it fails after the work is done, so that only the answer is lost."""
        self._ids = itertools.count(1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in CALLS:
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.fails(self.calls) and not self.late:
                raise MlflowException("API request to /api failed with exception refused")
            answer = getattr(self, f"_{name}")(*args, **kwargs)
            if self.fails(self.calls):
                raise MlflowException("API request to /api failed with timeout exception")
            return answer

        return call

    def delete(self, run_id: str) -> None:
        self.runs[run_id]["lifecycle"] = "deleted"

    def content(self) -> dict[str, Any]:
        """Return all that is held, with ids in the order of the runs' starts."""
        by_start = sorted(self.runs, key=lambda run_id: self.runs[run_id]["start"])
        assert len({self.runs[run_id]["start"] for run_id in by_start}) == len(by_start)
        number = {run_id: position for position, run_id in enumerate(by_start)}
        models = {
            model_id: {**model, "run": number[model["run"]]}
            for model_id, model in self.models.items()
        }
        runs = [dict(self.runs[run_id]) for run_id in by_start]
        for run in runs:
            run["outputs"] = [(models[model_id], step) for model_id, step in run["outputs"]]
            if earlier := run["tags"].get("earlier_try"):
                run["tags"] = {**run["tags"], "earlier_try": number[earlier]}
        return {"runs": runs, "models": sorted(models.values(), key=lambda model: model["run"])}

    def _active(self, run_id: str) -> dict[str, Any]:
        if run_id not in self.runs:
            raise MlflowException(f"Run {run_id} not found", RESOURCE_DOES_NOT_EXIST)
        run = self.runs[run_id]
        if run["lifecycle"] == "deleted":
            raise MlflowException("The run must be in the 'active' state", INVALID_PARAMETER_VALUE)
        return run

    def _create_run(
        self, experiment_id: str, *, start_time: int, tags: dict[str, str], run_name: str
    ) -> Any:
        run_id = f"run{next(self._ids)}"
        self.runs[run_id] = {
            "name": run_name, "start": start_time, "end": None, "status": "RUNNING",
            "lifecycle": "active", "tags": dict(tags), "params": {}, "metrics": set(),
            "inputs": [], "outputs": [], "files": {},
        }  # fmt: skip
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def _delete_run(self, run_id: str) -> None:
        self._active(run_id)["lifecycle"] = "deleted"

    def _log_batch(
        self, run_id: str, *, metrics: Any = (), params: Any = (), tags: Any = ()
    ) -> None:
        run = self._active(run_id)
        for param in params:
            assert run["params"].setdefault(param.key, param.value) == param.value
        for each in metrics:
            run["metrics"].add((each.key, each.value, each.step, each.timestamp))
            if each.model_id is not None:
                self.models[each.model_id]["metrics"].add((each.key, each.value, each.step))
        run["tags"].update({tag.key: tag.value for tag in tags})

    def _log_inputs(self, run_id: str, datasets: Any) -> None:
        digests = [each.dataset.digest for each in datasets]
        self._active(run_id)["inputs"] = digests

    def _create_logged_model(self, experiment_id: str, *, source_run_id: str, **fields: Any) -> Any:
        self._active(source_run_id)
        model_id = f"model{next(self._ids)}"
        self.models[model_id] = {
            **fields, "run": source_run_id, "files": {}, "metrics": set(), "status": "PENDING"
        }  # fmt: skip
        return self._model(model_id)

    def _log_model_artifacts(self, model_id: str, folder: str) -> None:
        self.models[model_id]["files"] |= _files(folder)

    def _log_outputs(self, run_id: str, models: Any) -> None:
        outputs = self._active(run_id)["outputs"]
        for each in models:
            if each.model_id in [known for known, _ in outputs]:
                raise MlflowException("UNIQUE constraint failed: inputs.source_type")
            outputs.append((each.model_id, each.step))

    def _finalize_logged_model(self, model_id: str, status: str) -> None:
        self.models[model_id]["status"] = status

    def _log_artifacts(self, run_id: str, folder: str) -> None:
        self._active(run_id)["files"] |= _files(folder)

    def _set_terminated(self, run_id: str, *, status: str, end_time: int) -> None:
        self._active(run_id).update(status=status, end=end_time)

    def _search_runs(self, _experiments: Any, wanted: str, *, max_results: int) -> list[Any]:
        parts = re.fullmatch(
            r"tags\.kind = 'trial' AND tags\.sweep = '(.*)' AND tags\.point = '(.*)' AND "
            r"attributes\.start_time = (\d+)",
            wanted,
        )
        assert parts is not None, wanted
        sweep, point, start = parts.groups()
        found = [
            run_id
            for run_id, run in self.runs.items()
            if run["lifecycle"] == "active"
            and (run["tags"]["sweep"], run["tags"]["point"]) == (sweep, point)
            and run["start"] == int(start)
        ]
        return [SimpleNamespace(info=SimpleNamespace(run_id=run_id)) for run_id in found]

    def _search_logged_models(
        self, _experiments: Any, *, filter_string: str, max_results: int
    ) -> list[Any]:
        return [
            self._model(model_id)
            for model_id, model in self.models.items()
            if filter_string == f"source_run_id = '{model['run']}'"
        ]

    def _get_run(self, run_id: str) -> Any:
        if run_id not in self.runs:
            raise MlflowException(f"Run {run_id} not found", RESOURCE_DOES_NOT_EXIST)
        run = self.runs[run_id]
        outputs = [SimpleNamespace(model_id=model_id) for model_id, _ in run["outputs"]]
        return SimpleNamespace(
            info=SimpleNamespace(lifecycle_stage=run["lifecycle"]),
            outputs=SimpleNamespace(model_outputs=outputs),
        )

    @staticmethod
    def _model(model_id: str) -> Any:
        return SimpleNamespace(model_id=model_id, artifact_location="mlflow-artifacts:/m")


def _files(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }
