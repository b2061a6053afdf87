"""Commands on a stored sweep, for the description of its run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ae_sweep.locations import Store
    from ae_sweep.runner.request import SweepRequest


def stored_commands(request: SweepRequest) -> dict[str, str]:
    """Return commands on a sweep by their purpose, for whoever reads its run in MLflow.

    They name the store even where it is the default one: the reader may be in any directory.
    """
    return commands_on(
        request.config.name,
        request.store,
        data_dir=request.data_dir,
        resume=request.resume_arguments,
    )


def commands_on(
    name: str, store: Store, *, resume: Sequence[str], data_dir: Path | None = None
) -> dict[str, str]:
    """Return commands on a sweep of a store by their purpose.

    Parameters
    ----------
    resume
        The arguments that complete it, without ``--store``.
    """
    # A tracking server is named by the reader's own environment, which --store would overrule.
    option = () if store.tracking_override is not None else ("--store", str(store.root))
    data = () if data_dir is None else ("--data-dir", str(data_dir))
    return {
        purpose: shlex.join(["ae-sweep", *words, *option])
        for purpose, words in {
            "The curve as a figure": ("frontier", name),
            "Every trial": ("show", name),
            "Everything on one page": ("report", name, *data),
            "What the models make of test images": ("reconstruct", name, *data),
            "Complete it after an interruption, or train more": resume,
        }.items()
    }
