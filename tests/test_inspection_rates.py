"""The rate of every model is measured once and kept with its run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import coded_sweeps
import numpy as np
import pytest
import shared
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils as mlflow_utils

import ae_sweep
from ae_sweep import inspection
from ae_sweep.analysis import CurveKind
from ae_sweep.codec import ans, storage
from ae_sweep.errors import DataError, StoreError
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
def store() -> Path:
    """A store with the rates of all its sweeps, for reading only."""
    return coded_sweeps.measured()


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
    left = list((store.parent / "cache").rglob("*.safetensors"))
    assert not left, "what MLflow keeps is not kept twice"


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
    document: Any = json.loads(good)
    changes: tuple[dict[str, Any], ...] = (
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
    )  # fmt: skip
    damaged = [
        b"", b"[]", b"{", good[:-20], b"[" * 100_000,
        *(json.dumps({**document, **change}).encode() for change in changes),
    ]  # fmt: skip
    assert [kept_rates.parse(each) for each in damaged] == [None] * len(damaged)
    unmeasured.runs.add_to_run(run_id, files={names.CODED_DOCUMENT: damaged[3]})
    again = inspection.measured_rates(unmeasured)
    assert [model.fresh for model in again.models] == [True]
    inspection.log(unmeasured, again)
    after = client.get_metric_history(run_id, "coded/bits")
    assert len(after) == len(before), "a curve takes the place of the earlier one"


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
