"""Own images: folders of pictures, files of arrays and arrays in memory become a data set.

``load`` returns the arrays, ``prepare`` what is in the cache, with facts about the images.
"""

from __future__ import annotations

from ae_sweep.data.own.cache import Prepared, forget, recall, remember
from ae_sweep.data.own.facts import ImageFacts
from ae_sweep.data.own.loading import load
from ae_sweep.data.own.memory import from_memory
from ae_sweep.data.own.preparation import findings, prepare
from ae_sweep.data.own.sources import is_path

__all__ = [
    "ImageFacts",
    "Prepared",
    "findings",
    "forget",
    "from_memory",
    "is_path",
    "load",
    "prepare",
    "recall",
    "remember",
]
