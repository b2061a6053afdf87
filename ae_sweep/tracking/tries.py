"""Earlier tries of a point: MLflow shows one run per point, the latest try.

A try that did not finish is moved to MLflow's deleted runs once the next one has begun, which names
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ae_sweep.tracking import names

if TYPE_CHECKING:
    from mlflow.entities import Run


class _Try(NamedTuple):
    run_id: str
    number: int
    failure: str | None


class Tries:
    """The runs of a sweep that did not finish."""

    def __init__(self) -> None:
        self._runs: dict[str, list[_Try]] = {}

    def add(self, run: Run) -> None:
        """Note a try, the earlier ones first."""
        tags = run.data.tags
        number = tags.get(names.TRY, "1")
        self._runs.setdefault(tags.get(names.POINT, ""), []).append(
            _Try(
                run_id=str(run.info.run_id),
                number=int(number) if number.isdecimal() else 1,
                failure=tags.get(names.FAILURE),
            )
        )

    def tags(self, point: str) -> dict[str, str]:
        """Return the tags of a new try of a point, by its key; none of the first try."""
        earlier = self._runs.get(point)
        if not earlier:
            return {}
        last = earlier[-1]
        return {
            names.TRY: str(last.number + 1),
            names.EARLIER_TRY: last.run_id,
            **({names.EARLIER_FAILURE: last.failure} if last.failure else {}),
        }

    def pop(self, point: str) -> tuple[str, ...]:
        """Return the ids of the earlier tries of a point, which a new one is to replace."""
        return tuple(run.run_id for run in self._runs.pop(point, []))
