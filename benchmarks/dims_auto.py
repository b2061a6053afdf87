"""Chosen dims beside a fixed grid: the answers, and how many trainings they took."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ae_sweep
from ae_sweep import analysis
from ae_sweep.analysis.dim_choice import answer_of, next_dims
from ae_sweep.config import DimQuestion, QuestionKind, half_octaves
from benchmarks.benchmark import Benchmark, Figures
from benchmarks.images import FEW_SHAPES, MNIST, Images
from benchmarks.text import paragraphs, table, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ae_sweep.analysis.dim_choice import DimAnswer

KNEE = DimQuestion()
TARGET_SHARE = 0.5
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    images: tuple[Images, ...]
    grid: tuple[int, ...]
    psnrs: tuple[float, ...]
    """Targets that are asked for, beside the knee."""
    epochs: int | None = None
    """None takes the defaults."""

    @property
    def questions(self) -> list[DimQuestion]:
        """What is asked, in order."""
        return [*(DimQuestion(kind=QuestionKind.PSNR, value=psnr) for psnr in self.psnrs), KNEE]

    @property
    def most_dims(self) -> int:
        """Half of the grid, which is the default budget."""
        return len(self.grid) // 2


def measure(size: Size) -> Figures:
    """Train the whole grid; replay each question on its results, and really ask it."""
    with tempfile.TemporaryDirectory(prefix="ae-sweep-dims-") as directory:
        return {
            "grid": list(size.grid),
            "data": [_measured(images, size, Path(directory)) for images in size.images],
        }


def _measured(images: Images, size: Size, store: Path) -> Figures:
    settings: dict[str, Any] = {
        "store": store, "dataset": images.dataset, "train_limit": images.train_limit,
        "trials": 1, "epochs": size.epochs, "progress": False,
    }  # fmt: skip
    fixed = ae_sweep.run_sweep(f"{images.dataset}-grid", dims=size.grid, **settings)
    curve = {point.latent_dim: point.test_mse for point in fixed.frontier.points}
    asked = []
    for question in size.questions:
        name = f"{images.dataset}-{question.text.replace(' ', '-')}"
        asking: dict[str, Any] = {} if question.value is None else {"target_psnr": question.value}
        run = ae_sweep.run_sweep(
            name, dims=f"auto {' '.join(map(str, size.grid))}", **asking, **settings
        )
        answer = run.answer
        assert answer is not None, "its dims were chosen"
        really = {point.latent_dim: point.test_mse for point in run.frontier.points}
        in_order = [*dict.fromkeys(trial.point.latent_dim for trial in run.trials)]
        expected = expected_answer(curve, question)
        asked.append(
            {
                "question": question.text,
                "by_the_grid": expected or NONE,
                "replayed": _figures(*replay(curve, question, size.most_dims), expected),
                "run": _figures(in_order, answer, expected),
                "largest_gap": max(abs(mse / curve[dim] - 1) for dim, mse in really.items()),
            }
        )
    return {
        "dataset": images.dataset,
        "test_mse": [curve[dim] for dim in size.grid],
        "questions": asked,
    }


def expected_answer(curve: Mapping[int, float], question: DimQuestion) -> int | None:
    """Return the answer of the whole grid, as `ae-sweep frontier` gives it."""
    psnrs = {dim: analysis.psnr_db(mse) or 200.0 for dim, mse in sorted(curve.items())}
    if question.kind is not QuestionKind.KNEE:
        return next((dim for dim, psnr in psnrs.items() if psnr >= question.psnr), None)
    knee = analysis.find_knee([*psnrs], [*psnrs.values()])
    return knee.latent_dim if isinstance(knee, analysis.Knee) else None


def replay(
    curve: Mapping[int, float], question: DimQuestion, most: int
) -> tuple[list[int], DimAnswer]:
    """Return the dims that are chosen, with results that are known already, and the answer."""
    grid, measured = tuple(sorted(curve)), dict[int, float]()
    while len(measured) < most and (chosen := next_dims(grid, measured, question)):
        measured |= {dim: curve[dim] for dim in chosen}
    return [*measured], answer_of(grid, measured, question)


def holds(answer: DimAnswer, dim: int | None) -> bool:
    """Return whether the interval of an answer has a dim in it."""
    low, high = answer.interval
    if dim is None:
        return answer.dim is None or high is None
    if answer.question.kind is QuestionKind.KNEE:
        return low is None or high is None or low <= dim <= high
    return (low is None or low < dim) and (high is None or dim <= high)


def _figures(dims: Sequence[int], answer: DimAnswer, expected: int | None) -> Figures:
    return {
        "dims": list(dims),
        "answer": answer.dim or NONE,
        "sentence": answer.sentence,
        "settled": "yes" if answer.settled else "no",
        "holds": "yes" if holds(answer, expected) else "no",
    }


def report(figures: Figures) -> str:
    """Render the figures."""
    rows, shares, held = [], [], []
    for data in figures["data"]:
        for asked in data["questions"]:
            for how in ("replayed", "run"):
                found = asked[how]
                shares.append(len(found["dims"]) / len(figures["grid"]))
                held.append(found["holds"] == "yes")
                rows.append(
                    (
                        f"{data['dataset']}, {asked['question']}, {how}",
                        str(asked["by_the_grid"]),
                        str(found["answer"]),
                        found["holds"],
                        found["settled"],
                        str(len(found["dims"])),
                        " ".join(map(str, found["dims"])),
                    )
                )
    head = ("question", "grid", "chosen", "within", "settled", "trainings", "dims in their order")
    gap = max(asked["largest_gap"] for data in figures["data"] for asked in data["questions"])
    return paragraphs(
        f"The grid has {len(figures['grid'])} dims, one training each. A dim that was trained in "
        f"both sweeps differs by {100 * gap:.2g} % in test MSE at most.",
        table(head, rows),
        verdict("largest share of the grid's trainings", max(shares), target=TARGET_SHARE, unit="")
        + " "
        + verdict(
            "share of answers within their interval",
            sum(held) / len(held),
            target=1.0,
            unit="",
            at_least=True,
        ),
    )


BENCHMARK = Benchmark(
    name="dims_auto",
    title="Dims that are chosen",
    about="`--dims auto` for 25 dB and for the knee beside a fixed grid of 16 dims with one trial "
    "each. Replayed: the choices with the results of the grid. Run: a sweep of its own. Within: "
    "whether the answer of the grid lies in the interval; settled: whether that is one step of the "
    "grid.",
    measure=measure,
    report=report,
    full=Size(images=(MNIST, Images("fashion-mnist")), grid=half_octaves(1, 256), psnrs=(25.0,)),
    smallest=Size(images=(FEW_SHAPES,), grid=half_octaves(1, 8), psnrs=(12.0,), epochs=1),
    long=True,
)

if __name__ == "__main__":
    BENCHMARK.main()
