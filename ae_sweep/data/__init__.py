"""Images: named data sets, found or fetched, verified, split; and own images of any form.

``load`` returns the arrays, ``fetch`` the verified files, ``names`` the known data sets. The only
part that downloads, and the only one that opens a user's pictures.
"""

from __future__ import annotations

from ae_sweep.data.cached import check_cached
from ae_sweep.data.dataset import check_no_data_dir, fetch, load, names
from ae_sweep.data.exact import exact_images, write_picture
from ae_sweep.data.image_dataset import ImageDataset
from ae_sweep.data.locate import Located, LocatedFile
from ae_sweep.data.own import (
    ImageFacts,
    Prepared,
    findings,
    forget,
    from_memory,
    is_path,
    prepare,
    recall,
    remember,
)

__all__ = [
    "ImageDataset",
    "ImageFacts",
    "Located",
    "LocatedFile",
    "Prepared",
    "check_cached",
    "check_no_data_dir",
    "exact_images",
    "fetch",
    "findings",
    "forget",
    "from_memory",
    "is_path",
    "load",
    "names",
    "prepare",
    "recall",
    "remember",
    "write_picture",
]
