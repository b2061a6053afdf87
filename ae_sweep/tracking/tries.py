"""Earlier tries of a point: MLflow shows one run per point, the latest try.

A try that did not finish is moved to MLflow's deleted runs once the next one has begun, which names
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from ae_sweep.tracking.entries import StartRun


class _Try(NamedTuple):
    run: str
    """MLflow's id, or the word of a run of this process, which may wait to be created."""
    number: int
    failure: str | None


class Tries:
    """The runs of a sweep that did not finish."""

    def __init__(self) -> None:
        self._runs: dict[str, list[_Try]] = {}

    def add(self, run: Run) -> None:
        """Note a try, the earlier ones first."""
        self._note(str(run.info.run_id), run.data.tags, run.data.tags.get(names.FAILURE))

    def add_failed(self, start: StartRun, *, failure: str) -> None:
        """Note a try of this process, which has failed."""
        self._note(start.run, start.tags, failure)

    def _note(self, run: str, tags: Mapping[str, str], failure: str | None) -> None:
        number = tags.get(names.TRY, "1")
        self._runs.setdefault(tags.get(names.POINT, ""), []).append(
            _Try(run=run, number=int(number) if number.isdecimal() else 1, failure=failure)
        )

    def tags(self, point: str) -> dict[str, str]:
        """Return the tags of a new try of a point, by its key; none of the first try."""
        earlier = self._runs.get(point)
        if not earlier:
            return {}
        last = earlier[-1]
        return {
            names.TRY: str(last.number + 1),
            names.EARLIER_TRY: last.run,
            **({names.EARLIER_FAILURE: last.failure} if last.failure else {}),
        }

    def pop(self, point: str) -> tuple[str, ...]:
        """Return the runs of the earlier tries of a point, which a new one is to replace."""
        return tuple(each.run for each in self._runs.pop(point, []))
