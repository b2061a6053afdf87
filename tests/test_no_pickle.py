"""Nothing is pickled into a file or unpickled from one: by the source, and by planted files."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from conftest import ROOT

from ae_sweep import models
from ae_sweep.codec import storage as codec_storage
from ae_sweep.data.own import cache
from ae_sweep.errors import DataError
from ae_sweep.inspection import reference_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Modules that run what they read."""
CALLS = {
    "torch.load", "torch.save", "torch.jit.load", "torch.package", "mlflow.pytorch",
    "mlflow.sklearn", "mlflow.pyfunc.load_model", "pandas.read_pickle", "pd.read_pickle",
    "yaml.load", "yaml.unsafe_load", "np.lib.format.open_memmap",
}  # fmt: skip
"""Functions that do, or that may, by the name that a source gives them."""
BUILTINS = {"eval", "exec", "compile", "__import__"}
ARRAY_READERS = {"load", "save", "savez", "savez_compressed", "read_array", "write_array"}
"""Functions of numpy that take ``allow_pickle``."""
SOURCES = sorted([*(ROOT / "ae_sweep").rglob("*.py"), ROOT / "cli.py"])


def _name(node: ast.AST) -> str:
    """Return the dotted name of an expression; empty if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _name(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return []


def _allows_pickle(call: ast.Call, name: str) -> bool:
    given = {each.arg: each.value for each in call.keywords}
    if "allow_pickle" in given:
        value = given["allow_pickle"]
        return not (isinstance(value, ast.Constant) and value.value is False)
    # numpy itself does not read pickles unless it is asked to, and writes them unasked.
    owner, _, function = name.rpartition(".")
    return (
        owner in ("np", "numpy", "np.lib.format")
        and function.startswith(("save", "write_array"))
        and not function.startswith("write_array_header")
    )


def findings(source: str) -> Iterator[str]:
    """Yield what a source could unpickle or run."""
    for node in ast.walk(ast.parse(source)):
        for module in _imported(node):
            if module.partition(".")[0] in MODULES or module in CALLS:
                yield f"imports {module}"
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func)
        given = {each.arg for each in node.keywords}
        owner, _, method = name.rpartition(".")
        if name in CALLS | BUILTINS or owner in MODULES or method in ("to_pickle", "read_pickle"):
            yield f"calls {name}"
        elif _allows_pickle(node, name):
            yield f"calls {name} without allow_pickle=False"
        elif "weights_only" in given or "pickle_module" in given:
            yield f"calls {name} with a setting of pickles"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_reads_or_writes_pickles_or_runs_texts(file: Path) -> None:
    assert list(findings(file.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=wanted)",
        "import numpy as np\nnp.save(path, array)",
        "import joblib.numpy_pickle",
        "frame.to_pickle(path)",
        "exec(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_each_way_to_unpickle_is_found(source: str) -> None:
    assert list(findings(source))


@pytest.mark.parametrize(
    "source",
    ["np.load(path, allow_pickle=False)", "np.save(path, array, allow_pickle=False)", "load(path)"],
)
def test_what_is_safe_is_not_found(source: str) -> None:
    assert list(findings(source)) == []


class Attack:
    """Makes a directory where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self._canary),)


def attacks(canary: Path) -> dict[str, bytes]:
    """Return files that run a command where they are unpickled, by their kind."""
    pickled = pickle.dumps(Attack(canary))
    objects = np.array([Attack(canary)], dtype=object)
    npy, npz, saved, zipped = (io.BytesIO() for _ in range(4))
    np.save(npy, objects, allow_pickle=True)
    np.savez(npz, allow_pickle=True, images=objects)
    torch.save({"weights": Attack(canary)}, saved)
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
    return {
        "pickle": pickled, "npy": npy.getvalue(), "npz": npz.getvalue(),
        "torch": saved.getvalue(), "torch zip": zipped.getvalue(),
    }  # fmt: skip


KINDS = ("pickle", "npy", "npz", "torch", "torch zip")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_a_models_place_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(attacks(tmp_path / "canary")[kind])
    with pytest.raises(DataError, match=r"model\.safetensors holds no model of ae-sweep"):
        models.load(file)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_a_codecs_place_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="the codec is"):
        codec_storage.from_bytes(attacks(tmp_path / "canary")[kind])
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_the_cache_is_passed_over_and_not_run(tmp_path: Path, kind: str) -> None:
    content = attacks(tmp_path / "canary")[kind]
    prepared = tmp_path / "images" / "key"
    prepared.mkdir(parents=True)
    for name in ("manifest.json", "train.npy", "references.json"):
        (prepared / name).write_bytes(content)
    assert cache.open_prepared(prepared) is None
    with pytest.raises((ValueError, OSError)):
        cache._map(prepared / "train.npy", [0, 0])
    assert reference_cache.recall(prepared / "references.json", {}) is None
    assert not (tmp_path / "canary").exists()


def test_the_planted_files_would_run_where_they_are_unpickled(tmp_path: Path) -> None:
    for number, kind in enumerate(KINDS):
        canary = tmp_path / str(number)
        content = attacks(canary)[kind]
        if kind in ("npy", "npz"):
            found = np.load(io.BytesIO(content), allow_pickle=True)
            if kind == "npz":
                found["images"]
        elif kind == "pickle":
            pickle.loads(content)
        elif kind == "torch":
            torch.load(io.BytesIO(content), weights_only=False)
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                pickle.loads(archive.read("archive/data.pkl"))
        assert canary.is_dir(), kind
