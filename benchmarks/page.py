"""docs/benchmarks.md: a section per benchmark, and in it a block per processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import latest
from benchmarks.text import paragraphs, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.benchmark import Benchmark
    from benchmarks.results import Result

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEADER = """\
# Benchmarks

What ae-sweep costs. [`make bench`](../benchmarks/run_all.py) measures the machine it runs on, adds
the results to the file of that processor in [benchmarks/results](../benchmarks/results/processors)
and writes this page from all files. Each section has a block for every processor that was measured,
with its last run. Figures are medians, with the minimum and the maximum. Compare figures within a
block; between blocks, the processor and the versions differ."""

WITHOUT_GPU = """\
## Not measured

No GPU: none was available, so neither the speed of training on one is known, nor what CUDA graphs,
`torch.compile` and several trials at a time gain there. `python benchmarks/gpu.py` checks that
training is right on a GPU, measures all of it within eight minutes, and adds the section here."""


def render(results: Sequence[Result], benchmarks: Sequence[Benchmark[Any]]) -> str:
    """Write the page."""
    stored = list(results)
    parts = [HEADER, _processors(stored)]
    for benchmark in benchmarks:
        if blocks := latest(stored, benchmark.name):
            command = f"Command: `{benchmark.command}`."
            parts += [f"## {benchmark.title}", f"{benchmark.about} {command}"]
            parts += [_block(benchmark, result) for result in blocks]
    if not any(result.processor.gpu for result in stored):
        parts += [WITHOUT_GPU]
    return paragraphs(*parts) + "\n"


def _processors(results: list[Result]) -> str:
    last = {result.processor.key: result for result in results}
    rows = [
        (
            of.processor.title,
            "yes" if of.processor.bf16 else "no",
            str(of.processor.cores),
            of.processor.gpu or "none",
            of.date,
        )
        for of in last.values()
    ]
    return table(("processor", "bf16", "cores", "GPU", "last run"), rows)


def _block(benchmark: Benchmark[Any], result: Result) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    note = f"; {result.note}" if result.note else ""
    return paragraphs(
        f"### {result.processor.title}",
        benchmark.report(result.figures),
        f"Run on {result.date} with {versions}{note}.",
    )
