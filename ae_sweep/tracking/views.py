"""Views of MLflow's table of runs: filter, columns and charts, stored as tags of the experiment.

MLflow 3.17 lists them under "Views" and opens one by its key in the address. The format is not
documented; docs/LOG.md (26 November 2026) says how it was found. Older versions ignore the tags.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Mapping

TAG_PREFIX = "mlflow.sharedViewState."
SECTION = "frontier"
"""MLflow's name of the section of charts whose metrics begin with ``frontier/``."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A stored view of the table of runs."""

    key: str
    """Part of its address; a view whose content changes gets a new one."""
    name: str
    """Its name in the UI."""
    filter_string: str
    order_by: str
    columns: tuple[str, ...]
    """In their order from the left."""
    charts: tuple[dict[str, Any], ...] = ()
    """Cards of metrics over step."""

    def tag(self) -> tuple[str, str]:
        """Return the tag of the experiment that stores the view."""
        state: dict[str, Any] = {
            "searchFilter": self.filter_string,
            "orderByKey": self.order_by,
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": list(self.columns),
            "columnOrder": list(self.columns),
        }
        if self.charts:
            state["compareRunCharts"] = list(self.charts)
            state["compareRunSections"] = [
                {
                    "uuid": SECTION,
                    "name": SECTION,
                    "display": True,
                    "isReordered": False,
                    "deleted": False,
                    "isGenerated": True,
                }
            ]
        stored = {"name": self.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
        return TAG_PREFIX + self.key, json.dumps(stored)


def _chart(metric: str, *, log_y: bool) -> dict[str, Any]:
    """Return the card of a metric over latent_dim, which doubles from point to point."""
    return {
        "type": "LINE",
        "uuid": f"ae-sweep-{metric}",
        "metricSectionId": SECTION,
        "metricKey": names.CURVE_METRICS + metric,
        "displayName": metric,
        "xAxisKey": "step",
        "xAxisScaleType": "log",
        "scaleType": "log" if log_y else "linear",
        "isGenerated": True,  # takes the place of the card that MLflow makes for the metric
        "deleted": False,
        "runsCountToCompare": 10,
        "lineSmoothness": 0,
        "selectedXAxisMetricKey": "",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


CURVES = View(
    key="ae-sweep-curves",
    name="Curves of all sweeps",
    filter_string=names.sweeps_filter(),
    order_by="attributes.start_time",
    columns=(
        "params.`model`",
        "params.`dims`",
        "params.`dataset`",
        "params.`trials`",
        "tags.`outcome`",
    ),
    charts=(_chart("test_mse", log_y=True), _chart("test_psnr", log_y=False)),
)
TRIALS = View(
    key="ae-sweep-trials",
    name="Trials of all sweeps",
    filter_string=names.trials_filter(),
    # Ordered by time, the table would fold the trials under their sweeps.
    order_by="tags.`sweep`",
    columns=(
        "tags.`sweep`",
        "params.`latent_dim`",
        "metrics.`test_mse`",
        "metrics.`test_psnr`",
        "params.`lr`",
        "params.`epochs`",
        "metrics.`val_mse`",
        "tags.`outcome`",
        "params.`model`",
    ),
)


VIEWS = (TRIALS, CURVES)


def stored_views(tags: Mapping[str, str]) -> list[View]:
    """Return the views that an experiment with these tags has."""
    return [view for view in VIEWS if TAG_PREFIX + view.key in tags]


def missing_views(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of the views that an experiment lacks; what a user changed there stays."""
    wanted = dict(view.tag() for view in VIEWS)
    return {key: value for key, value in wanted.items() if key not in tags}
