"""Images to a coded file and back: the command line and Python, and files that are refused."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import coded_sweeps
import numpy as np
import pytest
import shared
from PIL import Image

import ae_sweep
from ae_sweep import inspection
from ae_sweep.codec import codec_file
from ae_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.slow

KINDS = tuple(name for name in coded_sweeps.SWEEPS if name != "seeds")


@pytest.fixture(scope="module")
def store() -> Path:
    """A store with the rates of all its sweeps, for reading only."""
    return coded_sweeps.measured()


def pictures(folder: Path) -> np.ndarray:
    files = sorted(folder.iterdir())
    assert [file.name for file in files[:2]] == ["00001.png", "00002.png"]
    return np.stack([np.asarray(Image.open(file)) for file in files])


@pytest.mark.parametrize("kind", KINDS)
def test_encode_and_decode_give_the_reported_error_and_size(
    store: Path, kind: str, cli: Callable[..., Any], tmp_path: Path
) -> None:
    sweep = ae_sweep.load_sweep(kind, store=store)
    images = sweep.dataset.test_NCHW[:, 0]
    np.save(tmp_path / "test.npy", images)
    done = cli(
        "encode", "test.npy", "-o", "a.aes", "--sweep", kind, "--json", "--store", str(store)
    )
    assert done.code == 0, done.err
    report = json.loads(done.out)
    model = next(
        each
        for each in inspection.measured_rates(sweep).models
        if each.trial.run_id == report["run_id"]
    )
    point = next(each for each in model.coded.points if each.index == report["point"])
    file = codec_file.read(tmp_path / "a.aes")
    assert (tmp_path / "a.aes").stat().st_size == len(file.payload) + 45 == report["bytes"]
    assert 8 * len(file.payload) / 400 == pytest.approx(point.bits)
    assert report["mse"] == pytest.approx(point.mse, abs=1e-6)
    assert cli("decode", "a.aes", "-o", "out", "--store", str(store)).code == 0
    rebuilt = pictures(tmp_path / "out")
    mse = (np.square(rebuilt.astype(float) - images) / 255**2).mean()
    assert mse == pytest.approx(point.mse, abs=1e-6)
    told = json.loads(cli("inspect", "a.aes", "--json", "--store", str(store)).out)
    assert told["origin"]["run_id"] == report["run_id"]
    assert (told["images"], told["bits_per_image"]) == (400, pytest.approx(point.bits))


def test_pictures_of_a_folder_come_back_in_their_order(
    store: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    images = ae_sweep.load_sweep("seeds", store=store).dataset.test_NCHW[:7, 0]
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    words = ("--sweep", "seeds", "--dim", "6", "--psnr", "1", "--store", str(store))
    assert cli("encode", "in", "in/3.png", "-o", "a.aes", *words).code == 0
    decoded = inspection.decode_file(tmp_path / "a.aes", store=store)
    assert (decoded.images, decoded.origin.latent_dim) == (8, 6)
    array = decoded.array()
    assert np.array_equal(array[7], array[3])
    encoded = inspection.encode_images(
        ae_sweep.load_sweep("seeds", store=store),
        images[[0, 1, 2, 3, 4, 5, 6, 3]][:, None],
        latent_dim=6,
        psnr=1.0,
    )
    assert encoded.content == (tmp_path / "a.aes").read_bytes(), "Python and commands are equals"


def test_bits_and_quality_choose_model_and_point(store: Path) -> None:
    sweep = ae_sweep.load_sweep("seeds", store=store)
    found = inspection.measured_rates(sweep, repeats=False)
    points = [point for curve in found.curves for point in curve.points]
    limit = sorted(point.val_bits for point in points)[len(points) // 2]
    chosen = inspection.choose_codec(sweep, found, bits=limit)
    assert chosen.point.val_bits <= limit
    assert chosen.point.val_mse == min(point.val_mse for point in points if point.val_bits <= limit)
    assert chosen.trial.run_id == chosen.point.run_id
    with pytest.raises(ConfigError, match="the least is"):
        inspection.choose_codec(sweep, found, bits=1e-6)
    with pytest.raises(ConfigError, match="the best has"):
        inspection.choose_codec(sweep, found, psnr=90)


@pytest.fixture(scope="module")
def coded(store: Path) -> bytes:
    sweep = ae_sweep.load_sweep("mlp", store=store)
    return inspection.encode_images(sweep, sweep.dataset.test_NCHW[:50]).content


def with_crc(content: bytes) -> bytes:
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return with_crc(content[:at] + new + content[at + len(new) :])


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda c: b"", "too short for its header: 0 bytes of 41"),
    "foreign": (lambda c: b"\x89PNG" + c[4:], "starts with other bytes"),
    "newer": (lambda c: changed(c, 8, b"\2"), "of version 2"),
    "unknown flag": (lambda c: changed(c, 9, b"\1"), "flags"),
    "unknown model": (lambda c: changed(c, 10, b"\xab" * 16), "codec " + "ab" * 16),
    "point": (lambda c: changed(c, 26, b"\xff\x00"), "operating point 255"),
    "no image": (lambda c: changed(c, 28, bytes(4)), "0 images"),
    "too many": (lambda c: changed(c, 28, struct.pack("<I", 1_000_001)), "1,000,001 images"),
    "a million": (lambda c: changed(c, 28, struct.pack("<I", 1_000_000)), "ran dry"),
    "fewer": (lambda c: changed(c, 28, struct.pack("<I", 49)), "the coded stream"),
    "another shape": (lambda c: changed(c, 33, b"\x1d"), "29"),
    "short": (lambda c: c[:-1], "too short"),
    "long": (lambda c: c + b"\0", "too long"),
    "damaged": (lambda c: c[:50] + bytes([c[50] ^ 1]) + c[51:], "checksum"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_not_what_encode_wrote_is_refused_and_nothing_written(
    store: Path,
    coded: bytes,
    cli: Callable[..., Any],
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    reason: str,
) -> None:
    (tmp_path / "a.aes").write_bytes(change(coded))
    done = cli("decode", "a.aes", "-o", "out", "--store", str(store))
    assert done.code == 3, done
    assert reason in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_mutations_of_a_file_raise_nothing_but_data_errors(
    store: Path, coded: bytes, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        content = bytearray(coded)
        for at in generator.integers(0, len(content) - 4, 3):
            content[at] = generator.integers(256)
        (tmp_path / "a.aes").write_bytes(with_crc(bytes(content)))
        try:
            inspection.decode_file(tmp_path / "a.aes", store=store)
        except (DataError, ae_sweep.errors.NotStoredError):
            refused += 1
    assert refused > 40, "few mutations of a stream leave it valid"


def test_existing_output_is_kept_unless_forced(
    store: Path, coded: bytes, cli: Callable[..., Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    (tmp_path / "a.aes").write_bytes(coded)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    encode = ("encode", "x.npy", "-o", "a.aes", "--sweep", "mlp", "--store", str(store))
    decode = ("decode", "a.aes", "-o", "out", "--store", str(store))
    for words in (encode, decode):
        done = cli(*words)
        assert done.code == 4
        assert "--force" in done.err
    assert (tmp_path / "a.aes").read_bytes() == coded
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert cli(*encode, "--force").code == 0
    assert cli(*decode, "--force").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_model_that_was_exchanged_is_not_decoded_with(
    store: Path, coded: bytes, tmp_path: Path
) -> None:
    copied = shared.copy_store(store, tmp_path / "store")
    sweep = ae_sweep.load_sweep("mlp", store=copied)
    with sweep.runs.model_file(sweep.points()[0].run_id) as file:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    (tmp_path / "a.aes").write_bytes(coded)
    with pytest.raises(DataError, match="one of them was exchanged"):
        inspection.decode_file(tmp_path / "a.aes", store=copied)


def test_a_run_chooses_any_finished_trial(
    store: Path, cli: Callable[..., Any], tmp_path: Path
) -> None:
    run_id = ae_sweep.load_sweep("seeds", store=store).points()[0].seed_run_ids[1]
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    words = ("encode", "x.npy", "-o", "a.aes", "--store", str(store))
    done = cli(*words, "--run", run_id)
    assert done.code == 0, done.err
    told = inspection.inspect_file(tmp_path / "a.aes", store=store)
    assert (told.origin.sweep, told.origin.run_id) == ("seeds", run_id)
    assert cli(*words, "--force", "--run", "none").code == 3
    both = cli(*words, "--force", "--run", run_id, "--dim", "2")
    assert (both.code, "give one of them" in both.err) == (2, True)
