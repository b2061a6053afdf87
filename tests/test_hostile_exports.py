"""Exports that were changed, or made to do harm: refused before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import tracking_support as support
from export_support import small_export

import ae_sweep
from ae_sweep.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return small_export(tmp_path / "out")


def refused(match: str, directory: Path, tmp_path: Path) -> None:
    """Have an import refused before there is a store."""
    with pytest.raises(DataError, match=match):
        ae_sweep.import_sweep(directory, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_export_is_imported_as_it_is(exported: Path, tmp_path: Path) -> None:
    store = support.fresh_store(tmp_path)
    done = ae_sweep.import_sweep(exported, store=store.root)
    assert (done.trials, done.models, done.files) == (2, 1, 7)


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_any_changed_missing_or_added_file_is_refused_by_its_name(
    exported: Path, tmp_path: Path
) -> None:
    names = [path.relative_to(exported) for path in exported.rglob("*") if path.is_file()]
    names = [
        name for name in names if name.name != "manifest.json" and (exported / name).stat().st_size
    ]
    kinds = {name.suffix: name for name in names}
    for name in kinds.values():
        for number, spoil in enumerate((change_byte, _cut, _grow, os.unlink, _link, _pipe)):
            copy = tmp_path / f"copy-{number}{name.suffix}"
            shutil.copytree(exported, copy)
            spoil(copy / name)
            refused(str(copy / name), copy, tmp_path)
    copy = tmp_path / "more"
    shutil.copytree(exported, copy)
    (copy / "runs" / "more.txt").write_text("x")
    refused(r"more\.txt is not in manifest\.json; move it away", copy, tmp_path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def rewrite(exported: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a document and its line in the manifest, as whoever made it could."""
    path = exported / name
    content = json.dumps(change(json.loads(path.read_text()))).encode()
    path.write_bytes(content)
    manifest = json.loads((exported / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"][name] = {"size": len(content), "sha256": digest}
    (exported / "manifest.json").write_text(json.dumps(manifest))


def edited(**changes: Any) -> Callable[[Any], Any]:
    return lambda document: {**document, **changes}


def first(**changes: Any) -> Callable[[Any], Any]:
    return lambda documents: [{**documents[0], **changes}, *documents[1:]]


HOSTILE = {
    "of another version": ("manifest.json", edited(version=2), "of version '2'.*upgrade ae-sweep"),
    "of another program": ("manifest.json", edited(format="x"), "not the manifest of an export"),
    "not an object": ("manifest.json", lambda _: [], "not the manifest of an export"),
    "without files": ("manifest.json", edited(files=None), "no form of an export"),
    "a sweep with another field": ("sweep.json", edited(more=1), "has not the fields"),
    "a name of a path": ("sweep.json", edited(name="../x"), "give it one with --name"),
    "trials that are no list": ("trials.json", lambda _: {}, "it is not a list"),
    "a trial without a status": ("trials.json", first(status="RUNNING"), "status is not"),
    "an id that is a path": ("trials.json", first(run_id="../../etc"), "32 hexadecimal"),
    "two runs of one id": ("trials.json", lambda all_: [all_[0], *all_], "the same id"),
    "a time that is none": ("trials.json", first(start_ms=-1), "a whole number is missing"),
    "a time beyond all": ("trials.json", first(end_ms=2**63), "a whole number is missing"),
    "a tag that is no text": ("trials.json", first(tags={"a": 1}), "no text of at most"),
    "a very long tag": ("trials.json", first(tags={"a": "x" * 9_000}), "no text of at most"),
    "too many tags": ("trials.json", first(tags={str(i): "" for i in range(101)}), "at most 100"),
    "a metric of text": ("trials.json", first(metrics=[["a", 1, 1, "x"]]), "could not convert"),
    "a metric of three": ("trials.json", first(metrics=[["a", 1, 1]]), "key, step, time and value"),
    "no studies": ("studies.json", lambda _: 3, "it is not a list"),
    "a study of another sweep": ("studies.json", first(condition="x"), "form d=32"),
    "a study with another field": ("studies.json", first(more=1), "has not the fields"),
    "a study of numbers": ("studies.json", first(trials=[1]), "has not the fields"),
    "attributes of a list": ("studies.json", first(user_attributes=[]), "values by name"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_export_is_refused_and_nothing_written(
    exported: Path, tmp_path: Path, case: str
) -> None:
    name, change, message = HOSTILE[case]
    if name == "manifest.json":
        path = exported / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    else:
        rewrite(exported, name, change)
    refused(message, exported, tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a//b", "runs/./x", "a\\b", "C:/x", ""])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(
    exported: Path, tmp_path: Path, name: str
) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["files"][name] = {"size": 1, "sha256": "0" * 64}
    (exported / "manifest.json").write_text(json.dumps(manifest))
    refused("not the name of a file below it", exported, tmp_path)


def test_sizes_are_bounded(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ae_sweep.runner.verified_export"
    with monkeypatch.context() as limits:
        limits.setattr(f"{module}.MAX_MANIFEST_BYTES", 100)
        refused("more than the 100 bytes of any export", exported, tmp_path)
    with monkeypatch.context() as limits:
        limits.setattr(f"{module}.MAX_FILE_BYTES", 100)
        refused("more than the 100 of any file", exported, tmp_path)
    with monkeypatch.context() as limits:
        limits.setattr(f"{module}.MAX_DOCUMENT_BYTES", 100)
        refused("more than the 100 of any export", exported, tmp_path)
    (exported / "manifest.json").write_text("[" * 100_000)
    refused("is not JSON", exported, tmp_path)


def test_a_directory_without_a_manifest_is_no_export(tmp_path: Path) -> None:
    refused("has no manifest.json; name a directory", tmp_path / "none", tmp_path)
