"""`frontier --rate bits` and `dimensions`: with made-up curves, and slowly on real small sweeps."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import coded_sweeps
import pytest
import shared
import tracking_support as support
from rate_fakes import REFERENCES, rate_point

import ae_sweep
from ae_sweep import inspection, tracking
from ae_sweep.analysis import CurveKind, RateCurve
from ae_sweep.inspection import rate_frontiers as wiring
from ae_sweep.inspection.rates import MeasuredModel, MeasuredRates
from ae_sweep.records import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = {"learned": 1.0, "other": 0.8}
"""Sweeps, and a factor on the bits of their codes."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two sweeps of one dim, whose models nobody loads."""
    root = support.fresh_store(tmp_path_factory.mktemp("rates")).root
    for name in NAMES:
        writer = tracking.open_for_writing(support.Store(root)).start_sweep(
            support.config(name, dims=(8,)), card=support.CARD, environment={}
        )
        trial = writer.start_trial(
            name="d=8", point=support.point(8), role=Role.SEARCH, parameters=support.PARAMETERS
        )
        support.finish(trial, val_mse=0.01, test_mse=0.01, test_psnr=20.0, compression_ratio=98.0)
        support.finish_sweep(writer)
    return root


def _measured(sweep: ae_sweep.Sweep) -> Iterator[Any]:
    """Stand in for the measurement of a sweep; nothing is yielded, as if it were kept."""
    yield from ()
    factor = NAMES[sweep.name]
    points = tuple(
        rate_point(
            factor * bits, 0.8 * bits**-1.1, val_bits=factor * bits, val_mse=0.8 * bits**-1.1,
            latent_dim=8, index=index, run_id=sweep.trials[0].run_id, setting=f"step {index}",
            table_bytes=1_000,
        )
        for index, bits in enumerate((20, 30, 45, 70, 100, 150, 220))
    )  # fmt: skip
    curve = RateCurve(
        name=f"{sweep.name}, d=8", description="made up", kind=CurveKind.CODED, points=points,
        image_shape=(1, 28, 28), images=100, header_bytes=45, decoder_bytes=50_000, seed=0,
    )  # fmt: skip
    model = MeasuredModel(
        trial=sweep.trials[0], curves=(curve,), kept=SimpleNamespace(notes=("left out",))
    )
    return MeasuredRates(sweep=sweep.name, models=(model,))


