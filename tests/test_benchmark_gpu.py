"""The benchmark of GPUs, as far as a CPU proves it: checks that fail, exit codes, packing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from commands import environment

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # `benchmarks` is no part of the installed package

from ae_sweep import data, training  # noqa: E402
from ae_sweep.training.precision import exact_convolutions  # noqa: E402
from benchmarks import gpu_checks, gpu_packing, gpu_variants, run_all  # noqa: E402

if TYPE_CHECKING:
    from ae_sweep.data import ImageDataset

SETTINGS = {"latent_dim": 2, "batch_size": 64}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    return data.load("shapes", cache_dir=tmp_path_factory.mktemp("cache"), train_limit=256)


def test_a_device_that_computes_otherwise_than_the_cpu_fails_the_check(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = training.place(dataset, torch.device("cpu"))
    made = 0

    def other_weights(*arguments: object, **settings: object) -> object:
        nonlocal made
        made += 1
        return gpu_variants.trainer(*arguments, seed=made, **settings)

    monkeypatch.setattr(gpu_checks, "trainer", other_weights)
    monkeypatch.setattr(gpu_checks, "STEPS", 1)
    with pytest.raises(RuntimeError, match="first loss is off by"):
        gpu_checks.check(dataset, images, **SETTINGS)


def test_numbers_that_differ_between_two_trainings_fail_the_check(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = training.place(dataset, torch.device("cpu"))
    taken = iter([b"one", b"two"])
    monkeypatch.setattr(gpu_checks, "weights", lambda _: next(taken))
    monkeypatch.setattr(gpu_checks, "STEPS", 1)
    with pytest.raises(RuntimeError, match="the same training twice"):
        gpu_checks.check(dataset, images, **SETTINGS)


def test_trials_that_take_steps_in_turns_end_as_each_alone(dataset: ImageDataset) -> None:
    images = training.place(dataset, torch.device("cpu"))
    together = [gpu_variants.trainer(images, seed=seed, **SETTINGS) for seed in (0, 1)]
    assert gpu_packing._interleaved(*together, steps=2) > 0
    for seed, made in enumerate(together):
        alone = gpu_variants.trainer(images, seed=seed, **SETTINGS)
        while alone.step < made.step:
            alone.take_step()
        assert gpu_checks.weights(made) == gpu_checks.weights(alone)


def test_float32_convolutions_are_not_rounded_to_tf32() -> None:
    before = torch.backends.cudnn.allow_tf32
    with exact_convolutions():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("words", [["benchmarks/gpu.py"], ["-m", "benchmarks.gpu"]], ids=" ".join)
def test_without_a_gpu_the_benchmark_says_what_is_missing(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "has no GPU here" in done.stderr
    assert "python benchmarks/gpu.py --device cpu --smallest" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_make_bench_skips_the_benchmark_of_gpus_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, page = tmp_path / "results", tmp_path / "page.md"
    assert run_all.main(["gpu", "--results", str(results), "--page", str(page)]) == 0
    assert "skipping gpu: torch" in capsys.readouterr().err
    assert not results.exists()
    assert "python benchmarks/gpu.py" in page.read_text()


@pytest.mark.slow
def test_the_advice_without_a_gpu_works_as_printed() -> None:
    done = subprocess.run(
        [sys.executable, *["benchmarks/gpu.py", "--device", "cpu", "--smallest"]],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| trials at a time |" in done.stdout
    assert "Not measured: CUDA graph" in done.stdout
