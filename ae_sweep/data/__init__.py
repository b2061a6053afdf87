"""Images by name: found or fetched, verified, split. The only part that downloads.

``load`` returns the arrays, ``fetch`` the verified files, ``names`` the known data sets.
"""

from __future__ import annotations

from ae_sweep.data.dataset import ImageDataset, fetch, load, names
from ae_sweep.data.locate import Located, LocatedFile

__all__ = ["ImageDataset", "Located", "LocatedFile", "fetch", "load", "names"]