@pytest.fixture
def at(cli: Callable[..., Any], store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    found = SimpleNamespace(curves=REFERENCES, notes=("JPEG XL is not installed",), pca=())
    monkeypatch.setattr(inspection, "iter_measured_rates", _measured)
    monkeypatch.setattr(wiring, "references", lambda *_, **__: found)
    return lambda *words: cli(*words, "--store", str(store))


@pytest.mark.slow
def test_bits_are_printed_compared_and_drawn(at: Callable[..., Any], tmp_path: Path) -> None:
    done = at("frontier", "learned", "other", "--rate", "bits", "--target-psnr", "18")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].split()[:2] == ["Code", "Kind"]
    assert "Images" in done.out, "from how many images on it pays"
    assert len(done.out.splitlines()) < 30, "not every point of every curve"
    assert "operating points, with bytes of side information: --csv or --json" in done.err
    assert "BD-rate of other against learned: -20.0 %" in done.err
    assert "one seed each, so no interval" in done.err
    assert "BD-rate of learned against PCA + coder: " in done.err
    assert "learned: good enough: 18 dB: 45 bits, measured (30 bits does not reach it)" in done.err
    assert "other: good enough: 18 dB: 36 bits" in done.err
    assert "JPEG XL is not installed" in done.err
    assert "d=8: left out" in done.err
    assert (tmp_path / "frontier-learned.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_bits_as_csv_and_json_are_nothing_but_data(at: Callable[..., Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(at("frontier", "other", "--rate", "bits", "--csv").out)))
    assert float(rows[0]["Bits"]) == 16
    assert float(rows[0]["Bits of 1"]) == 16 + 8 * 51_045
    document = json.loads(at("frontier", "other", "--rate", "bits", "--json").out)
    assert document["schema"] == "ae-sweep/rates"
    assert [each["name"] for each in document["sweeps"]] == ["other"]
    (statistics,) = document["statistics"]
    assert statistics["law"]["candidates"][0]["law"]
    assert {each["anchor"] for each in document["bd"]} >= {"PCA + coder", "AVIF, mosaic"}
    assert any(each["reason"] for each in document["payoffs"])


@pytest.mark.slow
def test_one_sweep_in_bits_is_logged_to_its_run(at: Callable[..., Any], store: Path) -> None:
    assert at("frontier", "learned", "--rate", "bits").code == 0
    sweep = ae_sweep.load_sweep("learned", store=store)
    logged = json.loads(sweep.runs.run_file(sweep.record.run_id, "rates.json"))
    assert logged["schema"] == "ae-sweep/rates"


@pytest.mark.slow
def test_every_curve_has_a_file_that_other_tools_read(
    at: Callable[..., Any], tmp_path: Path
) -> None:
    done = at("frontier", "learned", "--rate", "bits", "--rd-json", "curves")
    assert done.code == 0, done.err
    files = {file.name: json.loads(file.read_text()) for file in (tmp_path / "curves").iterdir()}
    assert set(files) == {
        "learned.json", "PCA-coder.json", "Gaussian-source.json", "JPEG-mosaic.json",
        "JPEG-single.json", "AVIF-mosaic.json",
    }  # fmt: skip
    results = files["learned.json"]["results"]
    assert {len(values) for values in results.values()} == {7}
    assert results["bpp"] == sorted(results["bpp"])
    assert "no file of mean image: " in done.err
    assert "no file of PNG, mosaic: " in done.err
    assert f"curves: {len(files)} files in curves" in done.err


def test_curves_are_written_to_no_file_and_no_missing_place(
    at: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    for place, needle in (("taken", "it is a file"), ("no/where", "it is in no directory")):
        done = at("frontier", "learned", "--rate", "bits", "--rd-json", place)
        assert (done.code, done.out) == (3, "")
        assert needle in done.err


@pytest.mark.slow
def test_dimensions_of_generated_images_need_no_sweep(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    done = cli("dimensions", "shapes", "--json", "--out", "dims.svg")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["schema"], document["schema_version"]) == ("ae-sweep/dimensions", 1)
    assert len(document["neighbours"]) == 4
    assert 1 < document["participation_ratio"] < 784
    assert document["at_quality"] == []
    assert document["at_quality_refusal"] == "no sweep is named"
    assert "by nearest neighbours: at least " in done.err
    assert (tmp_path / "dims.svg").read_text().count("<svg") == 1


@pytest.mark.parametrize(
    ("words", "code", "needle"),
    [
        (["shape"], 2, "did you mean 'shapes'?"),
        (["shapes", "--store", "x"], 2, "--store is for a sweep"),
        (["--sweep", "a", "--image-size", "8"], 2, "--image-size: a sweep's images"),
        (["shapes", "--image-size", "8"], 2, "only own images are converted"),
        (["shapes", "--fit", ""], 2, "fit"),
        (["--store", "none"], 3, "nothing is stored"),
        (["shapes", "--out", "x.bmp"], 2, "no known file extension"),
    ],
)
def test_wrong_uses_of_dimensions_are_refused_in_one_line(
    cli: Callable[..., Any], words: list[str], code: int, needle: str
) -> None:
    done = cli("dimensions", *words)
    assert (done.code, done.out) == (code, "")
    assert needle in done.err
    assert done.err.count("\n") == 1


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real rates")
    return shared.copy_store(coded_sweeps.trained(), root / "store")


@pytest.mark.slow
def test_a_real_sweep_is_measured_once_and_has_its_answers_everywhere(
    cli: Callable[..., Any], coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("frontier", "seeds", "vae", "--rate", "bits", "--references", "pca", "gaussian",
             "zero", "--target-accuracy", "0.15", "--json", "--store", str(coded))  # fmt: skip
    first = cli(*words)
    assert first.code == 0, first.err
    assert "training a classifier of shapes once" in first.err
    document = json.loads(first.out)
    seeds, vae = document["sweeps"]
    assert len(seeds["curves"]) == 2
    assert [each["kind"] for each in vae["bounds"]] == ["bound"]
    assert [each["name"] for each in document["references"]] == [
        "PCA + coder", "Gaussian", "Mean image",
    ]  # fmt: skip
    assert document["statistics"][0]["targets"][0]["target"]["kind"] == "accuracy"
    second = cli(*words)
    assert json.loads(second.out) == document
    assert "measuring" not in second.err
    assert "classifier" not in second.err

    dimensions = cli("dimensions", "--sweep", "seeds", "--json", "--store", str(coded))
    assert dimensions.code == 0, dimensions.err
    assert json.loads(dimensions.out)["sweep"] == "seeds"
    report = cli("report", "seeds", "--target-mse", "0.5", "--target-accuracy", "0.15",
                 "--store", str(coded), "--out", "page.html")  # fmt: skip
    assert report.code == 0, report.err
    page = (tmp_path / "page.html").read_text()
    assert 'id="rates"' in page
    assert "Latent dimensions: an MSE of 0.5: d=2, measured" in page
    assert "Bits per image: an agreement of 0.15: " in page
    assert "dimension at a quality, 6.02 · dR/dPSNR" in page


@pytest.mark.slow
def test_dims_are_marked_and_compared_with_principal_components(
    cli: Callable[..., Any], coded: Path
) -> None:
    done = cli("frontier", "seeds", "--dimensions", "--references", "pca", "--target-accuracy",
               "0.1", "--target-mse", "0.5", "--store", str(coded))  # fmt: skip
    assert done.code == 0, done.err
    assert "dimensions by nearest neighbours: at least " in done.err
    assert "test MSE of principal components, 8-bit images: " in done.err
    assert "good enough: an MSE of 0.5: d=2, measured" in done.err
    assert "good enough: an agreement of 0.1: d=2, measured" in done.err
