"""A request for a small sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ae_sweep.locations import open_at
from ae_sweep.runner.request import SweepRequest, make_request

if TYPE_CHECKING:
    from pathlib import Path


def request(tmp_path: Path, **options: Any) -> SweepRequest:
    return make_request(
        "own",
        {"dataset": "shapes", "dims": "2"},
        store=open_at(tmp_path / "store"),
        now=time.localtime(),
        announce=lambda _line: None,
        **options,
    )
