"""The rate of every model is measured once, kept with its run, and what files are coded by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import struct
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import coded_sweeps
import numpy as np
import pytest
import shared
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils as mlflow_utils
from PIL import Image

import ae_sweep
from ae_sweep import inspection
from ae_sweep.analysis import CurveKind
from ae_sweep.codec import ans, codec_file, storage
from ae_sweep.errors import ConfigError, DataError, StoreError
from ae_sweep.inspection import agreement, kept_rates, rates
from ae_sweep.inspection.run_codecs import open_codec
from ae_sweep.tracking import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ae_sweep.api import Sweep

pytestmark = pytest.mark.slow

KINDS = tuple(name for name in coded_sweeps.SWEEPS if name != "seeds")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the trained store, and measure and log the rates of all sweeps in it."""
    root = tmp_path_factory.mktemp("coded")
    copied = shared.copy_store(coded_sweeps.trained(), root / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        for name in coded_sweeps.SWEEPS:
            sweep = ae_sweep.load_sweep(name, store=copied)
            inspection.log(sweep, inspection.measured_rates(sweep))
        left = list((root / "cache").rglob("*.safetensors"))
    assert not left, "what MLflow keeps is not kept twice"
    return copied


@pytest.fixture
def unmeasured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Return a sweep of one model without rates, with a user cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # MLflow remembers where the files of a run are, and copies of a store have the same runs.
    monkeypatch.setattr(mlflow_utils, "_artifact_repos_cache", OrderedDict())
    copied = shared.copy_store(coded_sweeps.trained(), tmp_path / "store")
    return ae_sweep.load_sweep("mlp", store=copied)


def measured(store: Path, kind: str) -> inspection.MeasuredRates:
    return inspection.measured_rates(ae_sweep.load_sweep(kind, store=store))


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("it was measured again")

    monkeypatch.setattr(rates, "code_model", forbidden)


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_has_a_coded_curve_of_all_steps_and_entropy_models(
    store: Path, kind: str
) -> None:
    found = measured(store, kind)
    for model in found.models:
        coded = model.coded
        assert coded is not None
        assert coded.kind is CurveKind.CODED
        assert coded.images == 400
        assert (coded.header_bytes, coded.image_shape) == (45, (1, 28, 28))
        assert coded.decoder_bytes > 100_000
        bits = [point.bits for point in coded.points]
        assert bits == sorted(bits)
        assert sorted(point.index for point in coded.points) == list(range(len(bits)))
        assert {point.run_id for point in coded.points} == {model.trial.run_id}
        for point in coded.points:
            assert None not in (point.val_bits, point.val_mse)
            assert point.psnr == pytest.approx(-10 * math.log10(point.mse))
            assert point.mean_image_psnr > point.psnr, "a mean of logarithms"
            assert point.table_bytes > 0
        if kind not in ("vqvae", "fsq"):
            assert len(bits) >= 24
            steps = {point.setting.split(",")[0] for point in coded.points}
            assert len(steps) >= 12
            assert {point.setting.split(", ")[1] for point in coded.points} >= {"factorised"}


def test_the_finest_step_costs_next_to_nothing(store: Path) -> None:
    for kind in ("conv", "mlp", "vae"):
        for model in measured(store, kind).models:
            finest = min(model.coded.points, key=lambda point: point.mse)
            assert finest.mse <= 1.03 * model.trial.test_mse


def test_the_code_of_tokens_is_as_good_as_the_tokens(store: Path) -> None:
    for kind in ("vqvae", "fsq"):
        (model,) = measured(store, kind).models
        (point,) = model.coded.points
        assert point.mse == pytest.approx(model.trial.test_mse, rel=1e-3)
        # By tables of training images, and with the stream's last word.
        assert point.bits >= model.trial.rate["entropy_bits"]
        assert point.bits <= model.trial.rate["bits"] + 0.2


def test_each_seed_of_a_point_has_a_curve_of_its_own(store: Path) -> None:
    found = measured(store, "seeds")
    points = ae_sweep.load_sweep("seeds", store=store).points()
    assert [curve.name for curve in found.curves] == [
        "seeds, d=2, seed 0", "seeds, d=2, seed 1", "seeds, d=6, seed 0", "seeds, d=6, seed 1",
    ]  # fmt: skip
    assert [curve.seed for curve in found.curves] == [0, 1, 0, 1]
    run_ids = [run_id for point in points for run_id in point.seed_run_ids]
    assert [model.trial.run_id for model in found.models] == run_ids
    alone = inspection.measured_rates(
        ae_sweep.load_sweep("seeds", store=store), points[1:], repeats=False
    )
    assert [curve.name for curve in alone.curves] == ["seeds, d=6"]


def test_latents_that_a_model_rounds_are_coded_before_rounding_at_steps_around_its_own(
    store: Path,
) -> None:
    (model,) = measured(store, "ntc").models
    (curve,) = model.curves
    steps = {float(point.setting.split(",")[0].removeprefix("step ")) for point in curve.points}
    assert {4.0, 1.0, 0.0625} <= steps
    at_one = min(
        (point for point in curve.points if point.setting.startswith("step 1,")),
        key=lambda point: point.bits,
    )
    assert at_one.mse == pytest.approx(model.trial.test_mse, rel=0.03)
    assert min(point.mse for point in curve.points) < at_one.mse * 1.01


def test_means_and_drawn_codes_of_a_vae_are_two_curves(store: Path) -> None:
    (model,) = measured(store, "vae").models
    coded, bound = model.curves
    assert (coded.kind, bound.kind) == (CurveKind.CODED, CurveKind.BOUND)
    (point,) = bound.points
    assert point.bits == pytest.approx(model.trial.rate["bits"], rel=1e-4)
    assert point.mse == pytest.approx(model.trial.rate["mse"], rel=0.05)
    assert point.index is None
    assert bound.name == f"{coded.name}, drawn"


def test_a_measurement_is_kept_with_its_run(store: Path) -> None:
    sweep = ae_sweep.load_sweep("seeds", store=store)
    client = MlflowClient(tracking_uri=sweep.store.tracking_uri)
    for model in inspection.measured_rates(sweep).models:
        run = client.get_run(model.trial.run_id)
        content = sweep.runs.run_file(model.trial.run_id, names.CODEC_FILE)
        assert content is not None
        assert run.data.tags["codec"] == hashlib.sha256(content).hexdigest()[:32]
        with sweep.runs.model_file(model.trial.run_id) as file:
            assert (
                storage.from_bytes(content).model_sha256
                == hashlib.sha256(file.read_bytes()).hexdigest()
            )
        by_index = {point.index: point for point in model.coded.points}
        for measure in ("bits", "mse", "psnr", "val_bits", "val_mse"):
            history = client.get_metric_history(model.trial.run_id, f"coded/{measure}")
            assert {entry.step: entry.value for entry in history} == {
                index: getattr(point, measure) for index, point in by_index.items()
            }
        csv = sweep.runs.run_file(model.trial.run_id, names.CODED_CSV)
        assert csv.count(b"\n") == 1 + len(by_index)
        shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
        assert shown == [{"path": "coded_rates_table.json", "type": "table"}]
    assert sweep.trials == ae_sweep.load_sweep("seeds", store=coded_sweeps.trained()).trials


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_call_measures_nothing_and_returns_the_same(
    store: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured(store, kind)
    forbid_measuring(monkeypatch)
    second = measured(store, kind)
    assert second.curves == first.curves
    assert not any(model.fresh for model in second.models)
    assert second.run_findings() == {}


def test_rates_that_cannot_be_logged_are_cached_and_files_decode_by_them(
    unmeasured: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any]
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(unmeasured.store.root, copied)
    sweep = ae_sweep.load_sweep("mlp", store=copied)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = inspection.measured_rates(sweep)
    with pytest.raises(StoreError, match="was moved or copied"):
        inspection.log(sweep, first)
    forbid_measuring(monkeypatch)
    again = inspection.measured_rates(ae_sweep.load_sweep("mlp", store=copied))
    assert again.curves == first.curves
    np.save(tmp_path / "test.npy", sweep.dataset.test_NCHW[:, 0])
    done = cli("encode", "test.npy", "-o", "a.aes", "--sweep", "mlp", "--store", str(copied))
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert [line.startswith("not logged to MLflow: ") for line in lines] == [True, False]
    decoded = inspection.decode_file(tmp_path / "a.aes", store=copied)
    assert decoded.array().shape == sweep.dataset.test_NCHW.shape
    # The store that it was copied from has the same runs.
    inspection.decode_file(tmp_path / "a.aes", store=unmeasured.store.root)


def test_what_was_measured_by_another_method_or_is_damaged_is_measured_again(
    unmeasured: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = unmeasured.points()[0].run_id
    inspection.log(unmeasured, inspection.measured_rates(unmeasured))
    client = MlflowClient(tracking_uri=unmeasured.store.tracking_uri)
    before = client.get_metric_history(run_id, "coded/bits")
    good = unmeasured.runs.run_file(run_id, names.CODED_DOCUMENT)
    assert kept_rates.parse(good) is not None
    document = json.loads(good)
    damaged = [
        b"", b"[]", b"{", good[:-20], b"[" * 100_000,
        *(
            json.dumps({**document, **change}).encode()
            for change in (
                {"method": 0}, {"schema": "other"}, {"curves": [{}]}, {"curves": 3},
                {"curves": [{**document["curves"][0], "points": []}]},
                {"curves": [{**document["curves"][0], "kind": "perfect"}]},
                {"curves": [{**document["curves"][0],
                             "points": [{**document["curves"][0]["points"][0], "psnr": "x"}]}]},
                {"curves": [{**document["curves"][0],
                             "points": [{**document["curves"][0]["points"][0], "mse": -1}]}]},
                *({"curves": [{**document["curves"][0], **wrong}]} for wrong in (
                    {"images": None}, {"decoder_bytes": "x"}, {"name": 3},
                    {"image_shape": [1, 0, 9]},
                )),
            )
        ),
    ]  # fmt: skip
    assert [kept_rates.parse(each) for each in damaged] == [None] * len(damaged)
    unmeasured.runs.add_to_run(run_id, files={names.CODED_DOCUMENT: damaged[3]})
    again = inspection.measured_rates(unmeasured)
    assert [model.fresh for model in again.models] == [True]
    inspection.log(unmeasured, again)
    after = client.get_metric_history(run_id, "coded/bits")
    assert len(after) == len(before), "a curve takes the place of the earlier one"


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


def test_rates_and_a_codec_that_do_not_belong_together_are_refused(store: Path) -> None:
    sweep = ae_sweep.load_sweep("mlp", store=store)
    found = inspection.measured_rates(sweep)
    (model,) = found.models
    (curve,) = model.curves
    beyond = tuple(dataclasses.replace(each, index=1_000 + each.index) for each in curve.points)
    for other, message in (
        ({"kept": dataclasses.replace(model.kept, codec="0" * 32)}, "is another than its rates"),
        ({"curves": (dataclasses.replace(curve, points=beyond),)}, "codec does not have"),
    ):
        changed = dataclasses.replace(found, models=(dataclasses.replace(model, **other),))
        with pytest.raises((StoreError, DataError), match=message):
            inspection.choose_codec(sweep, changed)


def test_the_agreement_of_a_point_is_that_of_what_a_decoder_rebuilds(
    store: Path, tmp_path: Path
) -> None:
    sweep = ae_sweep.load_sweep("ntc", store=store)  # whose latents are quantised before rounding
    found = inspection.measured_rates(sweep)
    (model,) = found.models
    points = [min(model.coded.points, key=lambda point: point.mse), model.coded.points[0]]
    agreed = agreement.coded_agreements(sweep, found, points, cache=tmp_path)
    trained, codec, _ = open_codec(sweep, model)
    x_NCHW = sweep.dataset.test_NCHW
    classifier = agreement.classifier_of(sweep.dataset, cache=tmp_path)
    for point in points:
        payload = codec.encode(trained.codes(x_NCHW), point.index)
        codes_ND = codec.decode(payload, point.index, len(x_NCHW))
        rebuilt_NCHW = np.concatenate(list(trained.decode_to_bytes(codes_ND)))
        same = classifier.predict(rebuilt_NCHW) == classifier.predict(x_NCHW)
        assert agreed[model.trial.run_id, point.index] == same.mean()


@pytest.fixture(scope="module")
def coded(store: Path) -> bytes:
    sweep = ae_sweep.load_sweep("mlp", store=store)
    return inspection.encode_images(sweep, sweep.dataset.test_NCHW[:50]).content


def with_crc(content: bytes) -> bytes:
    return content[:-4] + struct.pack("<I", zlib.crc32(content[:-4]))


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return with_crc(content[:at] + new + content[at + len(new) :])


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda c: b"", "starts with other bytes"),
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


def test_without_a_coder_rates_are_estimated_and_measured_again_with_one(
    unmeasured: Sweep, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Any], tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ans, "is_available", lambda: False)
        first = inspection.measured_rates(unmeasured)
        (estimated,) = first.curves
        assert estimated.kind is CurveKind.ESTIMATED
        inspection.log(unmeasured, first)
        assert not inspection.measured_rates(unmeasured).models[0].fresh
        np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
        done = cli("encode", "x.npy", "-o", "a.aes", "--store", str(unmeasured.store.root))
        assert (done.code, "constriction" in done.err) == (3, True)
    (counted,) = inspection.measured_rates(unmeasured).curves
    assert counted.kind is CurveKind.CODED
    for one, other in zip(counted.points, estimated.points, strict=True):
        # A stream ends with a word of 32 bits, and one at its bottom.
        assert 0 <= one.bits - other.bits <= 96 / 400 + 0.001 * other.bits
        assert one.mse == other.mse
