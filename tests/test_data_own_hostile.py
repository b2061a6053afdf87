"""Folders that are damaged or hostile: named, left out up to 1 %, or refused at once."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest
from own_sources import images, load, prepare, write_pictures
from picture_files import SIGNATURE, header
from PIL import Image

from ae_sweep.data import idx
from ae_sweep.data.decode import Picture, read_picture
from ae_sweep.data.own import reading
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from ae_sweep.config import ImageOptions

COUNT = 120
"""Pictures in the folder."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "set", images(COUNT))
    return tmp_path / "set"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_up_to_one_percent_of_broken_pictures_are_left_out_and_named(
    folder: Path, cache: Path
) -> None:
    write_pictures(folder, images(300 - COUNT, seed=1), prefix="further")
    for number in range(3):
        (folder / f"broken{number}.png").write_bytes(b"text")
    said: list[str] = []
    facts = prepare(folder, cache, said).facts
    assert sum(facts.counts.values()) == 300
    assert [name for name, _ in facts.broken] == ["broken0.png", "broken1.png", "broken2.png"]
    assert "3 broken pictures left out:" in said
    (folder / "broken3.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"4 of 304 pictures .* cannot be read"):
        load(folder, cache)


def test_strict_refuses_a_broken_picture_even_if_the_cache_has_the_others(
    folder: Path, cache: Path
) -> None:
    content = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(content[: len(content) // 2])
    for _ in range(2):
        with pytest.raises(DataError, match=r"cut\.png .*--strict"):
            load(folder, cache, strict=True)
        load(folder, cache)


def test_a_folder_of_which_nothing_can_be_read_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="none of the 1 pictures can be read"):
        load(tmp_path / "set", cache)


def test_a_picture_that_claims_a_giant_size_is_refused_and_not_left_out(
    folder: Path, cache: Path
) -> None:
    (folder / "giant.png").write_bytes(SIGNATURE + header(100_000, 100_000))
    with pytest.raises(DataError, match=r"giant\.png claims 100,000×100,000 pixels"):
        load(folder, cache)


def test_hidden_files_are_skipped_and_others_are_counted(folder: Path, cache: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / ".folder").mkdir()
    write_pictures(folder / "__MACOSX", images(3))
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "notes.TXT").write_text("x")
    (folder / "README").write_text("x")
    facts = prepare(folder, cache).facts
    assert sum(facts.counts.values()) == COUNT
    assert dict(facts.others) == {"__MACOSX": 1, ".db": 1, ".txt": 1, "without ending": 1}


def test_an_empty_folder_among_classes_is_reported(tmp_path: Path, cache: Path) -> None:
    for name in ("cats", "dogs"):
        write_pictures(tmp_path / "set" / name, images(60, seed=len(name)))
    write_pictures(tmp_path / "set" / "dogs", images(60, seed=9), prefix="other")
    (tmp_path / "set" / "birds").mkdir()
    said: list[str] = []
    assert prepare(tmp_path / "set", cache, said).class_names == ("cats", "dogs")
    assert "1 folder without pictures: birds" in said


def test_every_other_file_is_in_the_line_that_counts_them(folder: Path, cache: Path) -> None:
    for number in range(30):
        (folder / f"file.x{number}").touch()
    (folder / "circle").symlink_to(".")
    (folder / "file.txt").touch()
    (folder / "more.txt").touch()
    said: list[str] = []
    facts = prepare(folder, cache, said).facts
    assert sum(count for _, count in facts.others) == 33
    assert (
        "33 other files skipped: 2 .txt, 1 linked folder, 1 .x0, 1 .x1, 1 .x10, 27 of other endings"
        in said
    )
    for number in range(30):
        (folder / f"file.x{number}").unlink()
    assert prepare(folder, cache, said, colour="rgb").facts.others[1] == ("linked folder", 1)
    assert "3 other files skipped: 2 .txt, 1 linked folder" in said


def test_a_broken_picture_is_named_by_its_path_when_it_is_known_from_before(
    folder: Path, cache: Path
) -> None:
    (folder / "bad.png").touch()
    prepare(folder, cache)
    with pytest.raises(DataError) as refused:
        prepare(folder, cache, strict=True)
    assert str(refused.value).startswith(f"{folder}/bad.png is empty; mend or remove it")


def test_an_empty_folder_of_a_given_split_is_refused(tmp_path: Path, cache: Path) -> None:
    write_pictures(tmp_path / "set" / "train", images(60))
    (tmp_path / "set" / "test" / "cats").mkdir(parents=True)
    with pytest.raises(ConfigError, match="has a folder test of a split, which holds no pictures"):
        load(tmp_path / "set", cache)


def test_a_link_that_leads_out_of_the_folder_is_refused(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    outside = write_pictures(tmp_path / "outside", images(1))[0]
    link = folder / "link.png"
    for target in (outside, tmp_path / "outside"):
        link.symlink_to(target)
        with pytest.raises(DataError, match="is a link that leads out of the folder"):
            load(folder, cache)
        link.unlink()


def test_a_link_to_a_file_inside_is_a_picture_and_one_to_nothing_is_refused(
    folder: Path, cache: Path
) -> None:
    (folder / "link.png").symlink_to("0.png")
    assert prepare(folder, cache).facts.duplicates == 1
    (folder / "dangling.png").symlink_to("nothing.png")
    with pytest.raises(DataError, match="does not exist"):
        load(folder, cache)


def test_links_to_folders_are_not_followed_so_that_none_leads_in_a_circle(
    folder: Path, cache: Path
) -> None:
    (folder / "circle").symlink_to(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    facts = prepare(folder, cache).facts
    assert sum(facts.counts.values()) == COUNT
    assert dict(facts.others) == {"linked folder": 2}


def test_a_link_to_the_folder_itself_may_name_it(folder: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "name").symlink_to(folder)
    assert load(tmp_path / "name", cache).card.digest == load(folder, cache).card.digest


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.png", "pipe", "train-images-idx3-ubyte"])
def test_a_pipe_is_refused_and_never_opened(name: str, folder: Path, cache: Path) -> None:
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=r"is a pipe|is not a file"):
        load(folder, cache)


@pytest.mark.timeout(60)
def test_a_socket_is_refused(folder: Path, cache: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        with pytest.raises(DataError, match="a socket"):
            load(folder, cache)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe.npz", "pipe.npy"])
def test_a_pipe_in_place_of_arrays_is_refused(name: str, cache: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError):
        load(tmp_path / name, cache)


def test_odd_names_of_files_are_read_and_printed_on_one_line(folder: Path, cache: Path) -> None:
    pixels = images(3, seed=5)
    for name, picture in zip(
        ("two\nlines.png", "caf\udce9.png", "ü 日本.png"), pixels, strict=True
    ):
        Image.fromarray(picture).save(folder / name)
    (folder / "broken\n\udce9.png").write_bytes(b"")
    facts = prepare(folder, cache).facts
    assert sum(facts.counts.values()) == COUNT + 3
    assert facts.broken[0][0] == "broken \\udce9.png"


def test_warnings_of_pillow_end_nothing(folder: Path, cache: Path, recwarn) -> None:
    for number in range(50):
        image = Image.new("P", (4, 4), number)
        image.putpalette([*range(256)] * 3)
        image.save(folder / f"palette{number}.png", transparency=bytes([255] * 256))
    load(folder, cache, background="white")
    assert [str(each.message) for each in recwarn] == []


def test_animated_pictures_and_16_bits_are_said_once(folder: Path, cache: Path) -> None:
    frames = [Image.fromarray(x) for x in images(3, seed=3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("I;16", (4, 4), 257 * 100).save(folder / "deep.png")
    said: list[str] = []
    prepare(folder, cache, said)
    assert sum("16 bits" in line for line in said) == 1
    assert sum("only the first frame" in line for line in said) == 1


def test_arrays_of_different_shapes_are_refused_with_a_way_out(cache: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=images(100), x_test=images(100, side=6))
    with pytest.raises(ConfigError, match=r"4×4×1, 6×6×1; give --image-size 4,"):
        load(tmp_path / "x.npz", cache)
    assert load(tmp_path / "x.npz", cache, image_size=(4, 4)).card.test_images == 100


@pytest.mark.timeout(60)
def test_more_images_than_a_set_may_have_are_refused_before_anything_is_allocated(
    cache: Path, tmp_path: Path
) -> None:
    count = 10**10
    with (tmp_path / "sparse.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, 1, 1)}
        )
        file.truncate(file.tell() + count)
    with pytest.raises(DataError, match=r"claims 10,000,000,000 images.* at most 20,000,000"):
        load(tmp_path / "sparse.npy", cache)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 2**16, 2**14), "claims images of 65,536×16,384 bytes, more than 134,217,728 each"),
        ((2**28, 1, 1), "claims 268,435,456 images"),
    ],
)
def test_idx_files_of_too_large_or_too_many_images_are_refused(
    shape: tuple[int, ...], reason: str, cache: Path, tmp_path: Path
) -> None:
    with (tmp_path / "train-images-idx3-ubyte").open("wb") as file:
        file.write(idx.header(shape))
        file.truncate(idx.size(shape))
    with pytest.raises(DataError, match=reason):
        load(tmp_path, cache)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), r"7\.png cannot be read \(Permission denied\)"),
        (MemoryError(), r"7\.png cannot be read \(there is not enough memory\)"),
    ],
)
def test_a_picture_that_cannot_be_read_now_is_not_left_out(
    error: Exception, reason: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: bytes, options: ImageOptions) -> Picture:
        if path.endswith(b"/7.png"):
            raise error
        return read_picture(path, options)

    monkeypatch.setattr("ae_sweep.data.own.reading.read_picture", read)
    with pytest.raises(DataError, match=reason):
        load(folder, cache)
    assert list((cache / "images").iterdir()) == []


@pytest.mark.parametrize(
    ("cores", "memory", "threads"),
    [(4, 64e9, 4), (64, 64e9, 16), (8, 2e9, 4), (8, 1e8, 1)],
)
def test_no_more_pictures_are_decoded_at_once_than_cores_and_memory_allow(
    cores: int, memory: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "usable_cores", lambda: cores)
    monkeypatch.setattr(reading, "usable_memory_bytes", lambda: int(memory))
    assert reading._threads() == threads


def test_a_lack_of_memory_is_said_and_nothing_is_stored(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("ae_sweep.data.own.preparation.store", fail)
    with pytest.raises(DataError, match=r"not enough memory to prepare .*9 TiB"):
        load(folder, cache)
    assert list((cache / "images").iterdir()) == []
