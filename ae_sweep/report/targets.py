"""What is good enough in a report: the smallest latent dim and the smallest rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ae_sweep import inspection, tables
from ae_sweep.analysis.curve_statistics import CurveStatistics
from ae_sweep.report.page import Section, make_table
from ae_sweep.report.words import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ae_sweep.analysis import NotApplicable
    from ae_sweep.analysis.targets import Target
    from ae_sweep.api import Sweep

TEXT = (
    "The smallest code that reaches a target, among the measured points and by the law fitted to "
    "them. An accuracy is the agreement of a classifier with its own answer on the original."
)


def targets_section(
    opened: Sweep, targets: Sequence[Target], announce: Callable[[str], None]
) -> Section:
    """Answer what is good enough over latent dims, and over bits if rates were measured.

    Raises
    ------
    ConfigError
        If a target is an accuracy and the images have no classes.
    StoreError, NotStoredError, DataError
        If the sweep, or for an accuracy a model or the images, cannot be read.
    """
    over_dims = inspection.curve_statistics(opened, targets, announce=announce)
    measured = inspection.stored_rate_frontier(opened, targets=targets, announce=announce)
    over_bits = None if measured is None else measured.statistics[0]
    known = [each for each in (over_dims, over_bits) if isinstance(each, CurveStatistics)]
    command = opened.store.command("frontier", opened.name, "--rate", "bits")
    return Section(
        name="targets",
        title="What is good enough",
        text=[
            TEXT,
            *([] if isinstance(over_dims, CurveStatistics) else [sentence(over_dims.reason)]),
            *(
                [f"The smallest rate is not known: no rate was measured; `{command}` does that."]
                if over_bits is None
                else []
            ),
        ],
        findings=[
            *_in_words(over_dims, "Latent dimensions"),
            *([] if over_bits is None else _in_words(over_bits, "Bits per image")),
        ],
        tables=[make_table(tables.good_enough(known))] if known else [],
    )


def _in_words(found: CurveStatistics | NotApplicable, axis: str) -> list[str]:
    if not isinstance(found, CurveStatistics):
        return []
    return [f"{axis}: {line.rstrip('.')}." for line in found.targets_in_words]
