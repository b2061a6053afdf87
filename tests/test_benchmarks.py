"""Every benchmark runs to its end at its smallest size; the page shows every stored result."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import trial_config

from ae_sweep.sweep.worker import JobFinished

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # `benchmarks` is no part of the installed package

from benchmarks import page, results, run_all, startup  # noqa: E402
from benchmarks.gpu_variants import VARIANTS  # noqa: E402
from benchmarks.machine import Processor, processor  # noqa: E402
from benchmarks.simulated import SimulatedCluster  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.benchmark import Figures

BY_NAME = {benchmark.name: benchmark for benchmark in run_all.ALL}
OTHER = Processor(
    name="Other 9000", family=1, model=2, vector="AVX2", bf16=False, cores=64, threads=64, gpu=None
)


def _median(of: dict[str, float]) -> float:
    return of["median"]


def _check_training(figures: Figures) -> None:
    (row,) = figures["dims"]
    ratio = _median(row["product"]) / _median(row["reference"])
    assert _median(row["ratio"]) == pytest.approx(ratio), "one round has one ratio"
    assert row["share_of_peak"] > 0
    assert all(mse < 0.5 for mse in row["test_mse"].values()), "of images in [0, 1]"


def _check_frontier_time(figures: Figures) -> None:
    (row,) = figures["dims"]
    train_images = BY_NAME["frontier_time"].smallest.images.train_limit
    seconds = row["reference_epochs"] * train_images / _median(row["reference_speed"])
    assert row["reference_seconds"] == pytest.approx(seconds)
    assert row["reference_epochs"] == 15


def _check_nested(figures: Figures) -> None:
    for row in figures["dims"]:
        ratio = _median(row["test_mse"]["nested"]) / _median(row["test_mse"]["2 epochs"])
        assert row["gap"] == pytest.approx(ratio - 1)
    assert set(figures["seconds"]) == {"nested", "1 epoch", "2 epochs"}


def _check_workers(figures: Figures) -> None:
    one, two = (figures["trials_per_hour"][workers] for workers in ("1", "2"))
    assert _median(figures["gain"]) == pytest.approx(_median(two) / _median(one))


def _check_busy(figures: Figures) -> None:
    alone, beside = (_median(figures["seconds"][which]) for which in ("alone", "beside"))
    assert _median(figures["ratio"]) == pytest.approx(beside / alone)


def _check_estimate(figures: Figures) -> None:
    (case,) = figures["cases"]
    assert case["trials"] == 2
    assert case["expected_seconds"] <= case["most_seconds"]
    error = case["expected_seconds"] / case["taken_seconds"] - 1
    assert case["error_percent"] == pytest.approx(100 * error)


def _check_startup(figures: Figures) -> None:
    profiled = figures["import_seconds"]
    assert figures["profiled"] in profiled, "the slowest import is that of the module itself"
    assert max(profiled.values()) == profiled[figures["profiled"]]
    client = _median(figures["reading_seconds"][startup.CLIENT])
    for command in startup.READING:
        taken = _median(figures["reading_seconds"][command])
        assert _median(figures["ratio"][command][startup.CLIENT]) == pytest.approx(taken / client)


def _check_overhead(figures: Figures) -> None:
    parts = figures["part_seconds"]
    assert all(_median(of) > 0 for of in parts.values()), "every part was measured"
    assert sum(_median(of) for of in parts.values()) == pytest.approx(
        _median(figures["wall_seconds"])
    ), "the parts sum up to the whole: of two trials a median is the mean"
    training = _median(parts["training and evaluation"])
    overhead = _median(figures["overhead_seconds"])
    assert overhead == pytest.approx(_median(figures["wall_seconds"]) - training)
    assert figures["overhead_seconds_by_dim"] == {"2": pytest.approx(overhead)}
    whole = figures["whole_trials"]
    assert whole["pairs"] == BY_NAME["overhead"].smallest.pairs.pairs
    for clock in ("processor", "wall"):
        assert _median(whole["bare_seconds"][clock]) > 0
        assert whole["overhead_percent"][clock]["min"] > -100, "a whole trial takes time"


def _check_studies(figures: Figures) -> None:
    assert figures["trials"] == BY_NAME["studies"].smallest.trials, "the slots that were open"
    parts = figures["seconds"]
    whole = parts.pop("ask, reports and tell")
    assert sum(map(_median, parts.values())) == pytest.approx(_median(whole))
    assert _median(figures["ask_and_tell"]) < _median(whole)


def _check_analysis(figures: Figures) -> None:
    assert set(figures["commands"]) == {"frontier", "list", "show"}
    assert all(50 < _median(of["peak_mb"]) < 5_000 for of in figures["commands"].values())


def _check_large_sweeps(figures: Figures) -> None:
    untracked, *tracked = figures["cases"]
    assert len(tracked) == 2
    for case in (untracked, *tracked):
        short, long = case["one second"], case["long"]
        assert 0 < short["busy_share"] <= 1
        assert 0 < long["busy_share"] <= 1
        assert short["sweep_seconds"] > 1.0, "by the clock that skips"
        measured = sum(short["part_seconds"].values())
        assert measured == pytest.approx(short["driver_seconds"], rel=0.2), "the parts of a trial"
    assert all("model" in case["one second"]["part_seconds"] for case in tracked)
    assert "model" not in untracked["one second"]["part_seconds"]


def _check_streaming(figures: Figures) -> None:
    size = BY_NAME["streaming"].smallest
    assert figures["image_bytes"] == size.images * math.prod(size.image_shape)
    for what in ("training", "reading"):
        resident, streamed = (_median(figures[what][kind]) for kind in ("resident", "streamed"))
        assert _median(figures[what]["ratio"]) == pytest.approx(streamed / resident)


def _check_dims_auto(figures: Figures) -> None:
    size = BY_NAME["dims_auto"].smallest
    (data,) = figures["data"]
    assert len(data["test_mse"]) == len(figures["grid"]) == len(size.grid)
    assert [asked["question"] for asked in data["questions"]] == ["12 dB", "the knee"]
    for asked in data["questions"]:
        for how in ("replayed", "run"):
            dims = asked[how]["dims"]
            assert len(set(dims)) == len(dims) <= len(size.grid) // 2
        assert set(asked["replayed"]["dims"]) == set(asked["run"]["dims"]), "of equal numbers"
        assert asked["largest_gap"] == 0.0, "the same training gives the same numbers"


def _check_gpu(figures: Figures) -> None:
    checks = figures["checks"]
    assert checks["first_loss_gap"] == checks["val_mse_gap"] == 0, "the CPU beside itself"
    assert "not checked" in checks["synchronisation"]
    assert set(figures["images_per_second"]) | set(figures["left_out"]) == set(VARIANTS)
    assert {"eager"} <= set(figures["images_per_second"])
    assert "CUDA graph" in figures["left_out"]
    assert {tuple(of) for of in figures["packed_seconds"].values()} == {("1", "2")}


CHECKS: dict[str, Callable[[Figures], None]] = {
    "training": _check_training,
    "frontier_time": _check_frontier_time,
    "nested": _check_nested,
    "workers": _check_workers,
    "busy": _check_busy,
    "estimate": _check_estimate,
    "gpu": _check_gpu,
    "startup": _check_startup,
    "overhead": _check_overhead,
    "streaming": _check_streaming,
    "studies": _check_studies,
    "analysis": _check_analysis,
    "dims_auto": _check_dims_auto,
    "large_sweeps": _check_large_sweeps,
}


def _numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{path}/{index}")
    elif isinstance(value, (int, float)):
        yield path, value


def _spreads(value: object) -> Iterator[dict[str, float]]:
    if isinstance(value, dict) and "median" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _spreads(item)


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_every_benchmark_runs_to_its_end_at_its_smallest_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/of/the/users/own.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    benchmark = BY_NAME[name]
    figures = benchmark.measure(benchmark.smallest)
    stored = json.loads(json.dumps(figures, allow_nan=False))
    for path, number in _numbers(stored):
        assert math.isfinite(number), path
        assert number > 0 or path.endswith("gap") or "percent" in path, path
    for spread in _spreads(stored):
        assert spread["min"] <= spread["median"] <= spread["max"]
    report = benchmark.report(stored)
    assert report == benchmark.report(figures), "no figure is lost on the way to the file"
    assert "Target: " in report
    assert "| --- |" in report
    CHECKS[name](stored)
    left = {path.name for path in tmp_path.iterdir()} - {"cache"}
    assert not left, "a benchmark leaves nothing where it was started"


@pytest.mark.parametrize("slow_driver", [False, True], ids=["quick", "slow"])
def test_simulated_seats_train_by_a_clock_and_wait_for_the_driver(slow_driver: bool) -> None:
    cluster = SimulatedCluster(
        seats=2, trial_seconds=0.2 if slow_driver else 100.0, result=lambda config: config
    )
    config = trial_config()
    given: object = config
    started = time.perf_counter()
    begun, ended, validated = 2, 0, 0
    for job in range(begun):
        cluster.submit(job, config)
    while ended < 6:
        event = cluster.next_event()
        if slow_driver:
            time.sleep(0.02)
        if isinstance(event, JobFinished):
            assert event.result is given
            ended += 1
            if begun < 6:
                cluster.submit(begun, config)
                begun += 1
        else:
            validated += 1
    assert validated == 6 * 4
    passed = time.perf_counter() - started
    if slow_driver:
        assert cluster.seconds() > passed >= 30 * 0.02
        assert cluster.busy_share() < 0.9
    else:
        assert passed < 10
        assert cluster.seconds() == pytest.approx(300, abs=10)
        assert cluster.busy_share() > 0.95


def test_a_simulated_trial_that_is_stopped_sends_nothing_more() -> None:
    cluster = SimulatedCluster(seats=2, trial_seconds=1.0, result=lambda config: config)
    for job in (0, 1):
        cluster.submit(job, trial_config())
    stopped = cluster.next_event().job
    cluster.stop(stopped)
    events = [cluster.next_event() for _ in range(5)]
    assert {event.job for event in events} == {1 - stopped}
    with pytest.raises(RuntimeError, match="too few"):
        cluster.busy_share()


def test_every_module_with_a_benchmark_is_one_that_make_bench_can_run() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__init__"}
    found = {name for name in modules if hasattr(import_module(f"benchmarks.{name}"), "BENCHMARK")}
    assert found == set(BY_NAME) == set(CHECKS)
    for name, benchmark in BY_NAME.items():
        assert Path(import_module(f"benchmarks.{name}").__file__ or "").stem == benchmark.name
        assert benchmark.smallest != benchmark.full


@pytest.mark.parametrize("label", startup.PROCESSES)
def test_what_the_start_up_benchmark_runs_in_a_process_runs(label: str) -> None:
    exec(compile(startup.PROCESSES[label], label, "exec"), {})


@pytest.mark.slow
def test_make_bench_stores_what_it_measures_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = dataclasses.replace(BY_NAME["analysis"], name="benchmark_that_is_not_there")
    chosen = (broken, BY_NAME["studies"])
    monkeypatch.setattr(run_all, "ALL", chosen)
    directory, file = tmp_path / "results", tmp_path / "page.md"
    status = run_all.main(
        ["--smallest", "--results", str(directory), "--page", str(file), "--note", "a test"]
    )
    assert status == 1
    assert "failed: benchmark_that_is_not_there" in capfd.readouterr().err
    (result,) = results.read(directory)
    assert result.processor == processor()
    assert result.note == "a test"
    assert result.benchmark == "studies"
    _check_studies(json.loads(json.dumps(result.figures)))
    assert "Trials 10 to 11 of one study" in file.read_text()


def test_figures_of_the_smallest_size_never_get_among_the_real_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_all.main(["studies", "--smallest"])
    assert "mean nothing" in capsys.readouterr().err


def test_the_page_shows_the_stored_results_and_nothing_else() -> None:
    stored = results.read(results.RESULTS)
    assert {each.benchmark for each in stored} <= set(BY_NAME)
    rendered = page.render(stored, run_all.ALL)
    assert page.PAGE.read_text() == rendered, "python -m benchmarks.run_all --render"


def test_a_run_on_another_processor_adds_to_the_page_and_overwrites_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    shutil.copytree(results.RESULTS, directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    page_before = page.render(results.read(directory), run_all.ALL)
    sample = next(each for each in results.read(directory) if each.benchmark == "studies")
    added = dataclasses.replace(sample, processor=OTHER, note="on another machine")
    results.add(added, directory)
    after = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f"{OTHER.key}.jsonl"}
    page_after = page.render(results.read(directory), run_all.ALL)
    lines = page_before.splitlines()
    kept = iter(page_after.splitlines())
    assert all(line in kept for line in lines), "every line stays, in its order"
    section = page_after.partition("## A study of 2,000 trials")[2].partition("\n## ")[0]
    assert section.count("### ") == page_before.count("Trials 1,990 to 2,010") + 1
    assert f"### {OTHER.title}" in section
    assert "on another machine" in section


def test_a_second_run_on_a_processor_is_shown_and_the_first_stays_stored(tmp_path: Path) -> None:
    sample = next(each for each in results.read(results.RESULTS) if each.benchmark == "studies")
    for trials in (21, 22):
        figures = {**sample.figures, "trials": trials}
        results.add(dataclasses.replace(sample, figures=figures), tmp_path)
    stored = results.read(tmp_path)
    assert [each.figures["trials"] for each in stored] == [21, 22]
    rendered = page.render(stored, run_all.ALL)
    assert "Trials 1,990 to 2,011" in rendered
    assert "Trials 1,990 to 2,010" not in rendered


@pytest.mark.parametrize(
    "change",
    [{"bf16": True, "vector": "AVX-512 bf16"}, {"cores": 2}, {"model": 3}, {"threads": 1},
     {"gpu": "H100"}, {"name": "Another"}, {"family": None, "model": None}],
    ids=str,
)  # fmt: skip
def test_processors_of_other_speed_have_other_keys(change: dict[str, Any]) -> None:
    other = dataclasses.replace(OTHER, **change)
    assert other.key != OTHER.key
    assert other.title != OTHER.title


def test_this_machine_is_described_by_its_own_processor() -> None:
    here = processor()
    assert here.name
    assert here.cores >= 1
    assert here.threads >= 1
    assert here.bf16 == ("bf16" in here.vector)
    assert here == processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "cpu family" in cpuinfo.read_text():
        assert f"family {here.family} model {here.model}" in here.title


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{", "not a result"), ('{"benchmark": "studies"}', "not a result"), ("", "not a result")],
)
def test_a_damaged_line_is_named(line: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / f"{OTHER.key}.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(ValueError, match=f"{OTHER.key}.jsonl, line 1 is {reason}"):
        results.read(tmp_path)


def test_a_result_in_another_processors_file_is_refused(tmp_path: Path) -> None:
    sample = results.read(results.RESULTS)[0]
    path = results.add(dataclasses.replace(sample, processor=OTHER), tmp_path)
    path.rename(tmp_path / "elsewhere.jsonl")
    with pytest.raises(ValueError, match="is a result of Other 9000"):
        results.read(tmp_path)
