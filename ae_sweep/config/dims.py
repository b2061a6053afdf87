"""Latent dimensions that a sweep chooses by itself: its question, its grid and its budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ae_sweep.config.values import MAX_COUNT, check_count
from ae_sweep.errors import ConfigError
from ae_sweep.messages import shorten

AUTO = "auto"
"""Stands in front of the grid where dims are written."""
LEAST_GRID = 5
"""Fewer dims are trained all, sooner than chosen among."""
FIRST_STEPS = 5
"""Steps of the grid between two dims of the first grid, at most (docs/LOG.md)."""
LEAST_FIRST = 3
"""Both ends, and one between them: fewer say nothing about a bend."""
MAX_MINUTES = 10**6
MAX_GRID_DIM = 10**12
"""Of a range of dims: no machine trains it."""
MAX_PSNR_DB = 200.0


class QuestionKind(StrEnum):
    """What a sweep with chosen dims is to answer."""

    KNEE = "knee"
    PSNR = "psnr"
    MSE = "mse"


@dataclass(frozen=True, kw_only=True)
class DimQuestion:
    """What the dims are chosen for: the knee, or the smallest dim that is good enough."""

    kind: QuestionKind = QuestionKind.KNEE
    value: float | None = None
    """At least this many dB, or at most this MSE; None of the knee."""

    def __post_init__(self) -> None:
        if self.kind is QuestionKind.KNEE:
            return
        if self.value is None or not math.isfinite(self.value):
            raise ConfigError(f"a target must be a finite number, got {self.value}")
        if self.kind is QuestionKind.PSNR and not 0 <= self.value <= MAX_PSNR_DB:
            raise ConfigError(f"a PSNR lies between 0 and {MAX_PSNR_DB:g} dB, got {self.value:g}")
        if self.kind is QuestionKind.MSE and self.value <= 0:
            raise ConfigError(f"a target MSE must be above 0, got {self.value:g}")

    @property
    def psnr(self) -> float:
        """Return the target in dB.

        Raises
        ------
        ValueError
            Of the knee, which has none.
        """
        if self.value is None:
            raise ValueError("the knee has no target")
        if self.kind is QuestionKind.PSNR:
            return self.value
        return -10 * math.log10(self.value)

    @property
    def sought(self) -> str:
        """Write what is sought: ``the knee``, ``the smallest dim that reaches 25 dB``."""
        if self.kind is QuestionKind.KNEE:
            return self.text
        return f"the smallest dim that reaches {self.text}"

    @property
    def text(self) -> str:
        """Write what is asked for: ``the knee``, ``25 dB``, ``an MSE of 0.005``."""
        match self.kind:
            case QuestionKind.KNEE:
                return "the knee"
            case QuestionKind.PSNR:
                return f"{self.value:g} dB"
            case QuestionKind.MSE:
                return f"an MSE of {self.value:g}"


@dataclass(frozen=True, kw_only=True)
class AutoDims:
    """How the dims of a sweep are chosen among those of its grid."""

    question: DimQuestion = DimQuestion()
    trainings: int | None = None
    """At most this many in all, those that are stored included; None is half of the grid's."""
    minutes: float | None = None
    """Within a run, no dim is begun that would end later than this, beyond the first grid."""

    def __post_init__(self) -> None:
        if self.trainings is not None:
            check_count("trainings", self.trainings, most=MAX_COUNT * MAX_COUNT)
        if self.minutes is not None and not 0 < self.minutes <= MAX_MINUTES:
            raise ConfigError(
                f"minutes must be above 0 and at most {MAX_MINUTES:,}, got {self.minutes:g}"
            )

    @property
    def written(self) -> dict[str, str]:
        """What is not at its default, as texts by the name of the setting."""
        question = self.question
        texts = {
            "target_psnr": question.value if question.kind is QuestionKind.PSNR else None,
            "target_mse": question.value if question.kind is QuestionKind.MSE else None,
            "trainings": self.trainings,
            "minutes": self.minutes,
        }
        return {name: str(value) for name, value in texts.items() if value is not None}


AUTO_SETTINGS = ("target_psnr", "target_mse", "trainings", "minutes")
"""Settings that a sweep has only where its dims are chosen."""


def first_dims(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dims that are trained before any is chosen: both ends, and evenly between them."""
    last = len(grid) - 1
    gaps = max(LEAST_FIRST - 1, math.ceil(last / FIRST_STEPS))
    return tuple(grid[round(step * last / gaps)] for step in range(gaps + 1))


def half_octaves(low: int, high: int) -> tuple[int, ...]:
    """Return the whole numbers nearest to √2 ** n from ``low`` to ``high``, both included.

    Below 6 the steps are those of whole numbers: 1 2 3 4 6 8 11 16 23 32 45 64 91 128.

    Raises
    ------
    ConfigError
        If that is no range of latent dimensions.
    """
    if not 1 <= low < high <= MAX_GRID_DIM:
        raise ConfigError(
            f"the grid {shorten(f'{low}:{high}')} needs latent dimensions from 1 to 10^12, the "
            "smaller one first, as in --dims auto 1:1024"
        )
    first, last = math.floor(2 * math.log2(low)), math.ceil(2 * math.log2(high))
    between = {round(2 ** (step / 2)) for step in range(first, last + 1)}
    return tuple(sorted({low, high} | {dim for dim in between if low < dim < high}))
